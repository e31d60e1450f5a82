"""From a request to a picture, without a page: the same one as `leffa predict` makes."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.app.handler import Progress, Request
from leffa.app.handler import RequestHandler as Handler
from leffa.app.inference import InferenceSession, Result, Sampling, Stopped
from leffa.app.limits import Limits
from leffa.app.maps import Maps
from leffa.app.sessions import Session
from leffa.app.widgets import picture_address
from leffa.models.export import save_exported

SAMPLING = Sampling(steps=2, scheduler="ddim", guidance=1.5, seed=7)


def sampling(**changes: Any) -> Sampling:
    return replace(SAMPLING, **changes)


def request_of(handler: Handler, **changes: object) -> Request:
    examples = handler.maps.examples
    usual = Request(examples.persons[0], examples.references[0], None, None, SAMPLING)
    return replace(usual, **changes)


def result_of(handler: Handler, session: Session, **changes: object) -> Result:
    *_, result = handler.run(request_of(handler, **changes), session)
    assert isinstance(result, Result)
    return result


def jobs_in(session: Session) -> list[Path]:
    """The folders of jobs; that of the maps is none."""
    return sorted(session.folder.glob("[0-9]*"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_an_example_becomes_a_picture_with_settings_and_flow(
    handler: Handler, session: Session
) -> None:
    news = list(handler.run(request_of(handler), session))
    told = [(each.done, each.steps) for each in news[:-1] if isinstance(each, Progress)]
    assert told[0] == (0, 2)
    result = news[-1]
    assert isinstance(result, Result)
    assert pixels(result.picture).shape == pixels(handler.maps.examples.persons[0]).shape
    settings = json.loads(result.settings.read_text())
    assert settings["sampler"]["seed"] == 7
    assert settings["sampler"]["steps"] == 2
    assert result.flow is not None
    assert result.flow.places.std() > 0
    assert session.results["tryon"] == [result]


def test_what_was_made_stays_though_nobody_waits_for_more(
    handler: Handler, session: Session
) -> None:
    work = handler.run(request_of(handler), session)
    result = next(news for news in work if isinstance(news, Result))
    work.close()
    assert jobs_in(session) == [result.picture.parent]
    assert result.picture.is_file()


def test_the_photograph_of_a_picture_outlives_the_next_one(
    handler: Handler, session: Session
) -> None:
    photo = result_of(handler, session).job.record.source
    request = request_of(handler, person=handler.maps.examples.persons[1])
    handler.job(request, session, session.new_folder())
    assert (pixels(photo) == pixels(handler.maps.examples.persons[0])).all()


def test_the_settings_for_the_user_name_no_place_of_the_server(
    handler: Handler, session: Session
) -> None:
    text = result_of(handler, session).settings.read_text()
    settings = json.loads(text)
    assert str(session.folder) not in text
    assert settings["weights"]["path"] == "last.ckpt"
    assert settings["files"]["source"]["path"] == "person.png"


def test_the_same_request_gives_the_same_picture_and_another_seed_another(
    handler: Handler, session: Session
) -> None:
    first, again = result_of(handler, session), result_of(handler, session)
    other = result_of(handler, session, sampling=sampling(seed=8))
    assert first.picture.read_bytes() == again.picture.read_bytes()
    assert (pixels(first.picture) != pixels(other.picture)).any()


def test_the_page_and_leffa_predict_make_the_same_picture(
    handler: Handler, session: Session, tmp_path: Path
) -> None:
    from leffa.cli import main

    result = result_of(handler, session)
    weights = tmp_path / "weights"
    loaded = handler.model.weights.loaded
    save_exported(loaded.model, weights, loaded.settings, "card")
    folder, table = result.picture.parent, tmp_path / "pairs.csv"
    files = "person.png", "reference.png", "masks.png", "densepose.png"
    table.write_text(
        "name,person,garment,mask,densepose\ntryon," + ",".join(str(folder / f) for f in files)
    )
    arguments = ["--table", str(table), "--seed", "7", "--device", "cpu"]
    out = ["--out", str(tmp_path / "out")]
    assert main(["predict", "--ckpt", str(weights), *arguments, *out]) == 0
    assert (tmp_path / "out" / "tryon.png").read_bytes() == result.picture.read_bytes()


def test_the_photograph_stays_outside_the_mask_where_it_is_wanted(
    handler: Handler, session: Session
) -> None:
    result = result_of(handler, session, sampling=sampling(paste_back=True))
    person = pixels(handler.maps.examples.persons[0])
    with Image.open(result.picture.parent / "masks.png") as mask:
        far = np.asarray(mask.convert("L")) < 128
    far[1:] &= far[:-1]
    changed = np.abs(pixels(result.picture) - person).max(axis=-1) > 0
    assert changed.any()
    assert changed[far].mean() < 0.2  # the blend at the mask's edge


def test_a_brushed_mask_is_what_is_repainted(handler: Handler, session: Session) -> None:
    drawn = Image.new("L", (48, 64))
    drawn.paste(255, (10, 10, 30, 30))  # on a copy of an eighth of the size
    result = result_of(handler, session, mask=picture_address(drawn, "png"))
    with Image.open(result.picture.parent / "mask.png") as mask:
        used = np.asarray(mask) > 0
    assert used.shape == pixels(handler.maps.examples.persons[0]).shape[:2]
    rows, columns = np.nonzero(used)
    scale = used.shape[0] / 64
    assert abs(rows.min() - 10 * scale) <= scale
    assert abs(columns.max() - 30 * scale) <= scale


def test_pose_transfer_paints_the_whole_picture(pose_handler: Handler, session: Session) -> None:
    result = result_of(pose_handler, session)
    assert result.flow is not None
    assert result.flow.made.all()
    assert json.loads(result.settings.read_text())["inputs"]["task"] == "pose"


def test_a_stop_ends_the_loop_before_its_next_step(
    model: InferenceSession, handler: Handler, session: Session
) -> None:
    stop = threading.Event()
    steps: list[int] = []

    def after(done: int, total: int) -> None:
        steps.append(done)
        if done == 2:
            stop.set()

    folder = session.new_folder()
    job = handler.job(request_of(handler, sampling=sampling(steps=50)), session, folder)
    with pytest.raises(Stopped):
        model.run(job, folder, after, stop)
    assert steps == [1, 2]
    assert not (folder / "tryon.png").exists()


def test_closing_the_iterator_stops_the_work_and_its_thread(
    handler: Handler, session: Session
) -> None:
    work = handler.run(request_of(handler, sampling=sampling(steps=100)), session)
    for _ in range(3):
        next(work)
    before = threading.active_count()
    work.close()
    assert threading.active_count() < before
    assert session.results == {}
    assert jobs_in(session) == []
    assert not session.stop()


def test_what_takes_too_long_is_ended_with_the_remedy(
    model: InferenceSession, handler: Handler, session: Session
) -> None:
    folder = session.new_folder()
    job = handler.job(request_of(handler), session, folder)
    model.limits = Limits(seconds=0.001)
    with pytest.raises(ValueError, match=r"longer than 0\.001 s, after 1 of 2 steps.*--timeout"):
        model.run(job, folder, start=time.monotonic())


def test_the_time_begins_with_the_maps(
    handler: Handler, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = handler.maps.make

    def slow(*arguments: Any) -> Maps:
        time.sleep(0.2)
        return make(*arguments)

    monkeypatch.setattr(handler.maps, "make", slow)
    monkeypatch.setattr(handler.model.weights.loaded.model, "encode", None)  # nobody gets so far
    handler.model.limits = Limits(seconds=0.1)
    with pytest.raises(ValueError, match=r"longer than 0\.1 s, before the first step.*--timeout"):
        list(handler.run(request_of(handler), session))
    assert not session.is_working


def test_a_stop_while_the_maps_are_made_is_heard(
    handler: Handler, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = handler.maps.make

    def stopped(*arguments: Any) -> Maps:
        assert session.stop("tryon")
        return make(*arguments)

    monkeypatch.setattr(handler.maps, "make", stopped)
    monkeypatch.setattr(handler.model.weights.loaded.model, "encode", None)
    with pytest.raises(Stopped):
        list(handler.run(request_of(handler), session))
    assert session.results == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"steps": 0}, "steps: give a number from 1 to 100"),
        ({"steps": 10**9}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": 0.5}, "guidance"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**80}, "seed"),
        ({"scheduler": "magic"}, "sampler: choose one of ddpm"),
        ({"category": "hats"}, "category: choose one of upper_body"),
    ],
)
def test_a_value_that_no_slider_gives_is_refused(
    handler: Handler, session: Session, value: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(handler.run(request_of(handler, sampling=sampling(**value)), session))


def test_a_missing_file_is_named_as_the_page_names_it(handler: Handler, session: Session) -> None:
    with pytest.raises(ValueError, match="The garment's image is missing; upload one"):
        list(handler.run(request_of(handler, reference=None), session))
    with pytest.raises(ValueError, match="The person's photograph is missing"):
        list(handler.run(request_of(handler, person=None), session))
    assert jobs_in(session) == []


def test_a_label_map_in_the_garments_place_is_told_in_words_of_the_page(
    handler: Handler, session: Session, tmp_path: Path
) -> None:
    Image.new("L", (64, 64), 7).save(tmp_path / "wrong.png")
    with pytest.raises(ValueError, match=r"^The garment's image has only 1 colours") as caught:
        result_of(handler, session, reference=tmp_path / "wrong.png")
    assert jobs_in(session) == []
    assert str(tmp_path) not in str(caught.value)
    assert "--" not in str(caught.value)


def test_an_inverted_mask_is_told_in_words_of_the_page(
    handler: Handler, session: Session, tmp_path: Path
) -> None:
    inverted = Image.new("L", (64, 64), 255)
    inverted.paste(0, (20, 20, 40, 40))
    height, width = pixels(handler.maps.examples.persons[0]).shape[:2]
    inverted.resize((width, height)).save(tmp_path / "inverted.png")
    with pytest.raises(ValueError, match=r"^The mask is white around and black inside; invert"):
        result_of(handler, session, mask=tmp_path / "inverted.png")


def test_too_little_memory_is_told_with_the_remedy(
    handler: Handler, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(handler.model.weights.loaded.model, "encode", exhausted)
    with pytest.raises(ValueError, match=r"^The GPU has too little free memory: .*--device cpu"):
        list(handler.run(request_of(handler), session))
