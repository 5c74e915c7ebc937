"""Sharpness as a metric of lanes that train: of what, on which data, and what of it becomes a record."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lrstudy.curvature import Operator, SharpnessTracker, TrackerState, adam_preconditioner, hessian, preconditioned
from lrstudy.tasks.base import Data, Params
from lrstudy.training.program import Hyperparameters, Lane

Row = dict[str, Float[Array, ""]]
Measure = Callable[[Lane, Hyperparameters, Data, Int[Array, ""]], tuple[TrackerState, Row, Bool[Array, ""]]]

COLUMNS = ("sharpness", "sharpness_residual", "hessian_products", "sharpness_status", "sharpness_missed")
"""What a measurement records, beside the seconds that it took."""


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue of the Hessian of the task's loss, along a run.

    The loss is the mean over fixed batches, the same at every measurement; a solve starts from the eigenvector of the
    measurement before (see ``SharpnessTracker``).

    Attributes:
        every: steps from one measurement to the next, a multiple of ``record_every``; the final parameters are measured
            as well. 0: never.
        tol: relative residual of a solve.
        audit_every: measurements from one solve that starts anew to the next; 0: none does.
        batches: how many of the task's batches; those of steps 0, 1, and so on.
        pieces: in how many pieces, one after the other, these are taken. 1: all at once, with the memory of so large a
            batch; more need less of it, and twice (a transformer: four times) the time.
        seed: whose batches; ``None``: the run's own, which is needed where the data follow from the seed.
        max_matvecs: products of a solve at most.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "hessian"

    every: int = 50
    tol: float = 1e-3
    audit_every: int = 20
    batches: int = 1
    pieces: int = 1
    seed: int | None = None
    max_matvecs: int = 64

    def __post_init__(self) -> None:
        """Checks the fields."""
        for field, lowest in (
            ("every", 0),
            ("audit_every", 0),
            ("batches", 1),
            ("pieces", 1),
            ("seed", 0),
            ("max_matvecs", 2),
        ):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or not lowest <= value < 2**31):
                raise ValueError(f"sharpness.{field} must be an int of at least {lowest}, got {value!r}")
        if self.pieces > self.batches:
            raise ValueError(
                f"sharpness.pieces must be at most sharpness.batches ({self.batches}), got {self.pieces!r}"
            )
        if not 1e-6 <= self.tol < 1:
            raise ValueError(f"sharpness.tol must be in [1e-6, 1), got {self.tol!r}")

    @property
    def tracker(self) -> SharpnessTracker:
        """What follows the eigenvalue."""
        return SharpnessTracker(self.tol, self.audit_every, self.max_matvecs)

    def operator(self, lane: Lane, hparams: Hyperparameters, data: Data) -> Operator:
        """The Hessian at the lane's parameters."""
        return self.hessian(lane.state.params, hparams, data)

    def hessian(self, params: Params, hparams: Hyperparameters, data: Data) -> Operator:
        """The Hessian of the mean loss over the fixed batches."""
        task, seed = hparams.task, hparams.seed if self.seed is None else self.seed

        def batch(step: Int[Array, ""]) -> Any:
            return task.batch(data, jnp.asarray(seed, jnp.int32), step)

        def loss(params: Any, batch: Any) -> Float[Array, ""]:
            return task.loss(params, batch)[0]

        def mean_loss(params: Any, several: Any) -> Float[Array, ""]:
            return jnp.mean(jax.vmap(loss, in_axes=(None, 0))(params, several))

        if self.batches == 1:
            return hessian(loss, params, batch(jnp.int32(0)))
        several = jax.vmap(batch)(jnp.arange(self.batches, dtype=jnp.int32))
        return hessian(mean_loss, params, several, microbatches=self.pieces)


@dataclasses.dataclass(frozen=True)
class PreconditionedSharpness(Sharpness):
    """That of ``P^-1/2 H P^-1/2`` with the P by which Adam divides its step, which 38 / rate bounds for b1 = 0.9.

    Before the first update there is no P, so nothing is measured then.
    """

    name: ClassVar[str] = "preconditioned"
    optimizers: ClassVar[tuple[str, ...]] = ("adam", "adamw")
    """Rows of ``optimizers.TABLE`` that divide all tensors by that P."""

    def operator(self, lane: Lane, hparams: Hyperparameters, data: Data) -> Operator:
        """The Hessian between the roots of the optimizer's preconditioner."""
        return preconditioned(super().operator(lane, hparams, data), preconditioner(lane.state.opt_state, hparams))


TABLE: dict[str, type[Sharpness]] = {kind.name: kind for kind in (Sharpness, PreconditionedSharpness)}
"""What a configuration can name."""


def preconditioner(opt_state: Any, hparams: Hyperparameters) -> Any:
    """P of an optimizer of Adam's kind, at the lane's own ``b2`` and ``eps``.

    Raises:
        ValueError: the optimizer has no such hyperparameters, or another state.
    """
    numbers = hparams.optimizer
    if not {"b2", "eps"} <= set(numbers):
        raise ValueError(
            "sharpness preconditioned needs an optimizer with the hyperparameters b2 and eps, such as adam"
        )
    return adam_preconditioner(opt_state, b2=numbers["b2"], eps=numbers["eps"])


def init_tracker(metric: Sharpness, params: Any, key: Key[Array, ""]) -> TrackerState:
    """A lane's tracker before its first measurement."""
    return metric.tracker.init(params, key)


def make_measure(metric: Sharpness) -> Measure:
    """The measurement of one lane: ``(lane, hparams, data, step) -> (tracker, row, whether it was made)``.

    It is made of a lane that is alive and has made ``step`` updates, or all of its own.
    """

    def measure(
        lane: Lane, hparams: Hyperparameters, data: Data, step: Int[Array, ""]
    ) -> tuple[TrackerState, Row, Bool[Array, ""]]:
        here = lane.alive & (lane.state.step == jnp.minimum(step, hparams.steps))

        def measured() -> tuple[TrackerState, Row]:
            tracker, result = metric.tracker.update(lane.tracker, metric.operator(lane, hparams, data))
            found = (result.values[0], result.residuals[0], result.matvecs, result.status, tracker.missed)
            return tracker, {name: jnp.asarray(value, jnp.float32) for name, value in zip(COLUMNS, found, strict=True)}

        def unmeasured() -> tuple[TrackerState, Row]:
            return lane.tracker, dict.fromkeys(COLUMNS, jnp.float32(jnp.nan))

        return (*jax.lax.cond(here, measured, unmeasured), here)

    return measure
