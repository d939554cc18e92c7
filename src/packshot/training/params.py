"""The section `train` of params.yaml: read by every command, so without torch."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from packshot.models import AnyModel
from packshot.models.config import Preset, PresetName
from packshot.records import Name, Record


class WeightsFile(Record):
    """Weights that no registry knows."""

    weights: str = Field(min_length=1)
    """A file of packshot's weights; a path that does not begin with a slash is meant below the project. What only training needs
    is looked for beside it, as `packshot train` leaves it."""


def _kind_of_start(value: Any) -> str:
    if isinstance(value, dict | WeightsFile):
        return "file"
    number = isinstance(value, int) and not isinstance(value, bool)
    return "version" if number else "champion" if value == "champion" else "none such"


InitFrom = Annotated[
    Annotated[Literal["champion"], Tag("champion")]
    | Annotated[int, Field(ge=1), Tag("version")]
    | Annotated[WeightsFile, Tag("file")],
    Discriminator(
        _kind_of_start,
        custom_error_type="no_such_start",
        custom_error_message="write champion, the number of a registered version, or {weights: PATH}",
    ),
]


class Run(Record):
    """One model to train."""

    name: Name
    """What its weights, curves and sheets are called by."""
    model: AnyModel
    """The family, and its settings."""
    preset: PresetName | None = None
    """The family's own settings for a kind of machine, where this run writes none: of `model`, and the two below."""
    steps: int | None = Field(None, ge=1, le=100_000_000)
    """In place of train.steps."""
    batch_size: int | None = Field(None, ge=2, le=65_536)
    """In place of train.batch_size."""
    length: float = Field(1.0, gt=0, le=1000)
    """Times the steps."""
    init_from: InitFrom | None = None
    """The weights that it starts from, in place of chance. A version's number says which for ever. Who is `champion` is found out
    when the run begins, noted in the report, and kept to where a killed run goes on: DVC, which sees the word alone, does not
    repeat a run because another model became champion since (`dvc repro -f train` does)."""
    freeze: tuple[str, ...] = ()
    """Patterns (* and ?) of the names of parameters that stay as they start."""
    freeze_critic: int = Field(0, ge=0, le=16)
    """How many layers of the critic stay as they start, from the picture on (FreezeD: Mo et al. 2020)."""

    @model_validator(mode="after")
    def _freeze_what_is_known(self) -> Self:
        if (self.freeze or self.freeze_critic) and self.init_from is None:
            raise ValueError("what is frozen stays as it starts: freeze and freeze_critic go with init_from")
        return self


def _apart(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs have one name: {', '.join(twice)}")
    return runs


def _fill_in(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The runs with their presets' settings where they write none of their own."""
    return tuple(run if run.preset is None else _apply(run, preset_of(run)) for run in runs)


def preset_of(run: Run) -> Preset:
    """The preset that a run names. Raises ValueError where its family has none of that name."""
    presets = run.model.presets()
    if run.preset is None or run.preset not in presets:
        known = ", ".join(presets) or "none"
        raise ValueError(f"run '{run.name}': its family has no preset {run.preset}; there are {known}")
    return presets[run.preset]


def _apply(run: Run, preset: Preset) -> Run:
    model = type(run.model).model_validate_json(json.dumps(_lay_over(_written(preset.model), _written(run.model))))
    steps = preset.steps if "steps" not in run.model_fields_set else run.steps
    batch_size = preset.batch_size if "batch_size" not in run.model_fields_set else run.batch_size
    return run.model_copy(update={"model": model, "steps": steps, "batch_size": batch_size})


def _written(settings: Record) -> dict[str, Any]:
    """What was written of nested settings, as JSON has it, and everywhere of which kind they are."""
    told = settings.model_dump(mode="json")
    fields = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {
        name: _written(value) if isinstance(value, Record) else told[name]
        for name, value in fields.items()
        if name in settings.model_fields_set or name == "kind"
    }


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested settings, `above` first; of another kind of a thing nothing is taken from `below`."""
    if above.get("kind", below.get("kind")) != below.get("kind"):
        return above
    both = {name for name in above if isinstance(above[name], dict) and isinstance(below.get(name), dict)}
    return {**below, **above, **{name: _lay_over(below[name], above[name]) for name in both}}


class DevParams(Record):
    """`train.dev`: how good a model in training is, measured on the photos of the split `val`, from which it does not learn.

    The curves have it as `dev/<metric>`. With `patience`, a run stops once it gets no better, and the best weights are kept
    beside the last ones. Each look draws `samples` pictures and shows them to the classifier that `evaluate` trains too.
    """

    metric: str = "kid"
    """Of those that evaluate measures."""
    every: float = Field(0.05, gt=0, le=1)
    """Share of a run's steps between two looks; there are none before its samples mean something."""
    samples: int = Field(1000, ge=50, le=100_000)
    """Pictures that a look draws; of a metric of photos drawn again, all photos of the split are."""
    patience: int | None = Field(None, ge=1, le=1000)
    """Looks without a gain beyond the measure's own noise after which a run stops; none: it never does."""
    minimum: float = Field(0.5, ge=0, le=1)
    """Share of a run's steps before which it never stops."""


class WatchParams(Record):
    """`train.watch`: when a training is stopped for its own good, and what is tried then."""

    every: int = Field(250, ge=1)
    """Steps between two looks at what the model draws."""
    retries: int = Field(2, ge=0, le=10)
    """How often a training in trouble goes back to a good state, before it is given up."""
    slow_down: float = Field(0.5, gt=0, lt=1)
    """Times every learning rate, each time."""
    min_diversity: float = Field(0.1, ge=0, lt=1)
    """How much the pictures of a category differ at least: the deviation of their thumbnails over that of its photos.
    Healthy runs show 0.45 and more; 0 stops no training for it."""
    min_active_units: float = Field(0.02, ge=0, lt=1)
    """The share of a VAE's latent numbers that tell of a photo at least, once half of its phase is through; 0 stops none."""


class TrainParams(Record):
    """`train:` in params.yaml."""

    steps: int = Field(ge=1, le=100_000_000)
    """Of a run of length 1: the one number that shortens or lengthens every run."""
    batch_size: int = Field(64, ge=2, le=65_536)
    """Photos of a step, of all processes and parts together."""
    flips: bool = True
    """Whether a photo is shown mirrored half of the time."""
    threads: int = Field(2, ge=1, le=1024)
    """Of a process, on a CPU: another number rounds otherwise, and is another training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is a GPU where torch can use one; `cuda` is refused where it cannot."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the networks' products; weights, averages and losses are float32 always. `auto` times the run's own turns in both."""
    compile: bool = False
    """Whether torch.compile translates the networks, on a GPU into CUDA graphs: minutes before the first step."""
    processes: int = Field(1, ge=1, le=1024)
    """That train one model together, each with its part of every batch; on GPUs one each."""
    accumulate: int = Field(1, ge=1, le=65_536)
    """Parts of a batch that are taken one after the other, where one is too large for the memory."""
    checkpoints: int = Field(1, ge=1, le=1000)
    """How many of each run are kept, evenly spread over the part in which its samples mean something; the last step's always."""
    report_every: int = Field(50, ge=1)
    """Steps between two rows of the curves: the means of all steps since the row before."""
    picture_every: int = Field(500, ge=1)
    """Steps between two sheets of samples."""
    save_every: int = Field(500, ge=1)
    """Steps between two states: those that a killed run loses at most, and to which a training in trouble goes back."""
    stall_minutes: float = Field(30.0, ge=0)
    """A step that takes longer ends the process, to be run again; 0 lets a step take any time."""
    watch: WatchParams = WatchParams()
    """When a training is stopped for its own good."""
    dev: DevParams | None = None
    """Nothing is measured while a run trains where there is none."""
    runs: Annotated[tuple[Run, ...], Field(min_length=1), AfterValidator(_apart), AfterValidator(_fill_in)]
    """The models to train, one after the other."""

    def steps_of(self, run: Run) -> int:
        return max(1, round((run.steps or self.steps) * run.length))

    def batch_size_of(self, run: Run) -> int:
        return run.batch_size or self.batch_size
