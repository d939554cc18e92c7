"""Trainings that go wrong, each in a way of its own, and trainings that only look odd."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from packshot.images.shards import Split
from packshot.models import AnyModel
from packshot.models.base import Batch, ImageModel, Loss, Phase
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.loop import build, train
from packshot.training.params import Run, TrainParams
from packshot.training.state import TrainState
from packshot.training.watch import Reason, Trouble
from tests.children import forkserver
from tests.models.families import CATEGORIES, IMAGE, SMALL, toy_split
from tests.training.runs import CPU, Heard, desk

Break = Callable[[ImageModel], None]


class Nobody:
    """A Keeper that keeps nothing: with it the first trouble is the last."""

    def restore(self, state: TrainState) -> bool:
        return False

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        return False

    def save(self, state: TrainState) -> None: ...

    def pause(self, state: TrainState) -> None: ...

    def keep(self, state: TrainState) -> None: ...

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        self.trouble = trouble


@dataclass(frozen=True)
class Member:
    """One training: a small member of a family, what is broken of it, and why it is to be stopped; None where it is not."""

    family: str
    breaks: Break | None = None
    reason: Reason | None = None
    symptom: str = ""
    """The number by which it is found out, where its reason has several."""
    steps: int = 60
    batch_size: int = 16
    seed: int = 11
    photos: Split = field(default_factory=toy_split)
    categories: tuple[str, ...] = CATEGORIES
    model: dict[str, object] = field(default_factory=dict)
    """Settings that are not the small member's."""

    def settings(self, **changes: object) -> TrainParams:
        model: AnyModel = SMALL[self.family].model_copy(update=self.model)
        settings = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "threads": 1,
            "device": "cpu",
            "report_every": 20,
            "picture_every": 10_000,
            "save_every": 10_000,
            "watch": {"every": 6, "retries": 0},
            "runs": (Run(name=self.family, model=model),),
        }
        return TrainParams.model_validate({**settings, **changes})

    def build(self) -> ImageModel:
        model = build(self.settings().runs[0], IMAGE, self.categories, (), seed=self.seed, device=CPU)
        if self.breaks:
            self.breaks(model)
        return model

    def train(self, keeper: object = None, **changes: object) -> TrainState:
        settings = self.settings(**changes)
        return train(
            self.build(),
            Photos.resident(self.photos, (), CPU),
            settings.runs[0],
            settings,
            seed=self.seed,
            machine=Machine.choose(settings),
            log=Heard(),
            keeper=keeper or Nobody(),  # type: ignore[arg-type]
        )


def poison(loss: str, turn: int, what: str = "loss") -> Break:
    """From its `turn`-th turn on, the loss of that name is NaN, or its gradient alone is, or a weight becomes infinite."""

    def breaks(model: ImageModel) -> None:
        healthy, turns = getattr(model, loss), count(1)

        def poisoned(batch: Batch) -> Loss:
            found: Loss = healthy(batch)
            if next(turns) < turn:
                return found
            terms = dict(found.terms)
            name = next(iter(terms))
            if what == "loss":
                terms[name] = terms[name] * float("nan")
            weight = next(part for part in _moved(model, loss).modules[0].parameters())
            if what == "gradient":
                terms["spike"] = (weight - weight.detach()).abs().sqrt().sum()  # 0, with a slope that is no number
            if what == "weight":
                weight.data.view(-1)[0] = float("inf")
            return Loss(terms, found.signals)

        setattr(model, loss, poisoned)

    return breaks


def _moved(model: ImageModel, loss: str) -> Phase:
    return next(phase for phase in model.phases() if phase.loss == getattr(model, loss))


def fade(loss: str, turn: int) -> Break:
    """From its `turn`-th turn on, next to nothing is left of that loss, nor of its gradient."""

    def breaks(model: ImageModel) -> None:
        healthy, turns = getattr(model, loss), count(1)

        def faded(batch: Batch) -> Loss:
            found: Loss = healthy(batch)
            left = 1.0 if next(turns) < turn else 1e-9
            return Loss({name: left * term for name, term in found.terms.items()}, found.signals)

        setattr(model, loss, faded)

    return breaks


def brighten(turn: int) -> Break:
    """From its `turn`-th turn on, a VAE is shown photos four times as bright as there are."""

    def breaks(model: ImageModel) -> None:
        healthy, turns = model.elbo, count(1)  # type: ignore[attr-defined]

        def elbo(batch: Batch) -> Loss:
            found: Loss = healthy(batch if next(turns) < turn else replace(batch, images=4 * batch.images))
            return found

        model.elbo = elbo  # type: ignore[attr-defined]

    return breaks


def hasten(times: float, *optimizers: str) -> Break:
    """Every learning rate, or that of these optimisers alone, is so many times what it should be."""

    def breaks(model: ImageModel) -> None:
        healthy = model.phases

        def phases() -> tuple[Phase, ...]:
            return tuple(
                replace(phase, optimizer=replace(phase.optimizer, learning_rate=times * phase.optimizer.learning_rate))
                if not optimizers or (phase.shares or phase.name) in optimizers
                else phase
                for phase in healthy()
            )

        model.phases = phases  # type: ignore[method-assign]

    return breaks


def deafen(part: str, *categories: int) -> Break:
    """What generates pictures does not hear its noise; in these categories, or in all."""

    def silence(_: object, told: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        noise, *others = told
        asked = others[-2] if part == "prior" else others[0]
        heard = torch.stack([asked != category for category in categories or range(9)]).all(dim=0)
        return noise * heard.view(-1, *[1] * (noise.ndim - 1)), *others

    def breaks(model: ImageModel) -> None:
        model.get_submodule(part).register_forward_pre_hook(silence)

    return breaks


def weigh_kl(beta: float) -> Break:
    """The KL term weighs so many times what it should."""

    def breaks(model: ImageModel) -> None:
        healthy = model.elbo  # type: ignore[attr-defined]

        def elbo(batch: Batch) -> Loss:
            found: Loss = healthy(batch)
            return Loss({**found.terms, "kl": beta * found.terms["kl"]}, found.signals)

        model.elbo = elbo  # type: ignore[attr-defined]

    return breaks


def flatten_prior(model: ImageModel) -> None:
    """The prior draws the same latents whatever its noise."""
    prior = model.prior  # type: ignore[attr-defined]
    prior.register_forward_hook(lambda module, told, answer: answer * 0)
    healthy = type(prior).transport
    type_of = type(prior)
    collapsed = type(type_of.__name__, (type_of,), {"transport": lambda self, noise, *a, **k: healthy(self, noise * 0, *a, **k)})
    prior.__class__ = collapsed


def some_photos(total: int, *, categories: int = len(CATEGORIES)) -> Split:
    """The first photos of the toy catalogue, of so many categories."""
    whole = toy_split(max(96, total))
    rows = [row for row, category in enumerate(whole.categories.tolist()) if category < categories][:total]
    names = tuple(whole.ids[row] for row in rows)
    return Split(whole.images[rows], whole.categories[rows], names, names)


BROKEN: dict[str, Member] = {
    "NaN in the generator's loss": Member("gan", poison("generator_loss", 9), "NOT_FINITE"),
    "NaN in the critic's loss": Member("gan", poison("critic_loss", 9), "NOT_FINITE"),
    "NaN in the encoder's loss": Member("vae-gaussians", poison("elbo", 9), "NOT_FINITE"),
    "NaN in the flow's loss": Member("vae-flow", poison("flow_loss", 5), "NOT_FINITE"),
    "NaN in a gradient alone": Member("gan", poison("generator_loss", 9, "gradient"), "NOT_FINITE"),
    "a weight that is infinite": Member("gan", poison("generator_loss", 9, "weight"), "NOT_FINITE"),
    "a VAE's rate times 1000": Member("vae-gaussians", hasten(1000), "DIVERGED"),
    "a GAN's rate times 1000": Member("gan", hasten(1000), "DIVERGED"),
    "a critic that does not move": Member("gan", hasten(0, "critic"), "D_DEAD"),
    "a critic's rate times 100, penalised": Member("gan", hasten(100, "critic"), "DIVERGED"),
    "a critic's rate times 100": Member("gan-classic", hasten(100, "critic"), "D_WINS", steps=80),
    "a critic without a penalty": Member("gan", hasten(30, "critic"), "D_WINS", model={"penalty": 0.0}),
    "a generator that gets no gradient": Member("gan", fade("generator_loss", 25), "D_WINS", "starvation"),
    "photos that are no longer between -1 and 1": Member("vae-gaussians", brighten(25), "DIVERGED", "lost_progress"),
    "a generator that ignores its noise": Member("gan", deafen("generator"), "MODE_COLLAPSE"),
    "one category that is constant": Member("gan", deafen("generator", 1), "MODE_COLLAPSE"),
    "a KL term times 1000": Member("vae-gaussians", weigh_kl(1000), "POSTERIOR_COLLAPSE"),
    "a prior that is constant": Member("vae-flow", flatten_prior, "MODE_COLLAPSE", steps=100),
}

HEALTHY: dict[str, Member] = {
    **{name: Member(name, steps=24 if name == "stylegan2" else 60) for name in SMALL},
    **{f"{name}, another seed": Member(name, seed=12, steps=30, batch_size=12) for name in ("vae-flow", "gan", "stylegan2")},
    "vae, batches of 4": Member("vae-gaussians", batch_size=4, steps=120),
    "flow, batches of 4": Member("vae-flow", batch_size=4, steps=120),
    "gan, batches of 4": Member("gan", batch_size=4),
    "gan, longer": Member("gan", steps=120, batch_size=8, seed=13),
    "flow, longer": Member("vae-flow", steps=160, batch_size=8, seed=13),
    "vae, longer": Member("vae-gaussians", steps=160, batch_size=8, seed=13),
    "one step": Member("gan", steps=1),
    "one step of a VAE": Member("vae-flow", steps=1),
    "two photos a step": Member("gan", batch_size=2, steps=40),
    "one category": Member("gan", steps=40, photos=some_photos(32, categories=1), categories=CATEGORIES[:1]),
    "few photos": Member("vae-flow", photos=some_photos(18)),
    "a very small catalogue": Member("gan", steps=40, photos=some_photos(7)),
    "a category without photos": Member("vae-gaussians", photos=some_photos(40, categories=2)),
}


def run_wild(folder: Path, *, slow_down: float = 0.001, retries: int = 1) -> TrainState:
    """A training at a thousand times its rate, which diverges at once, and does well `slow_down` times as fast."""
    member = Member("vae-gaussians", hasten(1000), steps=30)
    watch = {"retries": retries, "slow_down": slow_down, "every": 1000}
    settings = member.settings(watch=watch, save_every=4, report_every=4)
    keeper = desk(folder, settings, member.seed)
    keeper.resumable()
    return member.train(keeper, watch=watch, save_every=4, report_every=4)


def run_wild_in_a_child(folder: Path, failpoint: str) -> int | None:
    """The exit code of another process that does so, to its end or to where `failpoint` kills it."""
    child = forkserver().Process(target=_run_wild, args=(folder, failpoint))
    child.start()
    child.join(120)
    return child.exitcode


def _run_wild(folder: Path, failpoint: str) -> None:
    os.environ["PACKSHOT_FAILPOINT"] = failpoint
    run_wild(folder)
