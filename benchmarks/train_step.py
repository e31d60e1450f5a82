"""What each choice does to the time of a training step: all in one run, as ratios.

    python benchmarks/train_step.py                                             a CPU, a small SD1.5
    python benchmarks/train_step.py --device cuda --bf16 --height 1024 --width 768   the real one
    ... --out benchmarks/results                                 keeps it: train_step*.json and .md

One model takes one step of each variant in turn, round after round, so that all meet the same load;
a ratio is the median over the rounds of a variant's time by that of the plain step in the same
round. A step is everything from the pictures to the new weights: encoding, both U-Nets, loss,
backward, clipping, AdamW. The plain step has no Leffa loss and none of the choices below.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from arithmetic import flop_counter
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from machine import describe_machine, line, processor_time, time_by_arithmetic
from torch import Tensor

from leffa.data.batch import Batch
from leffa.estimate.bases import SCHEDULER, SD15_UNET, VAE
from leffa.io.atomic import write_json, write_text
from leffa.losses.flow import LeffaLoss
from leffa.models.attention import AttentionExchange, attend, project
from leffa.models.leffa import LeffaModel
from leffa.training.compile import compile_model
from leffa.training.objective import DiffusionObjective

# SD1.5's structure - levels, layers, heads, attention at all levels but the last - at a fifth of
# its width and an autoencoder of a quarter.
SMALL_UNET = {**SD15_UNET, "block_out_channels": [64, 128, 256, 256], "cross_attention_dim": 64}
SMALL_VAE = {**VAE, "block_out_channels": [32, 64, 128, 128]}
GOAL = 1.15  # with the Leffa loss at 1024x768 in bf16 on a GPU


class WholeQueries:
    """A self-attention of the generative U-Net that computes queries of the reference tokens too,
    as the released code does, and throws their half of the result away."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        exchange: AttentionExchange | None = None,
    ) -> Tensor:
        assert exchange is not None
        own = hidden_states.shape[1]
        both = torch.cat([hidden_states, exchange.features[self.name]], dim=1)
        query, key, value = project(attn, both)
        exchange.read_flow(self.name, query[:, :, :own], key[:, :, own:])
        return attend(attn, query, key, value)[:, :own]


class Bench:
    """One model, one batch, and a step whose parts can be exchanged."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        large = arguments.device == "cuda"
        unet, vae = (SD15_UNET, VAE) if large else (SMALL_UNET, SMALL_VAE)
        self.device = torch.device(arguments.device)
        self.bf16 = arguments.bf16
        self.model = LeffaModel(unet, vae, SCHEDULER).to(self.device).train()
        self.batch = pictures(arguments.batch, arguments.height, arguments.width, self.device)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.fused, self.plain_adamw = (
            torch.optim.AdamW(self.trained, lr=0.0, fused=fused) for fused in (True, False)
        )
        self.objective = DiffusionObjective(reference_dropout=0.0)
        self.optimizer = self.plain_adamw
        self.loss: LeffaLoss | None = None
        self.parts = 1  # micro-batches of a step
        self.compiled_models: dict[bool, Any] = {}

    @property
    def networks(self) -> list[UNet2DConditionModel]:
        return [
            cast(UNet2DConditionModel, each)
            for each in (self.model.reference_unet, self.model.generative_unet)
        ]

    def step(self) -> float:
        """Seconds of one step; on a CPU the processor's, which other programs lengthen less."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        self.wait()
        start = clock()
        size = len(self.batch["name"]) // self.parts
        for part in range(self.parts):
            chosen = cut(self.batch, slice(part * size, (part + 1) * size))
            autocast = torch.autocast(self.device.type, torch.bfloat16)
            with autocast if self.bf16 else nullcontext():
                random = torch.Generator(self.device).manual_seed(part)
                result = self.objective(self.model, chosen, self.loss, random)
            (result.loss / self.parts).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.wait()
        return clock() - start

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    # The variants: each changes the step while it lasts.

    @contextmanager
    def plain(self) -> Iterator[None]:
        yield

    @contextmanager
    def leffa_loss(self) -> Iterator[None]:
        self.loss = LeffaLoss(max_timestep=self.model.schedule.steps)
        yield
        self.loss = None

    @contextmanager
    def whole_queries(self) -> Iterator[None]:
        unet = cast(Any, self.model.generative_unet)
        before = dict(unet.attn_processors)
        unet.set_attn_processor(
            {key: WholeQueries(key.removesuffix(".processor")) for key in before}
        )
        yield
        unet.set_attn_processor(before)

    @contextmanager
    def compiled(self, whole: bool = False) -> Iterator[None]:
        """A compiled copy, made once: the next rounds must not compile again."""
        before = self.model, self.trained, self.optimizer
        if whole not in self.compiled_models:
            self.compiled_models[whole] = self.compile_copy(whole)
        self.model, self.trained, self.optimizer = self.compiled_models[whole]
        yield
        self.model, self.trained, self.optimizer = before

    def compile_copy(self, whole: bool) -> tuple[LeffaModel, list[torch.nn.Parameter], Any]:
        model = deepcopy(self.model)
        if whole:
            model.reference_unet.compile()
            model.generative_unet.compile()
        else:
            compile_model(model, compile_networks=True, channels_last=False)
        trained = [p for p in model.parameters() if p.requires_grad]
        fused = self.optimizer.defaults["fused"]
        return model, trained, torch.optim.AdamW(trained, lr=0.0, fused=fused)

    @contextmanager
    def channels_last(self) -> Iterator[None]:
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        yield
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    @contextmanager
    def fused_adamw(self) -> Iterator[None]:
        self.optimizer = self.fused
        yield
        self.optimizer = self.plain_adamw

    @contextmanager
    def cached_latents(self) -> Iterator[None]:
        with torch.no_grad():
            latents = self.model.latents(self.batch)
        before, self.batch = self.batch, cast(Batch, {**self.batch, "latents": latents})
        yield
        self.batch = before

    @contextmanager
    def accumulation(self) -> Iterator[None]:
        self.parts = 2
        yield
        self.parts = 1

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        for network in self.networks:
            network.enable_gradient_checkpointing()
        yield
        for network in self.networks:
            network.disable_gradient_checkpointing()


VARIANTS: dict[str, Callable[[Bench], Any]] = {
    "plain": Bench.plain,
    "Leffa loss on every sample": Bench.leffa_loss,
    "queries on the reference half too": Bench.whole_queries,
    "compiled blocks": Bench.compiled,
    "compiled networks": lambda bench: bench.compiled(whole=True),
    "channels_last": Bench.channels_last,
    "fused AdamW": Bench.fused_adamw,
    "cached latents": Bench.cached_latents,
    "accumulation of 2 half batches": Bench.accumulation,
    "gradient checkpointing": Bench.checkpointing,
}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    variant: str
    seconds: float  # median
    ratio: float  # to the plain step of the same round, median
    lowest: float  # quartiles of the ratio
    highest: float
    memory_gb: float | None  # most held during a step, on a GPU
    arithmetic: float | None = None  # ratio of operations to the plain step's (`arithmetic.py`)
    compiling: float | None = None  # seconds of the first two steps, by the plain step's


def pictures(batch: int, height: int, width: int, device: torch.device) -> Batch:
    """Random pictures; a step takes the same time whatever they show."""

    def picture(channels: int) -> Tensor:
        return torch.rand(batch, channels, height, width, device=device) * 2 - 1

    return {
        "source": picture(3),
        "reference": picture(3),
        "mask": (picture(1) > 0).float(),
        "densepose": picture(3),
        "loss_region": (picture(1) > 0).float(),
        "name": [str(index) for index in range(batch)],
        "category": ["upper"] * batch,
    }


def cut(batch: Any, part: slice) -> Any:
    """Some samples of a batch, whose values may be nested."""
    if isinstance(batch, dict):
        return {key: cut(value, part) for key, value in batch.items()}
    return batch[part]


def measure(bench: Any, rounds: int, variants: Mapping[str, Callable[[Any], Any]]) -> list[Row]:
    """Each variant once per round, after one step of each that does not count."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    memory: dict[str, float] = {}
    operations: dict[str, int] = {}
    compiling: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            with variant(bench):
                if number == 0 and name.startswith("compiled"):
                    compiling[name] = compile_seconds(bench)
                elif number == 0:
                    with flop_counter() as counter:
                        bench.step()
                    operations[name] = counter.get_total_flops()
                if number == 0:
                    continue
                if bench.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                seconds = bench.step()
                if bench.device.type == "cuda":
                    memory[name] = torch.cuda.max_memory_allocated() / 1e9
            times[name].append(seconds)
        print(f"round {number} of {rounds}", file=sys.stderr)
    plain = times["plain"]
    return [
        _row(
            name,
            times[name],
            plain,
            memory.get(name),
            operations[name] / operations["plain"] if name in operations else None,
            compiling[name] / statistics.median(plain) if name in compiling else None,
        )
        for name in variants
    ]


def compile_seconds(bench: Any) -> float:
    """Processor seconds of two steps that find nothing compiled; the second may compile more."""
    from torch._inductor import config
    from torch._inductor.utils import fresh_cache

    with fresh_cache(), config.patch(compile_threads=1):  # of which others would not be counted
        begun = processor_time()
        for _ in range(2):
            bench.step()
        return processor_time() - begun


def _row(
    name: str,
    seconds: list[float],
    plain: list[float],
    memory: float | None,
    arithmetic: float | None,
    compiling: float | None,
) -> Row:
    ratios = [own / other for own, other in zip(seconds, plain, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Row(name, statistics.median(seconds), middle, low, high, memory, arithmetic, compiling)


def describe(
    arguments: argparse.Namespace, networks: str, precision: str, device: str = "cpu"
) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        **describe_machine(device),
        "networks": networks,
        "picture": f"{arguments.height}x{arguments.width}",
        "batch": arguments.batch,
        "precision": precision,
        "rounds": arguments.rounds,
    }


def as_markdown(setting: dict[str, Any], rows: list[Row]) -> str:
    """The report: the setting, the table, the goal where it was measured."""
    ratio = next((row.ratio for row in rows if row.variant.startswith("Leffa")), None)
    at_goal = setting["picture"] == "1024x768" and setting["precision"] == "bf16"
    if at_goal and setting["networks"] == "SD1.5" and ratio is not None:
        verdict = f"{ratio:.2f}, {'met' if ratio <= GOAL else 'missed'}"
    else:
        verdict = "not measured here: it needs a GPU"
    title = "# A training step: what each choice costs or saves"
    goal = f"Goal, {GOAL} with the Leffa loss at 1024x768 in bf16: {verdict}."
    return f"{title}\n\n{table(setting, rows)}\n{goal}\n"


def table(setting: dict[str, Any], rows: list[Row]) -> str:
    """The setting, and a line for each variant."""
    header = ["step", "seconds", "ratio to plain", "quartiles"]
    header += ["arithmetic ratio", "time by it", "goal"]
    more = {
        "compiling, in plain steps": [row.compiling for row in rows],
        "memory (GB)": [row.memory_gb for row in rows],
    }
    more = {name: values for name, values in more.items() if any(values)}
    lines = [", ".join(f"{key}: {value}" for key, value in setting.items()), ""]
    lines += [line([*header, *more]), "|---" + "|---:" * (len(header) + len(more) - 1) + "|"]
    for number, row in enumerate(rows):
        cells = [row.variant, f"{row.seconds:.3f}", f"{row.ratio:.2f}"]
        cells += [f"{row.lowest:.2f} to {row.highest:.2f}"]
        cells += time_by_arithmetic(row.ratio, row.arithmetic)
        found = [values[number] for values in more.values()]
        lines.append(line(cells + ["" if value is None else f"{value:.1f}" for value in found]))
    return "\n".join(lines) + "\n"


def step_options(description: str | None) -> argparse.ArgumentParser:
    """What the programs that measure this step are told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--batch", type=int, default=2, help="pictures of a step; even")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="folder of the result; not given: printed alone")
    return parser


def describe_step(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the figures of a `Bench` depend on."""
    device = arguments.device
    networks = "SD1.5" if device == "cuda" else "SD1.5's structure at a fifth of its width"
    return describe(arguments, networks, "bf16" if arguments.bf16 else "float32", device)


def main() -> None:
    """Measure and print the table; with --out, write it as .json and .md too."""
    parser = step_options(__doc__)
    parser.add_argument("--skip", nargs="*", default=[], choices=list(VARIANTS), metavar="VARIANT")
    arguments = parser.parse_args()
    if arguments.batch % 2 or arguments.rounds < 2:
        parser.error("--batch must be even, --rounds at least 2")

    setting = describe_step(arguments)
    chosen = {
        name: v for name, v in VARIANTS.items() if name == "plain" or name not in arguments.skip
    }
    rows = measure(Bench(arguments), arguments.rounds, chosen)
    report = as_markdown(setting, rows)
    if arguments.out is None:
        return
    name = "train_step" if arguments.device == "cpu" else f"train_step_{arguments.device}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {"setting": setting, "rows": [asdict(row) for row in rows]}
    write_json(arguments.out / f"{name}.json", results)
    write_text(arguments.out / f"{name}.md", report)
    print(report)


if __name__ == "__main__":
    main()
