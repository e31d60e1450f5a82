"""Option types shared by several commands: their names in the help, and their choices."""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from tyro.conf import Positional, UseAppendAction, arg

from leffa.performance import Flag as Flag

T = TypeVar("T")
# Help says "default: None" of what has no such hint.
Unset = Annotated[T | None, arg(help_behavior_hint="")]
Repeated = Annotated[tuple[T, ...], UseAppendAction, arg(help_behavior_hint="(repeatable)")]

Root = Annotated[Path, Positional, arg(metavar="ROOT")]
Folder = Annotated[Path, arg(metavar="DIR")]
File = Annotated[Path, arg(metavar="FILE")]
Place = Annotated[Path, arg(metavar="PATH")]
Name = Annotated[str, arg(metavar="NAME")]
OptionalFolder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
OptionalFile = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
OptionalPlace = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
OptionalName = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]
Device = Annotated[str, arg(metavar="auto|cpu|cuda|mps")]

Encoding = Literal["colour", "iuv", "vui", "ivu", "labels", "labels_uv", "skeleton", "none"]
Preset = Literal["virtual_tryon", "virtual_tryon_dc", "pose_transfer"]
Scheduler = Literal["ddpm", "ddim", "dpm_solver", "unipc", "euler"]


def usable_cores() -> int:
    """Those that this process may use: under Slurm or taskset not all of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
