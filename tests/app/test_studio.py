"""From an order to a picture, without a page: the same one as `leffa predict` makes."""

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

from leffa.app.desk import Desk, Progress, Wish
from leffa.app.limits import Limits
from leffa.app.maps import Maps
from leffa.app.sessions import Session
from leffa.app.studio import Made, Order, Stopped, Studio
from leffa.app.widgets import data_address
from leffa.models.export import save_exported

from .conftest import SAMPLING


def wish_of(desk: Desk, **changes: object) -> Wish:
    examples = desk.maps.examples
    usual = Wish(examples.persons[0], examples.references[0], None, None, dict(SAMPLING))
    return replace(usual, **changes)


def made_of(desk: Desk, session: Session, **changes: object) -> Made:
    *_, made = desk.work(wish_of(desk, **changes), session)
    assert isinstance(made, Made)
    return made


def orders_in(session: Session) -> list[Path]:
    """The folders of orders; that of the maps is none."""
    return sorted(session.folder.glob("[0-9]*"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_an_example_becomes_a_picture_with_settings_and_flow(desk: Desk, session: Session) -> None:
    news = list(desk.work(wish_of(desk), session))
    told = [(each.done, each.steps) for each in news[:-1] if isinstance(each, Progress)]
    assert told[0] == (0, 2)
    made = news[-1]
    assert isinstance(made, Made)
    assert pixels(made.picture).shape == pixels(desk.maps.examples.persons[0]).shape
    settings = json.loads(made.settings.read_text())
    assert settings["sampler"]["seed"] == 7
    assert settings["sampler"]["steps"] == 2
    assert made.flow is not None
    assert made.flow.places.std() > 0
    assert session.made["tryon"] == [made]


def test_what_was_made_stays_though_nobody_waits_for_more(desk: Desk, session: Session) -> None:
    work = desk.work(wish_of(desk), session)
    made = next(news for news in work if isinstance(news, Made))
    work.close()
    assert orders_in(session) == [made.picture.parent]
    assert made.picture.is_file()


def test_the_photograph_is_written_once_and_outlives_the_next_one(
    desk: Desk, session: Session
) -> None:
    first, again = made_of(desk, session), made_of(desk, session)
    photo = first.order.person
    assert photo.stat().st_ino == again.order.person.stat().st_ino
    wish = wish_of(desk, person=desk.maps.examples.persons[1])
    desk.order(wish, session, session.new_folder())
    assert (pixels(photo) == pixels(desk.maps.examples.persons[0])).all()


def test_the_settings_for_the_user_name_no_place_of_the_server(
    desk: Desk, session: Session
) -> None:
    text = made_of(desk, session).settings.read_text()
    settings = json.loads(text)
    assert str(session.folder) not in text
    assert settings["weights"]["path"] == "last.ckpt"
    assert settings["files"]["source"]["path"] == "person.png"


def test_the_same_wish_gives_the_same_picture_and_another_seed_another(
    desk: Desk, session: Session
) -> None:
    first, again = made_of(desk, session), made_of(desk, session)
    other = made_of(desk, session, sampling=SAMPLING | {"seed": 8})
    assert first.picture.read_bytes() == again.picture.read_bytes()
    assert (pixels(first.picture) != pixels(other.picture)).any()


def test_the_page_and_leffa_predict_make_the_same_picture(
    desk: Desk, session: Session, tmp_path: Path
) -> None:
    from leffa.cli import main

    made = made_of(desk, session)
    weights = tmp_path / "weights"
    save_exported(desk.studio.loaded.model, weights, desk.studio.loaded.settings, "card")
    folder, table = made.picture.parent, tmp_path / "pairs.csv"
    files = "person.png", "reference.png", "masks.png", "densepose.png"
    table.write_text(
        "name,person,garment,mask,densepose\ntryon," + ",".join(str(folder / f) for f in files)
    )
    arguments = ["--table", str(table), "--seed", "7", "--device", "cpu"]
    out = ["--out", str(tmp_path / "out")]
    assert main(["predict", "--ckpt", str(weights), *arguments, *out]) == 0
    assert (tmp_path / "out" / "tryon.png").read_bytes() == made.picture.read_bytes()


def test_the_photograph_stays_outside_the_mask_where_it_is_wanted(
    desk: Desk, session: Session
) -> None:
    made = made_of(desk, session, sampling=SAMPLING | {"paste_back": True})
    person = pixels(desk.maps.examples.persons[0])
    with Image.open(made.picture.parent / "masks.png") as mask:
        far = np.asarray(mask.convert("L")) < 128
    far[1:] &= far[:-1]
    changed = np.abs(pixels(made.picture) - person).max(axis=-1) > 0
    assert changed.any()
    assert changed[far].mean() < 0.2  # the blend at the mask's edge


def test_a_brushed_mask_is_what_is_repainted(desk: Desk, session: Session) -> None:
    drawn = Image.new("L", (48, 64))
    drawn.paste(255, (10, 10, 30, 30))  # on a copy of an eighth of the size
    made = made_of(desk, session, mask=data_address(drawn, "PNG"))
    with Image.open(made.picture.parent / "mask.png") as mask:
        used = np.asarray(mask) > 0
    assert used.shape == pixels(desk.maps.examples.persons[0]).shape[:2]
    rows, columns = np.nonzero(used)
    scale = used.shape[0] / 64
    assert abs(rows.min() - 10 * scale) <= scale
    assert abs(columns.max() - 30 * scale) <= scale


def test_pose_transfer_paints_the_whole_picture(pose_desk: Desk, session: Session) -> None:
    made = made_of(pose_desk, session)
    assert made.flow is not None
    assert made.flow.made.all()
    assert json.loads(made.settings.read_text())["inputs"]["task"] == "pose"


def test_a_stop_ends_the_loop_before_its_next_step(
    studio: Studio, desk: Desk, session: Session
) -> None:
    stop = threading.Event()
    steps: list[int] = []

    def after(done: int, total: int) -> None:
        steps.append(done)
        if done == 2:
            stop.set()

    folder = session.new_folder()
    order = desk.order(wish_of(desk, sampling=SAMPLING | {"steps": 50}), session, folder)
    with pytest.raises(Stopped):
        studio.make(order, folder, after, stop)
    assert steps == [1, 2]
    assert not (folder / "tryon.png").exists()


def test_closing_the_iterator_stops_the_work_and_its_thread(desk: Desk, session: Session) -> None:
    work = desk.work(wish_of(desk, sampling=SAMPLING | {"steps": 100}), session)
    for _ in range(3):
        next(work)
    before = threading.active_count()
    work.close()
    assert threading.active_count() < before
    assert session.made == {}
    assert orders_in(session) == []
    assert not session.stop()


def test_what_takes_too_long_is_ended_with_the_remedy(
    studio: Studio, desk: Desk, session: Session
) -> None:
    folder = session.new_folder()
    order = desk.order(wish_of(desk), session, folder)
    studio.limits = Limits(seconds=0.001)
    with pytest.raises(ValueError, match=r"longer than 0\.001 s, after 1 of 2 steps.*--timeout"):
        studio.make(order, folder, start=time.monotonic())


def test_the_time_begins_with_the_maps(
    desk: Desk, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = desk.maps.make

    def slow(*arguments: Any) -> Maps:
        time.sleep(0.2)
        return make(*arguments)

    monkeypatch.setattr(desk.maps, "make", slow)
    monkeypatch.setattr(desk.studio.loaded.model, "encode", None)  # nobody gets so far
    desk.studio.limits = Limits(seconds=0.1)
    with pytest.raises(ValueError, match=r"longer than 0\.1 s, before the first step.*--timeout"):
        list(desk.work(wish_of(desk), session))
    assert not session.is_working


def test_a_stop_while_the_maps_are_made_is_heard(
    desk: Desk, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = desk.maps.make

    def stopped(*arguments: Any) -> Maps:
        assert session.stop("tryon")
        return make(*arguments)

    monkeypatch.setattr(desk.maps, "make", stopped)
    monkeypatch.setattr(desk.studio.loaded.model, "encode", None)
    with pytest.raises(Stopped):
        list(desk.work(wish_of(desk), session))
    assert session.made == {}


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
    desk: Desk, session: Session, value: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(desk.work(wish_of(desk, sampling=SAMPLING | value), session))


def test_a_missing_file_is_named_as_the_page_names_it(desk: Desk, session: Session) -> None:
    with pytest.raises(ValueError, match="The garment's picture is missing; upload one"):
        list(desk.work(wish_of(desk, reference=None), session))
    with pytest.raises(ValueError, match="The person's photograph is missing"):
        list(desk.work(wish_of(desk, person=None), session))
    assert orders_in(session) == []


def test_a_label_map_in_the_garments_place_is_told_in_words_of_the_page(
    desk: Desk, session: Session, tmp_path: Path
) -> None:
    Image.new("L", (64, 64), 7).save(tmp_path / "wrong.png")
    with pytest.raises(ValueError, match=r"^The garment's picture has 1 colours only") as caught:
        made_of(desk, session, reference=tmp_path / "wrong.png")
    assert orders_in(session) == []
    assert str(tmp_path) not in str(caught.value)
    assert "--" not in str(caught.value)


def test_an_inverted_mask_is_told_in_words_of_the_page(
    desk: Desk, session: Session, tmp_path: Path
) -> None:
    inverted = Image.new("L", (64, 64), 255)
    inverted.paste(0, (20, 20, 40, 40))
    height, width = pixels(desk.maps.examples.persons[0]).shape[:2]
    inverted.resize((width, height)).save(tmp_path / "inverted.png")
    with pytest.raises(ValueError, match=r"^The mask is white around and black inside; invert"):
        made_of(desk, session, mask=tmp_path / "inverted.png")


def test_too_little_memory_is_told_with_the_remedy(
    desk: Desk, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(desk.studio.loaded.model, "encode", exhausted)
    with pytest.raises(ValueError, match=r"^The GPU has too little free memory: .*--device cpu"):
        list(desk.work(wish_of(desk), session))


def test_an_order_out_of_range_says_so_without_a_desk(studio: Studio, tmp_path: Path) -> None:
    order = Order(tmp_path / "a", tmp_path / "b", steps=1000)
    with pytest.raises(ValueError, match="steps"):
        studio.make(order, tmp_path)
