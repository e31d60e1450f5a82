"""Data sets: what each holds on disk, and the batches that models are trained and scored on."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes

if TYPE_CHECKING:
    from leffa.data.augment import Augmentation, Draw
    from leffa.data.batch import Batch, Record
    from leffa.data.datamodule import PersonDataModule
    from leffa.data.dataset import PersonDataset, collate
    from leffa.data.deepfashion import DeepFashion
    from leffa.data.densepose import DensePoseEncoding
    from leffa.data.folder import FolderPairs
    from leffa.data.keypoints import Annotation
    from leffa.data.matching import find_matches
    from leffa.data.published import DressCode, Market1501, Viton, VitonHD, WPose
    from leffa.data.reader import PosePairs, TryOnPairs
    from leffa.data.recipe import PersonMaps
    from leffa.data.transforms import PersonTransform

__all__ = [
    "Annotation",
    "Augmentation",
    "Batch",
    "DeepFashion",
    "DensePoseEncoding",
    "Draw",
    "DressCode",
    "FolderPairs",
    "Market1501",
    "PersonDataModule",
    "PersonDataset",
    "PersonMaps",
    "PersonTransform",
    "PosePairs",
    "Record",
    "TryOnPairs",
    "Viton",
    "VitonHD",
    "WPose",
    "collate",
    "find_matches",
]
__getattr__ = lazy_attributes(__name__, __file__)
