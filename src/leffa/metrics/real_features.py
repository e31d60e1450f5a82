"""Features of a real set, computed once: FID compares every checkpoint with the same images.

A file is found by all that its features depend on: the images' contents, how the protocol prepares
them, the network and the device. 8 KB per image and network.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from leffa.io.atomic import replacing
from leffa.metrics.plan import Picture
from leffa.metrics.scorer import Scorer

log = logging.getLogger(__name__)

Parts = list[tuple[list[str], list[Tensor]]]  # names, and features of each of the scorer's sets


class RealFeatures:
    """The features of a real set in the order in which they were computed, in a file of `folder`.

    Args:
        pictures: the real set.
    """

    def __init__(self, folder: Path, scorer: Scorer, pictures: Sequence[Picture]) -> None:
        self.scorer, self.parts = scorer, Parts()
        with ThreadPoolExecutor() as threads:
            contents = threads.map(_digest, (each.file.path for each in pictures))
            rows = [
                [each.file.name, content, repr(each.prepare), repr(each.views)]
                for each, content in zip(pictures, contents, strict=True)
            ]
        networks = [[repr(key), str(each.extractor.label)] for key, each in scorer.sets.items()]
        device = torch.device(scorer.device).type
        recipe = [rows, networks, scorer.to_come[True], device, torch.__version__]
        key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
        self.path = folder / f"{key[:32]}.safetensors"

    def load(self) -> bool:
        """Give the scorer the features that the file holds; False if it is not complete."""
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                counts = json.loads(file.metadata()["names"])
                found = [file.get_tensor(str(n)) for n in range(len(self.scorer.sets))]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            log.warning("%s: cannot be read (%s); features are recomputed", self.path, error)
            return False
        log.info("features of the real set are read from %s", self.path)
        start = 0
        for names in counts:  # in the batches of before: sums are then the same to the last bit
            part = [each[start : start + len(names)] for each in found]
            self.scorer.add_features(names, part, real=True)
            start += len(names)
        return True

    def add(self, names: Sequence[str], features: list[Tensor]) -> None:
        """Add what the scorer has computed for a batch."""
        if features:
            self.parts.append((list(names)[: len(features[0])], features))

    def save(self) -> None:
        """Write the file; a failure is only logged, since the scores do not need it."""
        by_set = zip(*(features for _, features in self.parts), strict=True)
        tensors = {str(n): torch.cat([each.cpu() for each in one]) for n, one in enumerate(by_set)}
        names = json.dumps([names for names, _ in self.parts])
        try:
            with replacing(self.path) as temporary:
                save_file(tensors, temporary, {"names": names})
        except OSError as error:
            log.warning("features of the real set are not cached: %s", error)
        else:
            log.info("features of the real set are cached in %s", self.path)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
