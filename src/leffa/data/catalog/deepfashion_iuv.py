"""DeepFashion pictures with their IUV in one folder, as pose-with-style shares them."""

from leffa.data.catalog.deepfashion import DEEPFASHION
from leffa.data.catalog.spec import DatasetSpec, FileSpec, GroupSpec

_FILES = (
    FileSpec("", "{}_iuv.png", "iuv", "picture", field="densepose"),
    FileSpec("", "{}_sil.png", "silhouette", "picture", "loose", "mask"),
    FileSpec("", "{}.png", "photo", "picture", "always", "source", main=True),
)
DEEPFASHION_IUV = DatasetSpec(
    "DeepFashion pictures with IUV, as in pose-with-style",
    DEEPFASHION.page,
    DEEPFASHION.key,
    (GroupSpec("pictures", "", _FILES),),
    size=(348, 512),
)
