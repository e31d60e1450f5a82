"""Datasets: their files on disk, and the batches for training and evaluation."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes, lazy_names

if TYPE_CHECKING:
    from leffa.data.augment import Augmentation as Augmentation
    from leffa.data.augment import Draw as Draw
    from leffa.data.batch import Batch as Batch
    from leffa.data.batch import Record as Record
    from leffa.data.datamodule import PersonDataModule as PersonDataModule
    from leffa.data.dataset import PersonDataset as PersonDataset
    from leffa.data.dataset import collate as collate
    from leffa.data.deepfashion import DeepFashion as DeepFashion
    from leffa.data.densepose import DensePoseEncoding as DensePoseEncoding
    from leffa.data.folder import FolderPairs as FolderPairs
    from leffa.data.keypoints import Annotation as Annotation
    from leffa.data.matching import find_matches as find_matches
    from leffa.data.published import DressCode as DressCode
    from leffa.data.published import Market1501 as Market1501
    from leffa.data.published import Viton as Viton
    from leffa.data.published import VitonHD as VitonHD
    from leffa.data.published import WPose as WPose
    from leffa.data.reader import PosePairs as PosePairs
    from leffa.data.reader import TryOnPairs as TryOnPairs
    from leffa.data.recipe import PersonMaps as PersonMaps
    from leffa.data.transforms import PersonTransform as PersonTransform

__all__ = lazy_names(__file__)
__getattr__ = lazy_attributes(__name__, __file__)
