"""What a training feeds its model: what its starting weights read, or one line says why not."""

from pathlib import Path
from typing import Any

import pytest

from leffa.data.batch import Record
from leffa.models.export import InputSpec
from leffa.run import compose
from leffa.run.config import resolved
from leffa.run.inputs import declared_inputs, feed_training

WITH = [Record("a", "upper_body", Path("a.jpg"), Path("b.jpg"), densepose=Path("a.png"))]
WITHOUT = [Record("a", "upper_body", Path("a.jpg"), Path("b.jpg"))]


def before(densepose: str, part_range: int = 24) -> InputSpec:
    """What a run read that read its DensePose so."""
    return InputSpec("tryon", 64, 48, densepose=densepose, part_range=part_range)


def finetune(*overrides: str) -> dict[str, Any]:
    chosen = ["experiment=finetune", "data.root=x", "paths.output_dir=x", "start_from=x"]
    return resolved(compose("train", [*chosen, *overrides]))


def test_fine_tuning_reads_the_column_as_the_run_did() -> None:
    config = finetune()
    feed_training(config, WITH, before("colour"))
    assert config["data"]["transform"]["densepose"] == "colour"


def test_files_of_another_encoding_are_converted_to_that_of_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    config = finetune("data.transform.densepose=labels")
    feed_training(config, WITH, before("colour", 255))
    transform = config["data"]["transform"]
    assert (transform["densepose"], transform["densepose_files"]) == ("colour", "labels")
    assert transform["part_range"] == 255
    assert "+data.transform.densepose_files=labels trains on them as they are" in caplog.text


def test_the_encoding_of_the_data_is_kept_where_that_is_said() -> None:
    labels = ["data.transform.densepose=labels", "+data.transform.densepose_files=labels"]
    config = finetune(*labels)
    feed_training(config, WITH, before("colour"))
    assert config["data"]["transform"]["densepose"] == "labels"


@pytest.mark.parametrize(
    ("records", "known", "message"),
    [
        (WITHOUT, True, r"reads DensePose \(colour\), and a.jpg has none; give its files"),
        (WITHOUT, False, r"data.transform.densepose=none: give its files"),
        (WITH, False, r"encoded, data.transform.densepose=colour\|iuv\|labels"),
    ],
)
def test_a_model_that_reads_densepose_is_not_fed_nothing(
    records: list[Record], known: bool, message: str
) -> None:
    begun = before("colour") if known else None
    with pytest.raises(ValueError, match=message) as caught:
        feed_training(finetune(), records, begun)
    assert str(caught.value).endswith("without_densepose=true")


def test_what_files_do_not_hold_is_refused() -> None:
    config = finetune("data.transform.densepose=colour")
    with pytest.raises(ValueError, match="DensePose as iuv, which colour files do not hold"):
        feed_training(config, WITH, before("iuv"))


def test_densepose_is_given_up_by_name() -> None:
    given = ["without_densepose=true", "data.transform.densepose=labels"]
    config = finetune(*given)
    feed_training(config, WITHOUT, before("colour"))
    assert config["data"]["transform"]["densepose"] == "none"


def test_a_model_without_densepose_asks_for_none() -> None:
    config = finetune("model.parts=[mask, masked_source]")
    feed_training(config, WITHOUT, None)
    assert config["data"]["transform"]["densepose"] == "none"
    for name, reads in (("catvton", set()), ("idm_vton", {"densepose"}), ("cfld", {"pose"})):
        declared = declared_inputs(
            resolved(compose("train", [f"experiment={name}_synthetic"]))["model"]
        )
        assert declared - {"mask"} == reads
