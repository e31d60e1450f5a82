"""Where the person is in each true picture: what masked PSNR looks at."""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image
from torch.utils.data import DataLoader

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.evaluation.folder import EvaluationFolder
from leffa.metrics.protocols import Protocol
from leffa.pictures import save_png


def write_masks(
    protocol: Protocol,
    records: Sequence[Record],
    transform: PersonTransform,
    folder: EvaluationFolder,
    workers: int,
) -> bool:
    """Write `<folder>/masks/<name>.png`, white = person, if the protocol looks at it.

    The person is what the parsing map labels. It goes through the sample's own transform, so mask
    and picture agree however pictures are fitted.

    Returns:
        whether there are masks: not where a sample has no parsing map.
    """
    wanted = any(settings.metric == "masked_psnr" for settings in protocol.paired.values())
    if not wanted or any(record.parse is None for record in records):
        return False
    folder.masks.mkdir(parents=True, exist_ok=True)
    of_parse = replace(transform, densepose="none", loss_region="foreground")
    loader = DataLoader(
        PersonDataset(folder.without_masks(records), of_parse),
        batch_size=1,
        collate_fn=collate,
        num_workers=workers,
    )
    for batch in loader:
        (name,) = batch["name"]
        person = batch["loss_region"][0, 0].mul(255).byte().numpy()
        save_png(Image.fromarray(person), folder.masks / f"{name}.png")
    return True
