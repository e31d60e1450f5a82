"""The datasets, one spec each: to add a dataset, add a file here and a line in this one.

A configuration then reads it with `leffa.data.reader.TryOnPairs` or `PosePairs` and its name as
`spec`; `leffa doctor` and `leffa draw` know it, too.
"""

from leffa.data.catalog.deepfashion import DEEPFASHION
from leffa.data.catalog.dress_code import DRESS_CODE
from leffa.data.catalog.folder import FOLDER
from leffa.data.catalog.market1501 import MARKET1501
from leffa.data.catalog.spec import DatasetSpec
from leffa.data.catalog.viton import VITON
from leffa.data.catalog.viton_hd import VITON_HD
from leffa.data.catalog.wpose import WPOSE

DATASETS: dict[str, DatasetSpec] = {
    "viton_hd": VITON_HD,
    "viton": VITON,
    "dress_code": DRESS_CODE,
    "deepfashion": DEEPFASHION,
    "market1501": MARKET1501,
    "wpose": WPOSE,
}
"""The published datasets by name."""

CATALOG: dict[str, DatasetSpec] = {**DATASETS, "folder": FOLDER}
"""The published datasets and the user's own folder."""

SYNTHETIC_LAYOUTS = tuple(name for name, spec in CATALOG.items() if spec.synthetic is not None)
"""The layouts that `leffa draw` can write."""
