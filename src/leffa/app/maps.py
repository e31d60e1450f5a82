"""The maps of a photograph that a model needs: from its rendering, or from networks where given.

`leffa.preprocess.photo` makes them; here is who makes them for which image, and what to tell the
user where nobody can.
"""

import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from leffa.app.examples import Examples
from leffa.app.inference import InferenceSession
from leffa.photo_to_picture.maps import OF_FILES
from leffa.photo_to_picture.networks import PublishedTools
from leffa.preprocess.photo import Tools, prepare_photo
from leffa.preprocess.synthetic_labels import SyntheticLabels

_NO_KEYPOINTS = (
    "This model needs the joints of the photograph: start the page with --openpose FILE, which "
    "finds them."
)
_NO_DENSEPOSE = (
    "This model needs the DensePose map of the photograph: upload one under “Maps from files”, or "
    "start the page with --densepose FILE, which makes it."
)
_NO_MASK = (
    "Brush over what is to be repainted, or upload a mask; the page makes masks itself when it is "
    "started with --released, or with --atr FILE and --openpose FILE."
)


@dataclass(frozen=True)
class Maps:
    """The files that are needed and could be made, and in a line each what could not and why."""

    photo: Path
    mask: Path | None = None
    densepose: Path | None = None
    keypoints: Path | None = None
    remarks: tuple[str, ...] = ()

    def remark(self, what: str) -> str:
        """Why there is no such map."""
        return next((remark for remark in self.remarks if what in remark), self.remarks[0])


class MapMaker:
    """Makes the maps that one model needs.

    Args:
        examples: drawings that need no network.
        tools: networks; its encoding, recipe and category are set here.
        recipe: of the mask; None: that of the training, else `OF_FILES`.
    """

    _lock = threading.Lock()  # networks, which several makers share, take one photograph at a time

    def __init__(
        self,
        model: InferenceSession,
        examples: Examples,
        tools: Tools | PublishedTools,
        recipe: str | None = None,
    ) -> None:
        self.model = model
        self.examples = examples
        self.tools = tools
        self.recipe = recipe or model.inputs.recipe
        self.mask_recipe = self.recipe or OF_FILES

    def make(self, picture: Image.Image, category: str, folder: Path) -> Maps:
        """The maps of a photograph, as files below `folder`, which is emptied first."""
        shutil.rmtree(folder, ignore_errors=True)
        photo = folder / "persons" / "person.png"
        photo.parent.mkdir(parents=True)
        save_input(picture, photo)
        exact = self.examples.labels if self.examples.known(picture) else None
        with self._lock:
            remarks = [*self._body(photo, exact), *self._mask(photo, exact, picture, category)]
        names = "masks/person.png", "densepose/person.png", "keypoints/person.json"
        mask, densepose, keypoints = (
            path if (path := folder / name).is_file() else None for name in names
        )
        return Maps(photo, mask, densepose, keypoints, tuple(remarks))

    def _body(self, photo: Path, exact: SyntheticLabels | None) -> list[str]:
        """The joints and the body's surface, as far as the model reads them."""
        remarks = []
        if self.model.needs_keypoints:
            pose = exact or self.tools.pose
            remarks += _try(photo, Tools(pose=pose)) if pose else [_NO_KEYPOINTS]
        if self.model.needs_densepose:
            surface = exact or self.tools.densepose
            tools = Tools(densepose=surface, encoding=self.model.body_map)
            remarks += _try(photo, tools) if surface else [_NO_DENSEPOSE]
        return remarks

    def _mask(
        self, photo: Path, exact: SyntheticLabels | None, picture: Image.Image, category: str
    ) -> list[str]:
        if self.model.task != "tryon":
            return []
        mask = self.examples.mask(picture, category) if exact and self.recipe is None else None
        if mask is not None:
            (folder := photo.parents[1] / "masks").mkdir()
            save_input(Image.fromarray(mask).convert("L"), folder / photo.name)
            return []
        given = replace(self.tools, category=category)
        if (parser := exact or given.parser) is None:
            return [_NO_MASK]
        tools = Tools(
            parser=parser,
            pose=exact or given.pose,
            densepose=exact or given.densepose,
            encoding=self.model.body_map if self.model.needs_densepose else "iuv",
            recipe=self.mask_recipe,
            category=category,
        )
        return [f"No mask could be made: {line}" for line in _try(photo, tools)]


def save_input(picture: Image.Image, path: Path) -> None:
    """Write a PNG that this process alone reads, soon: in half the usual time, a little larger."""
    picture.save(path, format="PNG", compress_level=1)


def _try(photo: Path, tools: Tools) -> list[str]:
    """Prepare the photo; what goes wrong as a remark, since the user may go on without."""
    try:
        prepare_photo(photo, photo.parents[1], tools)
    except ValueError as error:
        return [str(error).replace(f"{photo}: ", "").replace(str(photo), "the photograph")]
    return []
