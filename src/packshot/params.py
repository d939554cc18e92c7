"""params.yaml, read once and typed. Each section is declared beside the code that it governs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, Tag, ValidationError, model_validator

from packshot.errors import ParamsError
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.policy import GateParams
from packshot.evaluation.protocol import EvaluateParams
from packshot.evaluation.review import ReleaseParams
from packshot.images.split import PrepareParams
from packshot.records import Record
from packshot.sources import IngestParams
from packshot.sources.rules import ValidateParams
from packshot.training.params import DevParams, TrainParams, preset_of
from packshot.training.search import SearchParams, Setting


class Params(Record):
    """All of params.yaml: one section a stage, one for the release, and one for a search of settings where there is one."""

    seed: int = Field(ge=0, lt=2**31)
    ingest: IngestParams
    validate_: ValidateParams = Field(alias="validate")
    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
    gate: GateParams
    release: ReleaseParams
    search: SearchParams | None = None

    @model_validator(mode="after")
    def _search_what_is_there(self) -> Self:
        if self.search is None:
            return self
        if self.search.run not in (runs := [run.name for run in self.train.runs]):
            raise ValueError(f"search.run: no run is called '{self.search.run}'; there are {', '.join(runs)}")
        if self.search.metric not in METRICS:
            raise ValueError(f"search.metric: no such metric as {self.search.metric}; there are {', '.join(METRICS)}")
        return self

    @model_validator(mode="after")
    def _expect_of_columns(self) -> Self:
        self.validate_.require_columns(self.ingest.attributes)
        return self

    @model_validator(mode="after")
    def _keep_enough_pixels(self) -> Self:
        side, size = self.ingest.side, self.prepare.image.size
        if side < size:
            raise ValueError(f"ingest.side is {side}, less than prepare.image.size, {size}: photos would be enlarged")
        return self

    @model_validator(mode="after")
    def _train_with_presets_for_the_pictures(self) -> Self:
        size = self.prepare.image.size
        for number, run in enumerate(self.train.runs):
            if run.preset and size not in (sizes := preset_of(run).sizes):
                meant = " or ".join(map(str, sizes))
                raise ValueError(
                    f"train.runs.{number}.preset: {run.preset} is for pictures of {meant} px, prepare.image.size is {size}"
                )
        return self

    @model_validator(mode="after")
    def _measure_in_training_what_can_be(self) -> Self:
        if (dev := self.train.dev) and dev.metric not in METRICS:
            raise ValueError(f"train.dev.metric: no metric is called {dev.metric}; there are {', '.join(METRICS)}")
        return self


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML as people mean it: 2e-3 is a number, and the same key twice is a mistake."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node))
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key '{key}' stands here twice", problem_mark=key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def load_params(path: Path) -> Params:
    """Read `path`; ParamsError says in plain words which field is wrong and what it may be."""
    return _validate(_read(path), path.name)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise ParamsError("no such file", where=str(path), advice="run packshot inside a project, or name another file") from None
    except UnicodeDecodeError:
        raise ParamsError("not UTF-8", where=str(path), advice="save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f"{path.name}, line {error.problem_mark.line + 1}" if error.problem_mark else path.name
        raise ParamsError(f"not YAML: {error.problem}", where=line, advice="mend that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise ParamsError(f"not YAML: {reason}", where=path.name, advice="mend that") from None
    if not isinstance(content, dict):
        raise ParamsError("holds no sections", where=path.name, advice=f"it needs {', '.join(_fields(Params))}")
    return content


def load_policy(path: Path) -> GateParams:
    """Read a gate's policy from `path`: a whole params.yaml, or its section `gate` alone, with or without its name above it.

    ParamsError says in plain words which field is wrong.
    """
    content = _read(path)
    section = content.get("gate", content)
    try:
        return GateParams.model_validate_json(json.dumps(section, default=str))
    except ValidationError as error:
        faults = [_tell(("gate", *fault["loc"]), fault["type"], fault["msg"], fault.get("ctx", {})) for fault in error.errors()]
        raise ParamsError(f"{path.name}: " + "\n  ".join(faults)) from None


def set_trial(params: Params, settings: Mapping[str, Setting]) -> Params:
    """The params of one trial of the search: its run alone, with these settings by their dotted names, measured as it goes.

    Raises ParamsError where the run has no such setting, or it cannot have that value.
    """
    search = params.search
    if search is None:
        raise ParamsError("nothing is to be searched", where="params.yaml", advice="write a section 'search'")
    run = next(run for run in params.train.runs if run.name == search.run)
    content = json.loads(run.model_dump_json())
    for dotted, value in settings.items():
        *above, last = dotted.split(".")
        place = content
        for word in above:
            place = place.get(word) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place or dotted in {"name", "model.family"}:
            raise ParamsError(f"search.parameters.{dotted}: the run '{search.run}' has no such setting to search")
        place[last] = value
    content["length"] *= search.share
    samples = params.train.dev.samples if params.train.dev else DevParams().samples
    dev = {"metric": search.metric, "every": 1 / search.looks, "samples": samples}
    whole = json.loads(params.model_dump_json(by_alias=True))
    rare = {"checkpoints": 1, "picture_every": 100_000_000}
    whole["train"] |= {"runs": [content], "dev": dev, **rare}
    return _validate({**whole, "search": None}, "search.parameters")


def describe_best(settings: Mapping[str, Setting]) -> str:
    """Searched settings as YAML, to be written into a run of params.yaml."""
    nested: dict[str, Any] = {}
    for dotted, value in settings.items():
        *above, last = dotted.split(".")
        place = nested
        for word in above:
            place = place.setdefault(word, {})
        place[last] = value
    return str(yaml.safe_dump(nested, sort_keys=False, allow_unicode=True))


def _validate(content: Mapping[str, object], name: str) -> Params:
    try:
        return Params.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        found = error.errors()
        # pydantic counts only what is right of a list: one that holds a mistake is not too short as well.
        within = {fault["loc"][:length] for fault in found for length in range(len(fault["loc"]))}
        found = [fault for fault in found if fault["type"] != "too_short" or fault["loc"] not in within]
        faults = [_tell(tuple(fault["loc"]), fault["type"], fault["msg"], fault.get("ctx", {})) for fault in found]
        raise ParamsError(f"{name}: " + "\n  ".join(faults)) from None


def _tell(place: tuple[int | str, ...], kind: str, message: str, context: Mapping[str, object]) -> str:
    """One line for one fault: `train.steps: no such field; there are ...`."""
    if kind == "extra_forbidden":
        owner = _owner(Params, place[:-1])
        known = f"; there are {', '.join(_fields(owner))}" if owner else ""
        return f"{_dotted(place)}: no such field{known}"
    if kind == "union_tag_invalid":
        known, tag = str(context["expected_tags"]).replace("'", ""), str(context["discriminator"]).strip("'")
        return f"{_dotted(place)}.{tag}: no such one as {context['tag']}; there are {known}"
    if kind == "missing":
        return f"{_dotted(place)}: is missing"
    if kind == "union_tag_not_found":
        tag = str(context["discriminator"]).strip("'")
        return f"{_dotted((*place, tag))}: is missing"
    words = message.removeprefix("Value error, ")
    return f"{_dotted(place)}: {words}" if place else words  # what concerns several sections names them itself


def _dotted(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place)) or "the file"


def _fields(owner: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in owner.model_fields.items()]


def _owner(kind: Any, place: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The record that stands at `place` below the type `kind`: what pydantic's location names."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, type(int | str)}:
        members = [member for member in get_args(kind) if member is not type(None)]
        tagged = [member for member in members if place and place[0] in _tags(member)]
        if tagged:
            return _owner(tagged[0], place[1:])
        return next((found for member in members if (found := _owner(member, place))), None)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not place:
            return kind
        for name, field in kind.model_fields.items():
            if place[0] in {name, field.alias}:
                return _owner(field.annotation, place[1:])
        return None
    if place and isinstance(place[0], int) and get_args(kind):
        return _owner(get_args(kind)[0], place[1:])
    if place and get_origin(kind) is dict:
        return _owner(get_args(kind)[1], place[1:])
    return None


def _tags(member: Any) -> set[object]:
    """The words by which a discriminated union picks `member`."""
    if get_origin(member) is Annotated:
        return {mark.tag for mark in get_args(member)[1:] if isinstance(mark, Tag)}
    if not (isinstance(member, type) and issubclass(member, BaseModel)):
        return set()
    return {value for field in member.model_fields.values() for value in get_args(field.annotation) if isinstance(value, str)}
