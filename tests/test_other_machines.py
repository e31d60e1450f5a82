"""Machines that are not at hand: an accelerator without float64 (Apple's MPS), and Windows."""

import ast
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import MPSAccelerator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from leffa.inference.devices import choose_devices, to_device
from leffa.losses.diffusion import DiffusionSchedule
from leffa.metrics.distribution import FID, KID, DistributionMetrics
from leffa.metrics.features import clean_resize
from leffa.metrics.flow import ConstantFlow, FlowMetrics
from leffa.metrics.paired import MSE, PSNR, SSIM, MaskedPSNR
from leffa.run import assemble, compose
from leffa.run.config import resolved
from leffa.run.trainer import build_trainer
from leffa.synthetic.write import write_viton_hd
from leffa.training.callbacks.preemption import StopOnSignal
from leffa.training.callbacks.throughput import peak_memory

REPOSITORY = Path(__file__).parents[1]
# A device type for which torch needs no driver; "mps" itself is refused by a torch without it.
DEVICE = torch.device("lazy", 0)


class Coarse(Tensor):
    """A tensor that says it is on `DEVICE`; its values lie on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "Coarse":
        layout = {"strides": values.stride(), "dtype": values.dtype, "device": DEVICE}
        made = Tensor._make_wrapper_subclass(cls, values.shape, **layout)
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(function, args, kwargs or {})

    def tolist(self) -> Any:
        return self.values.tolist()

    def new_tensor(self, *values: Any, **options: Any) -> "Coarse":
        return Coarse(self.values.new_tensor(*values, **options))


class PretendedDevice(TorchDispatchMode):
    """While it lasts, tensors can be made on `DEVICE` and brought there."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(function, args, kwargs or {})


def compute(function: Any, args: Any, kwargs: Any) -> Any:
    """On the CPU; refuses what such a device refuses: float64, and tensors of two devices."""
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = any(isinstance(tensor, Coarse) for tensor in tensors)
    if there and any(not isinstance(tensor, Coarse) and tensor.ndim for tensor in tensors):
        raise RuntimeError(f"{function}: expected all tensors to be on the same device")
    target = kwargs.get("device") or (DEVICE if there else "cpu")

    def plain(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return value.values if isinstance(value, Coarse) else value

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, Coarse):
            return value
        if value.dtype == torch.float64:
            raise TypeError(f"{function}: this device has no float64")
        return Coarse(value)

    result = function(*tree_map(plain, args), **tree_map(plain, kwargs))
    return tree_map(placed, result) if torch.device(target).type == DEVICE.type else result


@pytest.fixture
def pretended() -> Iterator[torch.device]:
    with PretendedDevice():
        yield DEVICE


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def distribution(kid: bool) -> DistributionMetrics:
    extractor = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return DistributionMetrics(extractor, {"kid": KID(12, 3, 4)} if kid else {"fid": FID(12)})


def set_distance(place: Callable[[Any], Any], kid: bool) -> list[float]:
    metrics = place(distribution(kid))
    for real in (False, True):
        metrics.update(place(pictures(6 + real, 3, 8, 8)), real=real)
    return [value.item() for value in metrics.compute().values()]


def flow_values(place: Callable[[Any], Any]) -> list[float]:
    true, valid = place(pictures(2, 8, 8, 2)), place(torch.ones(2, 1, 8, 8))
    constant, metrics = place(ConstantFlow()), place(FlowMetrics())
    constant.update(true, valid)
    metrics.update(place(pictures(2, 4, 4, 2)), true, valid)
    return [*constant.compute().tolist(), *(value.item() for value in metrics.compute().values())]


def paired(make: Callable[[], Any], mask: bool = False) -> Callable[[Callable[[Any], Any]], Any]:
    def value(place: Callable[[Any], Any]) -> list[float]:
        metric, more = place(make()), [place(pictures(2, 1, 16, 16).round())] if mask else []
        metric.update(place(pictures(2, 3, 16, 16)), place(pictures(2, 3, 16, 16) / 2), *more)
        return [metric.compute().item()]

    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(paired(SSIM), id="SSIM"),
        pytest.param(paired(lambda: SSIM(data_range="prediction")), id="SSIM of a range"),
        pytest.param(paired(PSNR), id="PSNR"),
        pytest.param(paired(lambda: PSNR("all")), id="pooled PSNR"),
        pytest.param(paired(MSE), id="MSE"),
        pytest.param(paired(MaskedPSNR, mask=True), id="masked PSNR"),
        pytest.param(flow_values, id="flow"),
        pytest.param(lambda place: set_distance(place, kid=False), id="FID"),
        pytest.param(lambda place: set_distance(place, kid=True), id="KID"),
        pytest.param(
            lambda place: clean_resize(place(pictures(1, 3, 8, 8))).flatten().tolist()[:9],
            id="the resizing of clean-fid",
        ),
    ],
)
def test_a_device_without_float64_gives_the_same_scores(
    pretended: torch.device, value: Callable[[Callable[[Any], Any]], list[float]]
) -> None:
    expected = value(lambda part: part)
    assert value(lambda part: part.to(pretended)) == pytest.approx(expected, abs=1e-6)


def test_the_noise_schedule_needs_no_float64(pretended: torch.device) -> None:
    schedule = DiffusionSchedule(torch.linspace(0.9999, 0.01, 1000))
    clean, noise, steps = (
        pictures(3, 4, 2, 2),
        pictures(3, 4, 2, 3)[..., :2],
        torch.tensor([0, 500, 999]),
    )
    expected = schedule.add_noise(clean, noise, steps)
    found = schedule.add_noise(*(part.to(pretended) for part in (clean, noise, steps)))
    assert torch.allclose(found.cpu(), expected, atol=1e-5)


def test_a_validation_needs_no_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_viton_hd(tmp_path / "data", 2, 2, seed=0, height=64, width=48)
    chosen = ["experiment=tryon_synthetic", "debug=tiny", "data.prepare=null"]
    places = [f"data.root={tmp_path / 'data'}", f"paths.output_dir={tmp_path / 'run'}"]
    run = assemble(compose("train", [*chosen, *places]))
    batch = next(iter(run.datamodule.val_dataloader()))
    # The one thing that torch has for MPS and not for the pretended device.
    for module in ("flow", "monitoring"):
        monkeypatch.setattr(f"leffa.losses.{module}.without_autocast", lambda _: nullcontext())

    def validate(device: torch.device) -> dict[str, float]:
        module, logged = run.module.to(device), {}
        log = lambda name, value, **_: logged.update({name: value.item()})  # noqa: E731
        monkeypatch.setattr(module, "log", log)
        module.validation_step(to_device(batch, device), 0)
        return logged

    with torch.no_grad():
        expected = validate(torch.device("cpu"))
        with PretendedDevice():
            assert validate(DEVICE) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert "val/ssim" in expected


def test_apples_gpu_is_taken_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mps = torch.device("mps")
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda **_: mps)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    assert choose_devices("auto", 1) == ["cpu"]
    assert choose_devices("mps", 1) == ["mps:0"]
    with pytest.raises(ValueError, match="device=cuda: this machine has no cuda device"):
        choose_devices("cuda", 1)
    chosen = ["experiment=tryon_synthetic", "debug=tiny", f"paths.output_dir={tmp_path}"]
    trainer = build_trainer(resolved(compose("train", chosen)), epochs=1)
    assert trainer.strategy.root_device.type == "cpu"


def test_windows_stops_a_run_with_ctrl_break(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", lambda number, handler: asked.update({number: handler}))
    monkeypatch.delattr(signal, "SIGUSR1")
    StopOnSignal().on_train_start(None, None)  # type: ignore[arg-type]
    assert list(asked) == [signal.SIGINT, signal.SIGTERM]


def test_windows_tells_the_memory_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = types.SimpleNamespace(peak_wset=5e9)
    process = types.SimpleNamespace(memory_info=lambda: memory)
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", types.SimpleNamespace(Process=lambda: process))
    assert peak_memory(torch.device("cpu")) == 5e9


# What Windows does not have: modules, and names of others.
MODULES = {"fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NAMES = {
    *("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "RTLD_GLOBAL", "O_DIRECTORY"),
    *("chown", "fork", "getgid", "getpgid", "getuid", "killpg", "mkfifo", "nice", "setsid"),
    *("getloadavg", "sched_getaffinity", "statvfs", "sysconf", "uname"),
}


def missing_on_windows(source: str) -> list[str]:
    """What a module needs of these as soon as it is imported, or without asking if it is there."""
    found = []
    tree = ast.parse(source)
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in late:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.name in NAMES]
            found += [node.module] if node.module in MODULES else []
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            found.append(node.attr)
    return found


def test_every_module_can_be_imported_on_windows() -> None:
    places = [REPOSITORY / name for name in ("src", "tests", "benchmarks")]
    files = [path for place in places for path in sorted(place.rglob("*.py"))]
    found = {path: missing_on_windows(path.read_text(encoding="utf-8")) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import resource",
        "import signal\ndef stop(number=signal.SIGKILL): ...",
        "import os, signal\nSIGNALS = [signal.SIGUSR1]",
    ],
)
def test_what_windows_does_not_have_is_found(source: str) -> None:
    assert len(missing_on_windows(source)) == 1
    inside = "\n".join(["def task():", *(f"    {line}" for line in source.splitlines())])
    assert missing_on_windows(inside) == []


def test_every_text_file_is_utf8_whatever_the_system_prefers() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted((REPOSITORY / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("read_text", "write_text")
        if "encoding" not in {keyword.arg for keyword in node.keywords}
    ]
    assert found == []
