"""What is scored: a rule that makes an optimizer from hyperparameters and a length, and where its trials look."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from lrstudy.benchmark.space import Point, Space, points_of
from lrstudy.feedback import trained_params

MakeTransform = Callable[[Mapping[str, Any], int], optax.GradientTransformation]
EvalParams = Callable[[optax.OptState, Any], Any]


class Ruleset(NamedTuple):
    """How often a submission is trained, and how long.

    Attributes:
        studies: independent repetitions, of whose times the median counts.
        trials: runs of a study, of which the fastest counts.
        budget: updates of a trial over the workload's ``step_hint``.
    """

    studies: int
    trials: int
    budget: float


RULESETS: Mapping[str, Ruleset] = {"external": Ruleset(3, 5, 1.0), "self": Ruleset(3, 1, 1.5)}
"""AlgoPerf's: ``external`` tunes over trials, ``self`` is on its own and may train for half as long again."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """A training algorithm.

    Attributes:
        name: in tables.
        make_transform: ``(hyperparameters, step_hint) -> optax transform``, rate and schedule included. The
            hyperparameters may be traced: trials are lanes of one program. ``update`` is given the loss as ``value``,
            and ``grad_fn`` and ``obj_fn`` as the training step gives them.
        space: ranges that trials are drawn from, the same for all workloads.
        points: hyperparameters to draw from instead, without replacement; with neither there is one trial a study.
        eval_params: ``(opt_state, params) ->`` the parameters that are evaluated.
        gradients_per_step: gradients that one update takes, which is what it pays on that axis; a mean where updates
            differ.
        origin: what it was made from, as JSON holds it: results of another origin are another's.
    """

    name: str
    make_transform: MakeTransform
    space: Space | None = None
    points: Sequence[Point] | None = None
    eval_params: EvalParams = trained_params
    gradients_per_step: float = 1
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the name, that there is one kind of hyperparameters, and that lanes can hold them.

        Raises:
            ValueError: the name cannot be a folder's, there are both kinds, no points, points of different names, or
                values that are no numbers.
        """
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"name must be one that a folder can have, got {self.name!r}")
        if self.space is not None and self.points is not None:
            raise ValueError("points must be left out where a space is given, got both")
        if not 1 <= self.gradients_per_step < math.inf:
            raise ValueError(f"gradients_per_step must be a number of at least 1, got {self.gradients_per_step!r}")
        if self.points is None:
            return
        if not self.points:
            raise ValueError(f"points must hold at least one point, got {self.points!r}")
        for point in self.points:
            if set(point) != set(self.points[0]):
                raise ValueError(f"points must name the same hyperparameters, got {self.points[0]!r} and {point!r}")
            bad = [value for value in point.values() if isinstance(value, bool) or not isinstance(value, int | float)]
            if bad:
                raise ValueError(f"points must hold numbers, got {bad[0]!r} in {point!r}")

    def identity(self) -> dict[str, Any]:
        """What its results depend on, as JSON holds it."""
        space = {name: dataclasses.asdict(one) for name, one in self.space.items()} if self.space is not None else None
        points = None if self.points is None else [dict(point) for point in self.points]
        return {"name": self.name, "origin": dict(self.origin), "space": space, "points": points}

    def untuned(self) -> "Submission":
        """The submission on its own, at the middle of its space.

        Raises:
            ValueError: it has several points, of which none is the middle.
        """
        if self.space is not None:
            middle = {name: one.at(0.5) for name, one in self.space.items()}
            return dataclasses.replace(self, space=None, points=[middle])
        if self.points is not None and len(self.points) > 1:
            raise ValueError(f"points of {self.name} must be one, as nothing is tuned, got {len(self.points)}")
        return self

    def draw(self, ruleset: Ruleset, *, seed: int) -> list[list[Point]]:
        """The points of every trial of every study.

        A study of fewer points than trials has as many trials as there are points.

        Args:
            ruleset: how many there are.
            seed: of the draw.
        """
        seeds = range(seed, seed + ruleset.studies)
        if self.space is not None:
            return [points_of(self.space, ruleset.trials, seed=one) for one in seeds]
        points = [{name: float(value) for name, value in point.items()} for point in self.points or [{}]]
        count = min(ruleset.trials, len(points))
        orders = (np.random.default_rng(one).permutation(len(points))[:count] for one in seeds)
        return [[points[place] for place in order] for order in orders]
