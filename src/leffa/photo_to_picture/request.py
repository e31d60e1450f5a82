"""A request for images from photos, and the weights to use."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from leffa.cli_errors import quoted
from leffa.convert import describe_published, load_published
from leffa.data.batch import Record
from leffa.inference.loaded import OFFICIAL_SUFFIXES, LoadedModel, load_model
from leffa.models.export import OFFICIAL, InputSpec, ModelSettings
from leffa.models.interface import Input
from leffa.models.sampler import SamplerSettings
from leffa.models.schedulers import known_samplers
from leffa.performance import Performance
from leffa.predict.pairs import pairs_of_files, pairs_of_table
from leffa.released.bring import store
from leffa.released.catalogue import Released, read_catalogue

_RELEASED_READ: frozenset[Input] = frozenset({"mask", "densepose"})
_TASKS = {"tryon": "try-on", "pose": "pose transfer"}
# Upper garments are VITON-HD's; lower ones and dresses only DressCode has.
_OF_TASK = {"tryon": ("leffa_tryon", "leffa_tryon_dc"), "pose": ("leffa_pose",)}


@dataclass(frozen=True)
class PhotoRequest:
    """Which images to generate, and how: what `leffa tryon` and `leffa pose` are told.

    Args:
        task: "tryon", or "pose": the reference's person as the person stands.
        person, reference: files or folders; None with `table`, see `data.folder.FolderPairs`.
        weights: a name of `leffa weights list`, or a path that `load_model` takes; None: released
            Leffa's, of DressCode for lower garments and dresses, which the other has never seen.
        steps: None: the sampler's own number.
        mask: None: it is made.
    """

    task: Literal["tryon", "pose"]
    out: Path
    person: Path | None = None
    reference: Path | None = None
    table: Path | None = None
    category: str = "upper_body"
    weights: str | None = None
    steps: int | None = None
    seed: int = 42
    mask: Path | None = None
    worn: bool = False
    paste_back: bool = False
    keep_maps: bool = True
    device: str = "auto"
    performance: Performance = field(default_factory=Performance)

    def pairs(self) -> Sequence[Record]:
        """The pairs; raises ValueError or FileNotFoundError where they are not to be found."""
        given = [path for path in (self.person, self.reference, self.mask) if path is not None]
        if self.table is not None:
            if given:
                raise ValueError(f"{given[0]}: and --table exclude each other")
            return pairs_of_table(self.table, None, self.category)
        if self.person is None or self.reference is None:
            other = "GARMENT" if self.task == "tryon" else "REFERENCE"
            raise ValueError(f"which images? give PERSON and {other}, or --table")
        return pairs_of_files(self.person, self.reference, {"mask": self.mask}, self.category)

    def weights_for(self, record: Record) -> str:
        """Their name, or their path."""
        if self.weights is not None:
            return self.weights
        return _OF_TASK[self.task][0 if record.category == "upper_body" else -1]

    def sampler(self, weights: "Weights") -> SamplerSettings:
        """As released, for released weights; else as the weights say.

        Raises:
            ValueError: fewer than one step, or more than there are timesteps.
        """
        changes = {"steps": self.steps, "seed": self.seed, "paste_back": self.paste_back}
        given = {name: value for name, value in changes.items() if value is not None}
        sampler = weights.settings.sampler.with_changes(**given)
        if sampler.steps > weights.timesteps:
            raise ValueError(f"--steps {sampler.steps}: give {weights.timesteps} at most")
        return sampler


@dataclass
class Weights:
    """Weights that may not be here yet.

    Args:
        settings: what they read, and how they are sampled.
        reads: the inputs that the network uses.
        entry: of the catalogue; None for a path.
        path: None for an entry.
        preset: which released model they are, if they are one.
    """

    settings: ModelSettings
    reads: frozenset[Input]
    entry: Released | None = None
    path: Path | None = None
    preset: str | None = None
    loaded: LoadedModel | None = field(default=None, repr=False)

    @classmethod
    def of(cls, loaded: LoadedModel, path: Path) -> "Weights":
        return cls(loaded.settings, loaded.model.inputs, path=path, loaded=loaded)

    @classmethod
    def released(cls, preset: str, entry: Released | None, path: Path | None) -> "Weights":
        """Those of a released file, sampled as its authors do."""
        settings = replace(OFFICIAL[preset], sampler=SamplerSettings.official())
        return cls(settings, _RELEASED_READ, entry, path, preset)

    @classmethod
    def published(cls, entry: Released, experiment: str) -> "Weights":
        """Those of a model that an experiment builds of its published parts."""
        _check_packages(experiment)
        return cls(*describe_published(experiment), entry)

    @property
    def inputs(self) -> InputSpec:
        return self.settings.inputs

    @property
    def kind(self) -> str:
        """The model's name, in a word."""
        return type(self.loaded.model).__name__.removesuffix("Model") if self.loaded else "Leffa"

    @property
    def timesteps(self) -> int:
        """Of its noise schedule: no sampler has more steps."""
        config = self.loaded.model.scheduler_config if self.loaded else {}
        return int(str(config.get("num_train_timesteps", 1000)))

    @property
    def samplers(self) -> tuple[str, ...]:
        """Those that sample what they were trained by."""
        return known_samplers(self.loaded.model.scheduler_config if self.loaded else {})

    @property
    def file(self) -> Path:
        """Raises ValueError where the entry has not been fetched."""
        if self.entry is not None and self.entry.experiment is not None:
            place = _published_place(self.entry)
            files = [file for file in place.rglob("*") if file.is_file()] or [place]
            return max(files, key=lambda file: file.stat().st_size)
        return self.path or _parts(self.entry)[0]

    def performance(self, wanted: Performance, device: str) -> Performance:
        """As asked for; by default a published model has float16 weights on CUDA, as in demos."""
        half = bool(self.preset or self.entry) and device.startswith("cuda")
        return replace(wanted, precision=wanted.precision or ("16-true" if half else "32-true"))

    def load(self) -> LoadedModel:
        """The model; read once."""
        if self.loaded is None and self.entry and self.entry.experiment:
            self.loaded = load_published(
                _published_place(self.entry), self.entry.experiment, _bases(self.entry)
            )
        if self.loaded is None:
            base = _parts(self.entry)[1] if self.entry else _base_beside(self.file, self.preset)
            self.loaded = load_model(self.file, base=str(base) if base else None)
        return self.loaded


def released_of(task: str) -> list[Weights]:
    """Released Leffa's for a task: of try-on those for upper garments, then those for others."""
    return [find_weights(name, task) for name in _OF_TASK[task]]


def find_weights(name: str, task: str) -> Weights:
    """The weights of a name or a path; a checkpoint is loaded, since only it knows its inputs.

    Raises:
        FileNotFoundError, ValueError: there are none, they are for another task, or need another
            command first.
    """
    entry = read_catalogue().get(name)
    if entry is not None and entry.preset is not None:
        weights = Weights.released(entry.preset, entry, None)
    elif entry is not None and entry.experiment is not None and entry.by_hand is None:
        weights = Weights.published(entry, entry.experiment)
    elif entry is not None:
        raise ValueError(_other_way(entry))
    elif not (path := Path(name)).exists():
        raise FileNotFoundError(f"{name}: no such file, nor a name of `leffa weights list`")
    elif path.suffix in OFFICIAL_SUFFIXES:
        if path.stem not in OFFICIAL:
            raise ValueError(
                f"{name}: its name does not say what it was trained for; `leffa convert --weights "
                "FILE --base DIR --as NAME --out DIR` makes a folder that does"
            )
        weights = Weights.released(path.stem, None, path)
    else:
        weights = Weights.of(load_model(path), path)
    if weights.inputs.task != task:
        command = "tryon" if task == "pose" else "pose"
        raise ValueError(f"{name}: is for {_TASKS[weights.inputs.task]}: `leffa {command}`")
    return weights


def _other_way(entry: Released) -> str:
    if entry.experiment is None:
        return f"{entry.name}: makes no images; choose weights for try-on or pose transfer"
    return (
        f"{entry.name}: get it by hand: {entry.by_hand}; then `leffa convert --weights PUBLISHED "
        f"--experiment {entry.experiment} --out FILE.ckpt`, and give --weights FILE.ckpt"
    )


def _check_packages(experiment: str) -> None:
    """Raise ValueError where the model of an experiment needs a package that is not there."""
    if experiment.startswith("idm_vton") and find_spec("transformers") is None:
        raise ValueError("IDM-VTON needs the package transformers: pip install -e '.[idm_vton]'")


def _published_place(entry: Released) -> Path:
    """The file or folder with the weights of a model that an experiment builds."""
    repository, patterns = next(iter(entry.parts.items()))
    folder = store(entry).where(entry)[repository]
    return folder / patterns[0] if len(patterns) == 1 else folder


def _bases(entry: Released) -> list[str]:
    """The overrides that name the other parts of such a model."""
    folders = store(entry).where(entry)
    return [f"{key}={quoted(folders[repository])}" for key, repository in entry.bases.items()]


def _parts(entry: Released | None) -> tuple[Path, Path]:
    """The file of weights, and the folder of its base."""
    assert entry is not None
    (repository,) = entry.parts
    folder = store(entry).where(entry)[repository]
    name, base = _named_parts(entry)
    return folder / name, folder / base


def _named_parts(entry: Released) -> tuple[str, str]:
    ((weights, configs),) = entry.parts.values()
    return weights, configs.partition("/")[0]


def _base_beside(file: Path, preset: str | None) -> Path | None:
    """The folder of configs in the folder of a released file, as in its repository."""
    for entry in read_catalogue().values():
        if preset is not None and entry.preset == preset:
            return file.parent / _named_parts(entry)[1]
    return None
