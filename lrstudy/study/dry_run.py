"""What a plan would train and what it would cost, without training anything."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.study.config import Run, make_transform
from lrstudy.study.plan import Group, Plan
from lrstudy.training.program import init_lane
from lrstudy.training.step import make_gradient_step


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one group costs.

    Attributes:
        parameters: of one run.
        updates: of all runs together, those of their trunks left out.
        tokens: examples or predicted tokens of those updates.
        flops: of those updates, by XLA's own count of one step before optimization.
        state_bytes: parameters and optimizer state of all lanes, which stay in memory together.
        data_bytes: of the data that the lanes share.
        measurements: of the sharpness, whose products are not in ``flops``: how many one takes is known afterwards.
    """

    parameters: int
    updates: int
    tokens: int
    flops: float
    state_bytes: int
    data_bytes: int
    measurements: int


class _Step(NamedTuple):
    """One update of one run: its parameters, the bytes of its state, those of its data, and its FLOPs."""

    parameters: int
    state_bytes: int
    data_bytes: int
    flops: float


class Costs:
    """The costs of groups; one step is traced and lowered for all groups of one structure, and never run."""

    def __init__(self) -> None:
        self._steps: dict[Any, _Step] = {}

    def of(self, group: Group) -> Cost:
        """The cost of a group."""
        run = group.runs[0]
        step = self._step(run)
        starts = [branch.step for branch in group.branches] if group.branches else [0] * len(group.runs)
        bounds = [(start, r.config.steps) for r, start in zip(group.runs, starts, strict=True)]
        updates, every = sum(steps - start for start, steps in bounds), run.sharpness.every if run.sharpness else 0
        return Cost(
            parameters=step.parameters,
            updates=updates,
            tokens=updates * run.task.tokens_per_step(),
            flops=step.flops * updates,
            state_bytes=step.state_bytes * len(group.runs),
            data_bytes=step.data_bytes,
            # At the multiples of ``every`` from the start on, and after the last update.
            measurements=sum(len(range(-start % every, steps - start, every)) + 1 for start, steps in bounds)
            if every
            else 0,
        )

    def _step(self, run: Run) -> _Step:
        leaves, structure = jax.tree.flatten(run.hyperparameters)
        scaled_by = run.parametrization and run.parametrization[0]
        chosen = scaled_by, run.config.optimizer.name, run.static_optimizer
        key = structure, tuple(map(np.shape, leaves)), chosen
        if key not in self._steps:
            self._steps[key] = _step_of(run)
        return self._steps[key]


def _step_of(run: Run) -> _Step:
    hparams = run.hyperparameters
    transform = functools.partial(make_transform, run)
    lane = jax.eval_shape(functools.partial(init_lane, make_transform=transform), hparams)
    data = run.task.abstract_data()
    step = make_gradient_step(run.task.gradient, transform, run.task.loss)

    def update(state: Any, data: Any) -> Any:
        batch = run.task.batch(data, jnp.int32(0), state.step)
        return step(state, batch, hparams)[0]

    analysis = jax.jit(update).lower(lane.state, data).cost_analysis() or {}
    state_bytes = _bytes((lane.state.params, lane.state.opt_state))
    return _Step(_count(lane.state.params), state_bytes, _bytes(data), float(analysis.get("flops", 0.0)))


def describe(plan: Plan) -> str:
    """One line a compiled program, and the sums."""
    names = ("runs", "updates", "parameters", "tokens", "FLOPs", "state", "data")
    widths = (5, 9, 11, 9, 9, 9, 9)
    heads = [f"{name:>{width}}" for name, width in zip(names, widths, strict=True)]
    lines, costs, known = [" ".join([f"{'program':<40}", *heads])], [], Costs()
    for group in plan.groups:
        cost = known.of(group)
        costs.append(cost)
        config = group.runs[0].config
        part = f"{group.part}: " if group.part else ""
        branch = " from its trunk" if group.branches else ""
        name = f"{part}{config.task.name} {config.schedule.name}{branch}"
        lines.append(
            f"{name:<40} {len(group.runs):>5} {cost.updates:>9} {_short(cost.parameters):>11} {_short(cost.tokens):>9} "
            f"{_short(cost.flops):>9} {_short(cost.state_bytes):>8}B {_short(cost.data_bytes):>8}B"
        )
    asked = sum(len(group.runs) for group in plan.groups) - len(plan.trunks)
    measurements = sum(c.measurements for c in costs)
    largest = max((c.state_bytes + c.data_bytes for c in costs), default=0)
    lines.append(
        f"{_counted(asked, 'run')} (and {_counted(len(plan.trunks), 'trunk')}) in "
        f"{_counted(len(plan.groups), 'compiled program')}: "
        f"{sum(c.updates for c in costs)} updates, {_short(sum(c.tokens for c in costs))} tokens, "
        f"{_short(sum(c.flops for c in costs))} FLOPs; at most {_short(largest)}B of state and data at a time, "
        "gradients and activations on top"
        + (
            f"; {measurements} measurements of sharpness on top, of some 5 to 20 Hessian products each"
            * bool(measurements)
        )
    )
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _short(value: float) -> str:
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g}{letter}"
    return f"{value:.3g}"
