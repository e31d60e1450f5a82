"""Programs at a terminal: Ctrl-C is one line, and printing never loses a result."""

import io
import os
import signal
import sys

import pytest

from leffa.cli import main
from leffa.io.processes import ProcessPool, map_items
from leffa.io.terminal import command_line


@pytest.mark.parametrize("as_lightning_does", [False, True])
def test_an_interrupt_is_one_line_and_exit_code_130(
    as_lightning_does: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, command_line("resume=auto continues"):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if as_lightning_does:
                sys.exit(1)
            raise
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "interrupted; resume=auto continues\n"


def test_other_exit_codes_are_kept() -> None:
    with pytest.raises(SystemExit) as stopped, command_line():
        sys.exit(3)
    assert stopped.value.code == 3


def test_prints_to_a_terminal_that_has_no_arrows(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    with command_line():
        print("SSIM \u2191")
    sys.stdout.flush()
    assert written.getvalue().split() == [b"SSIM", b"?"]


def test_a_command_is_interrupted_like_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    # A shell that starts the tests in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    monkeypatch.setattr("leffa.metrics.score.score_folders", interrupted)
    try:
        assert main(["score", ".", ".", "--protocol", "leffa"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "interrupted\n"


def test_helper_processes_leave_an_interrupt_to_their_parent() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ProcessPool(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == before


def test_an_interrupt_drops_the_calls_that_wait() -> None:
    with pytest.raises(KeyboardInterrupt), ProcessPool(1) as pool:
        waiting = [pool.submit(int, "1") for _ in range(2000)]
        raise KeyboardInterrupt
    assert waiting[-1].cancelled()


@pytest.mark.parametrize("workers", [1, 2])
def test_items_come_in_order_whoever_computes_them(workers: int) -> None:
    told: list[tuple[int, int]] = []
    items = range(-4, 4)
    found = map_items(abs, items, workers, lambda *one: told.append(one), there=2, chunk=2)
    assert list(found) == [abs(item) for item in items]
    assert told == [(done, 10) for done in range(3, 11)]
