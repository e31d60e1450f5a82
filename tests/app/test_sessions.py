"""What a visitor leaves behind: nothing, and nothing of another visitor's is taken."""

import threading
from pathlib import Path

import pytest

from leffa.app import sessions as module
from leffa.app.inference import Job, Result, Sampling
from leffa.app.sessions import MOST_PICTURES, Session, Sessions
from leffa.data.batch import Record


def result_in(folder: Path) -> Result:
    picture = folder / "tryon.png"
    picture.write_bytes(b"a picture")
    settings = picture.with_suffix(".json")
    record = Record("tryon", "upper_body", picture, picture)
    return Result(picture, settings, None, Job(record, Sampling()), 1.0)


def test_closing_a_session_stops_its_work_and_deletes_its_files(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    session = sessions.of("key")
    assert sessions.of("key") is session
    upload = tmp_path / "upload.png"
    upload.touch()
    session.receive(upload)
    session.keep(result_in(session.new_folder()), "tryon")
    with session.running("tryon") as stop:
        sessions.close("key")
        assert stop.is_set()
    assert not upload.exists()
    assert list(sessions.root.iterdir()) == []
    assert sessions.of("key") is not session


def test_an_upload_that_two_visitors_share_goes_with_the_last(tmp_path: Path) -> None:
    # The same picture, uploaded twice, is one file of gradio's.
    sessions = Sessions(tmp_path / "sessions")
    upload = tmp_path / "upload.png"
    upload.touch()
    for key in ("one", "two"):
        sessions.of(key).receive(upload)
    sessions.close("one")
    assert upload.exists()
    sessions.close("two")
    assert not upload.exists()


def test_an_upload_that_somebody_in_the_queue_has_renewed_stays(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    upload, again = tmp_path / "upload.png", tmp_path / "again.png"
    upload.touch()
    sessions.of("one").receive(upload)
    again.touch()
    again.replace(upload)  # as gradio does with the same picture of another visitor
    sessions.close("one")
    assert upload.exists()


def test_a_folder_does_not_tell_the_key_it_belongs_to(tmp_path: Path) -> None:
    folder = Sessions(tmp_path).of("../../etc").folder
    assert folder.parent == tmp_path
    assert "etc" not in folder.name


def test_idle_sessions_end_but_not_one_that_works(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    idle, busy = sessions.of("idle"), sessions.of("busy")
    folders = [each.new_folder() for each in (idle, busy)]
    sessions.close_idle(3600)
    assert all(folder.exists() for folder in folders)
    with busy.running("tryon"):
        sessions.close_idle(0)
        assert [folder.exists() for folder in folders] == [False, True]
    sessions.close_idle(0)
    assert not folders[1].exists()


def test_a_session_keeps_its_newest_pictures_only(tmp_path: Path) -> None:
    session = Session(tmp_path)
    folders = [session.new_folder() for _ in range(MOST_PICTURES + 2)]
    for folder in folders:
        session.keep(result_in(folder), "tryon")
    assert len(session.results["tryon"]) == MOST_PICTURES
    assert [folder.exists() for folder in folders] == [False] * 2 + [True] * MOST_PICTURES


def test_large_files_leave_room_for_fewer_pictures_but_the_newest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path)
    folders = [session.new_folder() for _ in range(4)]
    monkeypatch.setattr(module, "MOST_BYTES", 25)
    for folder in folders[:3]:
        session.keep(result_in(folder), "tryon")  # nine bytes each
    assert [folder.exists() for folder in folders] == [False, True, True, True]
    (folders[3] / "person.png").write_bytes(bytes(100))
    session.keep(result_in(folders[3]), "tryon")
    assert [folder.exists() for folder in folders] == [False] * 3 + [True]
    assert len(session.results["tryon"]) == 1


def test_nobody_waits_while_the_files_of_another_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(tmp_path)
    sessions.of("large")
    begun, go_on = threading.Event(), threading.Event()

    def slow(self: Session, needed: object) -> None:
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(Session, "close", slow)
    closing = threading.Thread(target=sessions.close, args=["large"])
    closing.start()
    assert begun.wait(30)
    asking = threading.Thread(target=sessions.of, args=["other"])
    asking.start()
    asking.join(5)
    waits = asking.is_alive()
    go_on.set()
    closing.join()
    asking.join()
    assert not waits


def test_stopping_one_task_leaves_the_other_alone(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.running("tryon") as tryon, session.running("pose") as pose:
        assert session.stop("tryon")
        assert (tryon.is_set(), pose.is_set()) == (True, False)
    assert not session.is_working
    assert not session.stop()
