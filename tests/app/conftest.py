"""A page without training: small networks with the shipped weights of the synthetic data set."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from leffa.app.examples import Examples, draw_examples
from leffa.app.handler import RequestHandler
from leffa.app.inference import InferenceSession
from leffa.app.limits import Limits
from leffa.app.maps import MapMaker
from leffa.app.sessions import Session
from leffa.inference import LoadedModel
from leffa.models.export import InputSpec, ModelSettings
from leffa.models.leffa import PARTS, LeffaModel
from leffa.models.loading import SHIPPED
from leffa.models.sampler import SamplerSettings
from leffa.photo_to_picture import Weights
from leffa.preprocess.photo import Tools

from .visitor import PATIENCE

HEIGHT, WIDTH = 64, 48
SAMPLER = SamplerSettings(scheduler="ddim", steps=2, guidance=1.5)
SCHEDULE = {  # as conf/backbone/tiny.yaml
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "prediction_type": "v_prediction",
}


def tiny(task: Literal["tryon", "pose"]) -> LoadedModel:
    """The small model as a training begins with it: it paints something, and looks somewhere."""
    torch.manual_seed(0)
    model = LeffaModel(vae=SHIPPED, unet=SHIPPED, scheduler=SCHEDULE, parts=PARTS)
    inputs = InputSpec(task, HEIGHT, WIDTH, densepose="iuv")
    settings = ModelSettings(inputs, SHIPPED, sampler=SAMPLER)
    return LoadedModel(model.eval(), settings, Path(SHIPPED))


@pytest.fixture(scope="module")
def sweep() -> Iterator[None]:
    """Event loops that gradio leaves open must not be found during the tests of others."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the place of the weights; only its size and time are read."""
    path = tmp_path_factory.mktemp("weights") / "last.ckpt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture(scope="session")
def trained() -> LoadedModel:
    return tiny("tryon")


@pytest.fixture(scope="session")
def trained_pose() -> LoadedModel:
    return tiny("pose")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return draw_examples("tryon", tmp_path_factory.mktemp("examples"), HEIGHT, WIDTH)


@pytest.fixture(scope="session")
def pose_examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return draw_examples("pose", tmp_path_factory.mktemp("pose_examples"), HEIGHT, WIDTH)


@pytest.fixture
def model(trained: LoadedModel, weights: Path) -> InferenceSession:
    return InferenceSession(Weights.of(trained, weights), Limits(megabytes=2, megapixels=1), "cpu")


@pytest.fixture
def handler(model: InferenceSession, examples: Examples) -> RequestHandler:
    return RequestHandler(model, MapMaker(model, examples, Tools()))


@pytest.fixture
def pose_handler(
    trained_pose: LoadedModel, weights: Path, pose_examples: Examples
) -> RequestHandler:
    model = InferenceSession(Weights.of(trained_pose, weights), Limits(), "cpu")
    return RequestHandler(model, MapMaker(model, pose_examples, Tools()))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "session")
    yield session
    session.close()


@pytest.fixture(scope="session")
def address(trained: LoadedModel, trained_pose: LoadedModel, weights: Path) -> Iterator[str]:
    """A page with both tabs, which takes small files only."""
    from leffa.app.server import served
    from leffa.app.settings import Serving

    limits = Limits(megabytes=1, megapixels=2)
    models = {"tryon": [Weights.of(trained, weights)], "pose": [Weights.of(trained_pose, weights)]}
    with served(models, Tools(), Serving(device="cpu", limits=limits)) as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page as a new visitor sees it; it must ask nobody else, and must not stumble."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#tryon-go")
    page.wait_for_selector("#tryon-mask canvas:not([hidden])")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []
