"""The masks that metrics need in addition to true images: of person, garment and generation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image
from torch import Tensor

from leffa.data.batch import Batch
from leffa.data.labels import GARMENT_LABELS
from leffa.data.transforms import PersonTransform
from leffa.evaluation.folder import unfinished
from leffa.evaluation.settings import Work
from leffa.inference.generate import open_batches
from leffa.inference.padding import crop_padding
from leffa.io.png import save_png
from leffa.metrics.paired import Role
from leffa.metrics.protocols import Protocol

NO_MAPS = "the dataset has no parsing map of each true image"
NO_LABELS = "the parsing map has no labels for category {}"
PASTED = "the photograph is pasted back there (sampler.paste_back), so nothing can leak"
POSE = "the reference is not a garment, but the person in another pose"


def write_masks(protocol: Protocol, work: Work) -> bool:
    """Write `<folder>/masks/<name>.png`, white where the parsing map has a label.

    Returns whether there are masks: only if the protocol has a masked metric and every sample a
    parsing map. A parsing map without a label gives a black mask.
    """
    wanted = any(settings.metric == "masked_psnr" for settings in protocol.paired.values())
    if not wanted or any(record.target().parse is None for record in work.records):
        return False
    plain = replace(work.how.transform, densepose="none", densepose_files=None)
    of_parse = replace(plain, loss_region="foreground")
    _write(work, work.folder.masks, of_parse, lambda batch: batch["loss_region"])
    return True


def write_for_fidelity(protocol: Protocol, work: Work) -> tuple[dict[Role, Path], dict[Role, str]]:
    """Write the files for the garment's fidelity: `<folder>/worn/<name>.png`, white where the
    garment is worn in the true image; `inpainted/<name>.png`, the mask; `garments/<name>.*`.

    Returns:
        The existing folders, and why others are missing.
    """
    folder, transform = work.folder, work.how.transform
    if not protocol.fidelity:
        return {}, {}
    if transform.task == "pose":
        return {}, dict.fromkeys(("worn", "inpainted", "garments"), POSE)
    folder.link(folder.garments, {r.name: r.reference for r in work.records})
    given: dict[Role, Path] = {"garments": folder.garments}
    absent: dict[Role, str] = {}
    plain = replace(transform, densepose="none")  # a recipe of the mask may read its files
    if work.settings.sampler.paste_back:
        absent["inpainted"] = PASTED
    else:
        given["inpainted"] = folder.inpainted
        _write(work, folder.inpainted, plain, lambda batch: batch["mask"])
    known = GARMENT_LABELS[transform.label_set]
    unknown = [r.category for r in work.records if r.category not in known]
    if any(record.target().parse is None for record in work.records):
        absent["worn"] = NO_MAPS
    elif unknown:
        absent["worn"] = NO_LABELS.format(unknown[0])
    elif work.settings.paired:
        given["worn"] = folder.worn
        worn = replace(plain, loss_region="garment")
        _write(work, folder.worn, worn, lambda batch: batch["loss_region"])
    return given, absent


def _write(
    work: Work, folder: Path, transform: PersonTransform, mask: Callable[[Batch], Tensor]
) -> None:
    lacking = unfinished(work.records, folder)
    batches = open_batches(lacking, transform, 1, work.settings.workers)
    for record, batch in zip(lacking, batches, strict=True):
        shown = crop_padding(mask(batch)[0, 0], record, work.how.transform).mul(255).byte()
        save_png(Image.fromarray(shown.numpy()), folder / f"{record.name}.png")
