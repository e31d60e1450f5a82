"""Every data configuration composes, and gives a sample of a synthetic copy in its own layout."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from leffa.data.catalog import DRESS_CODE
from leffa.run import CONF, compose
from leffa.synthetic.write import (
    write_deepfashion,
    write_dress_code,
    write_folder,
    write_market1501,
    write_viton,
    write_viton_hd,
    write_wpose,
)

SIZE = (64, 48)
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))

# The synthetic copy of a layout class, as (train, test) of the usual writer.
COPIES: dict[str, tuple[Callable[..., None], int, int]] = {
    "leffa.data.published.Viton": (write_viton, 2, 2),
    "leffa.data.published.VitonHD": (write_viton_hd, 2, 2),
    "leffa.data.published.DressCode": (write_dress_code, 2, 2),
    "leffa.data.deepfashion.DeepFashion": (write_deepfashion, 3, 4),
    "leffa.data.published.Market1501": (write_market1501, 6, 6),
    "leffa.data.published.WPose": (write_wpose, 0, 3),
    "leffa.data.folder.FolderPairs": (write_folder, 3, 3),
}


@pytest.fixture(scope="module")
def copy_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Draws the copy that a layout class reads, once."""
    folder = tmp_path_factory.mktemp("synthetic")

    def draw(layout: str) -> Path:
        root = folder / layout
        if not root.is_dir():
            writer, train, test = COPIES[layout]
            writer(root, train, test, 0, *SIZE)
        return root

    return draw


def build(part: DictConfig) -> Any:
    return instantiate(OmegaConf.to_container(part, resolve=True), _convert_="all")


@pytest.mark.parametrize("name", DATA)
def test_training_data_yields_samples_of_its_copy(
    name: str, copy_of: Callable[[str], Path]
) -> None:
    cfg = compose("train", [f"data={name}"])
    cfg.data.root = str(copy_of(cfg.data.train["_target_"]))
    transform = build(cfg.data.transform)(height=64, width=48)
    for split in ("train", "val"):
        records = build(cfg.data[split])
        assert len(records) >= 2
        sample = transform(records[0], random.Random(0))
        assert sample["source"].shape == (3, 64, 48)
        assert 0 < sample["mask"].mean() <= 1
        assert sample["loss_region"].sum() > 0


@pytest.mark.parametrize("name", DATASETS)
def test_evaluation_data_yields_samples_of_its_copy(
    name: str, copy_of: Callable[[str], Path]
) -> None:
    dataset = compose("evaluate", [f"dataset={name}"]).dataset
    dataset.root = str(copy_of(dataset.records["_target_"]))
    assert dataset.name == name
    records, transform = build(dataset.records), build(dataset.transform)
    sample = transform(records[0], random.Random(0))
    assert sample["source"].shape == (3, transform.height, transform.width)
    assert sample["mask"].mean() > 0
    # Whether there is a truth is said twice, to the layout and to the scores: they must agree.
    if "pairs" in dataset.records:
        wears_it = dataset.records.pairs == "paired"
        if transform.task == "tryon":
            assert wears_it == ("__" not in records[0].name)
        assert dataset.paired == (wears_it or "truth" in sample)
    if name.startswith("dresscode"):
        assert {record.category for record in records} == {"upper_body", "lower_body", "dresses"}


def test_a_configuration_fits_a_screen_and_says_how_to_give_its_root() -> None:
    for path in sorted([*(CONF / "data").iterdir(), *(CONF / "dataset").iterdir()]):
        text = path.read_text()
        assert len(text.splitlines()) <= 40, path
        first = text.splitlines()[0]
        assert f"{path.parent.name}.root=DIR" in first or "prepare:\n" in text, path


def test_a_shorter_list_must_be_asked_for() -> None:
    """Only VITON, of which few copies are whole, is read in part without being asked to."""
    paths = [*(CONF / "data").iterdir(), *(CONF / "dataset").iterdir()]
    generous = {path.stem for path in paths if "allow_subset: true" in path.read_text()}
    assert generous == {"viton", "viton_paired"}  # viton_unpaired is viton_paired otherwise


@pytest.mark.parametrize(("split", "total"), [("train", 48_392), ("test", 5_400)])
def test_the_official_counts_of_dress_code_add_up(split: str, total: int) -> None:
    """Leffa, appendix A.1, gives the sums as well."""
    assert sum(group.listing(split).official or 0 for group in DRESS_CODE.groups) == total
