"""The networks behind LPIPS, FID and KID: local files, checked by hash, never downloaded."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from leffa.io.files import sha256_of

WEIGHTS_VARIABLE = "LEFFA_WEIGHTS"


class MissingWeights(FileNotFoundError):
    """A network's file is not on this machine; the metric is reported as missing."""


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights, recognised by its hash."""

    name: str
    sha256: str  # or its leading digits, where its publisher gives no more
    origin: str  # where a person gets it
    command: str | None = None  # that brings it
    packaged: str | None = None  # `package/file` of an optional Python package that ships it

    @property
    def label(self) -> str:
        """What a result records: the file's name and hash."""
        return f"{self.name}, SHA256 {self.sha256}"

    def locate(self) -> Path:
        """Find the file: in $LEFFA_WEIGHTS, torch hub's cache, the package.

        Raises:
            MissingWeights: it is in none of these places.
            ValueError: the file found is another one.
        """
        found = next((file for file in self._candidates() if file.is_file()), None)
        if found is None:
            offer = f"type `{self.command}`, or " if self.command else ""
            raise MissingWeights(
                f"{self.name} not found: {offer}get it from {self.origin} and put it into the "
                f"folder that the environment variable {WEIGHTS_VARIABLE} names, or into "
                f"{_hub_folder()}"
            )
        digest = sha256_of(found)
        if not digest.startswith(self.sha256):
            raise ValueError(
                f"{found}: SHA256 begins {digest[:16]}, expected {self.sha256[:16]}: "
                f"replace it with {self.name} from {self.origin}"
            )
        return found

    def _candidates(self) -> Iterator[Path]:
        if folder := os.environ.get(WEIGHTS_VARIABLE):
            yield Path(folder) / self.name
        yield _hub_folder() / self.name
        if self.packaged is not None:
            package, file = self.packaged.split("/")
            spec = find_spec(package)  # finds the folder without running the package's code
            if spec is not None and spec.submodule_search_locations:
                yield Path(spec.submodule_search_locations[0]) / file


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
