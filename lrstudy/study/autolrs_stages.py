"""What AutoLRS is told to do, in which stages it does it, and what is recorded of them (arXiv 2105.10762)."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lrstudy.schedules import Constant, Schedule, StepDecay
from lrstudy.study.errors import ConfigError
from lrstudy.study.proposals import GRID

Mode = Literal["warmup", "train", "validation"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the controller does; none of it depends on what is trained.

    Attributes:
        min_rate: smallest rate that is tried.
        max_rate: largest.
        total_steps: updates of the training run, warmup included, search excluded; after the warmup at least one a
            candidate, since the search of a shorter run would cost more than the run.
        search_steps: tau' of the first stage.
        candidates: rates tried a stage; tau is this many tau'.
        max_stage_steps: tau stops doubling here (the paper's tau_max); the last stage may be longer by fewer than
            ``candidates`` updates.
        warmup_steps: updates before the first stage, without search.
        warmup_rate: the rate that the warmup reaches; ``None``: ``max_rate``.
        kappa: see ``proposals.Proposals``.
        batch: candidates tried side by side; ``None``: all of a stage without a kappa, one with a kappa.
        smoothing: whether losses are smoothed before they are extrapolated.
        seed: of the first candidate of every stage.
    """

    min_rate: float
    max_rate: float
    total_steps: int
    search_steps: int = 100
    candidates: int = 10
    max_stage_steps: int = 8000
    warmup_steps: int = 0
    warmup_rate: float | None = None
    kappa: float | None = None
    batch: int | None = None
    smoothing: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            ConfigError: one is out of range; the message has its name, the rule and the value.
        """
        _check("min_rate", "a positive number", self.min_rate, 0 < self.min_rate < math.inf)
        _check("max_rate", "a number above min_rate", self.max_rate, self.min_rate < self.max_rate < math.inf)
        for name in ("search_steps", "max_stage_steps"):
            _check(name, "a positive int", getattr(self, name), getattr(self, name) >= 1)
        _check("candidates", f"in [1, {GRID}]", self.candidates, 1 <= self.candidates <= GRID)
        _check("warmup_steps", "an int of at least 0", self.warmup_steps, self.warmup_steps >= 0)
        least = self.warmup_steps + self.candidates
        rule = f"an int of at least warmup_steps + candidates ({least})"
        _check("total_steps", rule, self.total_steps, self.total_steps >= least)
        if self.warmup_rate is not None:
            _check("warmup_rate", "a positive number or none", self.warmup_rate, 0 < self.warmup_rate < math.inf)
        if self.kappa is not None:
            _check("kappa", "a number of at least 0 or none", self.kappa, 0 <= self.kappa < math.inf)
        if self.batch is not None:
            fits = self.batch >= 1 and self.candidates % self.batch == 0
            _check("batch", f"none or a divisor of candidates ({self.candidates})", self.batch, fits)

    @property
    def peak_of_warmup(self) -> float:
        """The rate that the warmup reaches."""
        return self.max_rate if self.warmup_rate is None else self.warmup_rate

    @property
    def side_by_side(self) -> int:
        """Candidates of one call."""
        return self.batch or (self.candidates if self.kappa is None else 1)


def _check(name: str, rule: str, value: Any, holds: bool) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {rule}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage, as recorded.

    Attributes:
        mode: which losses candidates were judged by.
        start: updates of the run before it.
        steps: updates that it added to the run (tau).
        search_steps: updates of each candidate (tau').
        rates: the candidates in the order in which they were asked for.
        forecasts: one a candidate; ``None`` where it diverged.
        chosen: the rate that the run went on with.
        spent: all updates made, search included.
        curve: of the run through this stage: columns ``step``, ``loss``, ``learning_rate`` and ``validation_step``,
            ``validation_loss``; steps counted from the run's beginning.
        first_rates: the rate that each candidate's first update used.
    """

    mode: Mode
    start: int
    steps: int
    search_steps: int
    rates: tuple[float, ...]
    forecasts: tuple[float | None, ...]
    chosen: float
    spent: int
    curve: Mapping[str, Sequence[float]]
    first_rates: tuple[float, ...] = ()

    @property
    def end(self) -> int:
        """Updates of the run after it."""
        return self.start + self.steps


def found_schedule(settings: Settings, stages: Sequence[Stage]) -> Schedule:
    """The schedule that the stages make, as a function of the step."""
    searched = [stage for stage in stages if stage.mode != "warmup"]
    rates = [stage.chosen for stage in searched]
    boundaries = [stage.start for stage in searched]
    warmup: dict[str, Any] = {}
    if settings.warmup_steps:
        warmup = {"warmup_steps": settings.warmup_steps, "warmup_style": "skip_zero"}
        rates.insert(0, settings.peak_of_warmup)
    else:
        boundaries.pop(0)
    if not boundaries:
        return Constant(rates[0], **warmup)
    factors = tuple(after / before for before, after in itertools.pairwise(rates))
    return StepDecay(rates[0], tuple(boundaries), factors=factors, **warmup)


def updates_spent(stages: Sequence[Stage]) -> int:
    """Updates of the run and of the search; the evaluations of candidates judged by validation losses are none."""
    return sum(stage.spent for stage in stages)


def stage_plan(settings: Settings) -> tuple[tuple[Mode, int, int], ...]:
    """Mode, tau and tau' of every stage after the warmup, in order.

    tau doubles while it is below ``max_stage_steps``; the stages after the first that is not are judged by validation
    losses. The last is cut to the steps that are left, its tau' with it; steps too few to try every candidate for one
    are added to the stage before them. So the search never has more updates than the training.
    """
    plan: list[tuple[Mode, int, int]] = []
    left, search, mode = settings.total_steps - settings.warmup_steps, settings.search_steps, "train"
    while left:
        steps = min(search * settings.candidates, left)
        if left - steps < settings.candidates:
            steps = left
        plan.append((mode, steps, steps // settings.candidates))
        left -= steps
        if search * settings.candidates < settings.max_stage_steps:
            search *= 2
        else:
            mode = "validation"
    return tuple(plan)
