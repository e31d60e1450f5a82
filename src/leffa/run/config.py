"""Hydra: composes a configuration from files and overrides, and builds parts from it."""

import hashlib
import json
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from leffa.cli_errors import check_overrides, dotted
from leffa.conf_folder import CONF
from leffa.training.run_metadata import differences

VERSION_BASE = "1.3"
NO_EXPERIMENT = "~experiment"
NAME_BYTES = 200  # of a sweep job's folder; a file system takes 255, and others may add to it
# Of an evaluation: what its images and their scores depend on, beside the checkpoint.
PICTURE_KEYS = (
    *("dataset", "protocol", "sampler", "limit", "precision", "weights"),
    *("inspect_layers", "inspect_temperature", "inspect_timesteps"),
    "without_densepose",
)
PATH_KEYS = (
    *("ckpt", "start_from", "resume", "latent_cache"),
    *("features_dir", "data.root", "dataset.root", "paths.output_dir", "paths.data_dir"),
)
CONFIG_ERRORS = (HydraException, OmegaConfBaseException)


def is_user_error(error: BaseException) -> bool:
    """Whether what the user gave is at fault; Lightning's error by its name, as its import takes
    seconds."""
    lightning = type(error).__name__ == "MisconfigurationException"
    return lightning or isinstance(error, (ValueError, OSError, *CONFIG_ERRORS))


def job_folder(overrides: str, sweep: str) -> str:
    """A job's overrides as the name of its folder, such as `leffa_loss.temperature-0.5`.

    It needs no quotes. One with other characters, or a long one, ends in a hash.

    Args:
        overrides: Hydra's `override_dirname`.
        sweep: the folder of the sweep; an earlier version's folder in it, with "=", stays.
    """
    earlier = overrides.replace("/", "_")
    if len(earlier.encode()) <= NAME_BYTES and Path(sweep, earlier).is_dir():
        return earlier
    spelt = overrides.replace("=", "-").replace(",", "__")
    name = plain_name(spelt)
    if name == spelt and len(name) <= NAME_BYTES:
        return name
    return f"{name[: NAME_BYTES - 13]}_{_digest(overrides)[:12]}"


def plain_name(text: str) -> str:
    """A text as a file's name of letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(name: str, enabled: bool, attention_loss: str) -> str:
    """The name of a run in folders, loggers and tables."""
    if not enabled:
        return f"{name}_leffa_loss_off"
    return name if attention_loss == "leffa" else f"{name}_{attention_loss}"


def evaluation_folder(*, _root_: DictConfig) -> str:
    """The checkpoint's name, and a hash of all that decides the images and their scores."""
    place = OmegaConf.select(_root_, "ckpt", throw_on_missing=False) or "none"
    settings = OmegaConf.to_container(OmegaConf.masked_copy(_root_, list(PICTURE_KEYS)))
    text = json.dumps([place, _written(Path(place)), settings], sort_keys=True, default=str)
    name = plain_name(Path(place).as_posix().strip("./")[-NAME_BYTES // 2 :])
    return f"{name}_{_digest(text)[:8]}"


def _written(ckpt: Path) -> float:
    """When a checkpoint, a run's newest, or an exported folder was written; 0 for none."""
    from leffa.models.export import SETTINGS  # torch, which a configuration alone needs not

    files = [ckpt] if ckpt.is_file() else [*ckpt.glob("**/last.ckpt"), *ckpt.glob(SETTINGS)]
    return max((file.stat().st_mtime for file in files), default=0.0)


for _resolver in (job_folder, run_name, evaluation_folder):
    OmegaConf.register_new_resolver(_resolver.__name__, _resolver, replace=True)


def compose(name: str, overrides: list[str]) -> DictConfig:
    """A configuration as the command line would make it; for tests, notebooks and `leffa demo`."""
    with hydra.initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        return hydra.compose(name, overrides)


def check(name: str, overrides: list[str]) -> dict[str, Any] | None:
    """The configuration as plain values, None where an argument is an option of Hydra's; ends the
    program, with one line, where an override is wrong."""
    return check_overrides(overrides, partial(composed, name), CONFIG_ERRORS, CONF)


def checked(name: str, overrides: list[str]) -> DictConfig:
    """The configuration of overrides that are no options; ends the program as `check` does."""
    return OmegaConf.create(check(name, overrides) or composed(name, overrides))


def settings(name: str, overrides: list[str], *groups: str) -> dict[str, Any]:
    """Some groups of a configuration as plain values, whatever the others lack; see `check`."""
    cfg = checked(name, overrides)
    return {group: OmegaConf.to_container(cfg[group], resolve=True) for group in groups}


def choices(name: str, overrides: list[str]) -> dict[str, str]:
    """Which file of each config group the overrides choose."""
    with hydra.initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        cfg = hydra.compose(name, overrides, return_hydra_config=True)
    return {str(group): str(chosen) for group, chosen in cfg.hydra.runtime.choices.items()}


def composed(name: str, overrides: list[str]) -> dict[str, Any]:
    """The configuration as plain values, interpolations unresolved."""
    _check_quotes(overrides)
    return _container(compose(name, overrides))


def _container(cfg: DictConfig, resolve: bool = False) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=resolve)  # type: ignore[return-value]


def _check_quotes(overrides: list[str]) -> None:
    """Name the override that Hydra cannot read, or does not read as a path, and how to quote it."""
    parser = OverridesParser.create()
    for override in overrides:
        key, _, value = override.partition("=")
        try:
            parsed = parser.parse_override(override)
            if parsed.is_sweep_override():
                reason = "one value is expected here (several are a sweep, which needs -m)"
            elif key in PATH_KEYS and not isinstance(parsed.value(), str | None):
                reason = "Hydra does not read this as a path"
            else:
                continue
        except HydraException as error:
            reason = f"Hydra cannot read this ({str(error).splitlines()[0]})"
        value = value.replace("'", r"\'")
        if value.startswith("~/"):
            value = Path(value).expanduser().as_posix()
        raise HydraException(
            f"{override}: {reason}; a path or a text with such characters needs quotes, for the "
            f"shell and for Hydra: \"{key}='{value}'\""
        )


def job_overrides() -> list[str] | None:
    """The overrides of this job; None where Hydra does not run it."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else None


def in_sweep() -> bool:
    """Whether this is a job of a sweep, whose folder Hydra chooses."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def folder_has_time(cfg: DictConfig) -> bool:
    """Whether the output folder's name has the time in it, so that each start has another."""
    return not in_sweep() and "${now:" in str(_container(cfg.paths)["output_dir"])


def changes(cfg: DictConfig) -> dict[str, tuple[Any, Any]]:
    """Changes by the command line: key -> (value of the experiment, value here)."""
    if not HydraConfig.initialized():
        return {}
    hydra_cfg = HydraConfig.get()
    experiment = hydra_cfg.runtime.choices.get("experiment")
    chosen = [f"experiment={experiment}"] if experiment else []
    base = hydra.compose(hydra_cfg.job.config_name, chosen)
    return differences(dotted(_container(base)), dotted(_container(cfg)))


def kept_by_experiment(cfg: DictConfig) -> list[str]:
    """Values of the experiment that are kept in the groups that the command line chose."""
    if not HydraConfig.initialized():
        return []
    hydra_cfg = HydraConfig.get()
    given = dict(text.lstrip("+~").partition("=")[::2] for text in hydra_cfg.overrides.task)
    experiment = hydra_cfg.runtime.choices.get("experiment")
    chosen = {key: each for key, each in given.items() if key in hydra_cfg.runtime.choices}
    bare = hydra.compose(
        hydra_cfg.job.config_name,
        [*(f"{key}={each}" for key, each in chosen.items() if key != "experiment"), NO_EXPERIMENT],
    )
    lines = []
    for group in chosen.keys() - {"leffa_loss"}:  # whose choices are a switch alone
        if group not in cfg:
            continue
        parts = (dotted(_container(each[group]), group) for each in (bare, cfg))
        kept = [
            f"{key}={here}"
            for key, (_, here) in differences(*parts).items()
            if not any(f"{key}.".startswith(f"{one}.") for one in given.keys() - chosen.keys())
        ]
        if kept:
            lines.append(
                f"{group}={given[group]}: experiment={experiment} keeps {', '.join(kept)}; "
                "name a key to change it"
            )
    return lines


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain values; in a sweep, with the job's own output folder."""
    if in_sweep():
        cfg = cfg.copy()
        OmegaConf.update(cfg, "paths.output_dir", HydraConfig.get().runtime.output_dir)
    written = dotted(_container(cfg))
    if missing := [key for key, value in written.items() if value == "???"]:
        raise ValueError(f"{missing[0]} must be given: add {missing[0]}=... to the command line")
    for key, value in written.items():
        group, _, name = key.rpartition(".")
        if group == "trainer" or name not in _switches():  # Lightning checks its own
            continue
        # `no` is a text to Hydra, and would be true.
        if type(value) in (int, str) and "${" not in str(value):
            raise ValueError(f"{key}={value}: give true or false")
    try:
        return _container(cfg, resolve=True)
    except InterpolationKeyError as error:
        raise ValueError(_unmet(error)) from None


@cache
def _switches() -> frozenset[str]:
    """The names of the keys that are true or false in the files of conf."""
    texts = [path.read_text(encoding="utf-8") for path in CONF.rglob("*.yaml")]
    return frozenset(
        name for text in texts for name in re.findall(r"^ *(\w+): (?:true|false)\b", text, re.M)
    )


def _unmet(error: InterpolationKeyError) -> str:
    """The key that one choice needs and another lacks, and the choices that have it."""
    wanted = str(error).split("'")[1]
    group, _, inner = wanted.partition(".")
    having = [
        f"{group}={path.stem}"
        for path in sorted((CONF / group).glob("*.yaml"))
        # As written: alone, a file knows nothing of what its interpolations name.
        if dotted(OmegaConf.to_container(OmegaConf.load(path))).get(inner) is not None
    ]
    remedy = f"; give one of: {', '.join(having)}" if having else ""
    return f"{error.full_key} needs {wanted}, which the chosen {group} does not have{remedy}"


def build(part: dict[str, Any], **extra: Any) -> Any:
    """Instantiate one part; raises the error inside it, not Hydra's around it."""
    try:
        return instantiate(part, _convert_="all", **extra)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, TypeError):  # a value of the wrong type, one missing, or one too many
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
            remedy = f"; ~GROUP.{unknown[1]} removes what an experiment sets" if unknown else ""
            raise ValueError(f"{part['_target_']}: {cause}{remedy}") from error
        raise (cause if cause is not None and is_user_error(cause) else error) from None
