"""The user's own folder, whose names are free; in a table the files' fields have columns."""

from leffa.data.catalog.spec import DatasetSpec, FileSpec, GroupSpec, SyntheticSpec, six_digits
from leffa.data.labels import CATEGORIES

COLUMNS = {
    **{"source": "person", "reference": "garment", "mask": "mask", "densepose": "densepose"},
    **{"parse": "parse", "keypoints": "keypoints", "reference_mask": "garment_mask"},
}
"""The column of each field of a `Record`."""

# What the files hold is a matter of the transform's options, so only what all agree on is checked.
_FILES = (
    FileSpec("persons", "{}.jpg", "photo", field="source", main=True),
    FileSpec("garments", "{}.jpg", "photo", "garment", field="reference", main=True),
    FileSpec("masks", "{}.png", "mask", field="mask"),
    FileSpec("densepose", "{}.png", "drawing", field="densepose", encoder="colour"),
    FileSpec("parse", "{}.png", "parse_any", field="parse"),
    FileSpec("keypoints", "{}.json", "pose", field="keypoints"),
    FileSpec("garment_masks", "{}.png", "garment_mask", "garment", field="reference_mask"),
)


FOLDER = DatasetSpec(
    "a folder of your own",
    "",
    ".*",
    tuple(GroupSpec(category, "", _FILES, (), category) for category in CATEGORIES),
    same_size=False,
    synthetic=SyntheticSpec(six_digits, 100_000),
)
