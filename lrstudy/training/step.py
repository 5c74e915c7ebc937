"""One optimizer update, as a pure function."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from lrstudy.feedback import effective_lr
from lrstudy.schedules import Schedule
from lrstudy.training.parts import Sharing
from lrstudy.training.state import TrainState

Loss = Callable[[Any, Any], tuple[Float[Array, ""], dict[str, Array]]]
Gradient = Callable[[Any, Any, optax.OptState], tuple[tuple[Float[Array, ""], dict[str, Array]], Any]]
MakeTransform = Callable[[Any], optax.GradientTransformation]
Metrics = dict[str, Float[Array, ""]]

METRICS = ("loss", "learning_rate", "grad_norm_l1", "grad_norm_l2", "update_norm", "param_norm")
"""What every step measures, beside the loss's further scalars."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """``(state, batch, hparams) -> (state, metrics)``, with what it is made of (see ``make_gradient_step``).

    Attributes:
        gradient: of the loss of a batch.
        make_transform: from the step's numbers.
        loss: of a batch.
    """

    gradient: Gradient
    make_transform: MakeTransform
    loss: Loss

    def shared(self, sharing: Sharing) -> "Step":
        """The same step with its batch's means computed in parts."""
        return Step(sharing.gradient(self.gradient), self.make_transform, sharing.loss(self.loss))

    def __call__(
        self, state: TrainState, batch: Any, hparams: Any, *, record: bool | Bool[Array, ""] = True
    ) -> tuple[TrainState, Metrics]:
        """One update; where ``record`` is false no metric but the loss is computed."""
        transform = optax.with_extra_args_support(self.make_transform(hparams))
        (value, extra), grads = self.gradient(state.params, batch, state.opt_state)

        def grad_fn(params: Any, _: Any = 0) -> Any:
            return self.gradient(params, batch, state.opt_state)[1]

        def obj_fn(params: Any) -> Float[Array, ""]:
            return self.loss(params, batch)[0]

        updates, opt_state = transform.update(
            grads, state.opt_state, state.params, value=value, grad_fn=grad_fn, obj_fn=obj_fn
        )

        def measured() -> Metrics:
            adapted = effective_lr(opt_state)
            return {
                "learning_rate": applied_learning_rate(state, hparams) if adapted is None else adapted,
                "grad_norm_l1": _norm_l1(grads),
                "grad_norm_l2": optax.tree.norm(grads),
                "update_norm": optax.tree.norm(updates),
                "param_norm": optax.tree.norm(state.params),
                **extra,
            }

        def unmeasured() -> Metrics:
            return {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in jax.eval_shape(measured).items()}

        metrics = jax.lax.cond(record, measured, unmeasured)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state, state.key), {"loss": value, **metrics}


def make_train_step(loss: Loss, make_transform: MakeTransform) -> Step:
    """Builds ``(state, batch, hparams) -> (state, metrics)`` for a loss that is differentiated.

    Args:
        loss: ``(params, batch) -> (loss, further scalars)``.
        make_transform: ``hparams -> optax transform``.

    Returns:
        The step, as ``make_gradient_step`` describes it.
    """
    value_and_grad = jax.value_and_grad(loss, has_aux=True)

    def gradient(params: Any, batch: Any, opt_state: optax.OptState) -> tuple[tuple[Array, dict[str, Array]], Any]:
        del opt_state
        return value_and_grad(params, batch)

    return make_gradient_step(gradient, make_transform, loss)


def make_gradient_step(gradient: Gradient, make_transform: MakeTransform, loss: Loss) -> Step:
    """Builds ``(state, batch, hparams) -> (state, metrics)``.

    ``hparams`` is a pytree of numbers that holds at most one schedule; the transform is made from it inside the step,
    so a changed number never recompiles and a stack of them is a batch of lanes. The step also takes ``record``, a
    boolean that may be traced: where it is false the norms, which read every tensor once more, are not computed and
    all metrics but ``loss`` are zero.

    The transform's ``update`` is given the loss as the extra argument ``value`` and, over the same batch and with
    optax's conventions, ``grad_fn``: ``(params, i) -> gradient`` for any i, and ``obj_fn``: ``params -> loss``. They
    cost nothing where they are not called.

    Args:
        gradient: ``(params, batch, opt_state) -> ((loss, further scalars), gradient)``; see ``Task.gradient``.
        make_transform: ``hparams -> optax transform``.
        loss: ``(params, batch) -> (loss, further scalars)``, for optimizers that differentiate it themselves.

    Returns:
        The step. Its metrics are ``loss`` (of the batch, at the parameters before the update), ``learning_rate`` (the
        one applied: where the optimizer adapts it as its new state says, otherwise the schedule at the optimizer's own
        count), ``grad_norm_l1``, ``grad_norm_l2``, ``update_norm``, ``param_norm`` (before the update) and the further
        scalars.
    """
    return Step(gradient, make_transform, loss)


def optimizer_count(opt_state: optax.OptState) -> Int[Array, "*lanes"] | None:
    """The optimizer's own count of updates, which its schedule is evaluated at; ``None`` where it keeps none.

    Of stacked states it gives one count a lane.
    """

    def is_count(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    counts = [node.count for node in jax.tree.leaves(opt_state, is_leaf=is_count) if is_count(node)]
    return counts[0] if counts else None


def applied_learning_rate(state: TrainState, hparams: Any) -> Float[Array, ""]:
    """The rate that the schedule in ``hparams`` gives the coming update, at the optimizer's own count.

    Returns:
        The rate; NaN where ``hparams`` holds no schedule.

    Raises:
        ValueError: ``hparams`` holds several schedules.
    """

    def is_schedule(node: Any) -> bool:
        return isinstance(node, Schedule)

    schedules = [node for node in jax.tree.leaves(hparams, is_leaf=is_schedule) if is_schedule(node)]
    if len(schedules) > 1:
        raise ValueError(f"hparams must hold at most one schedule, got {len(schedules)}")
    if not schedules:
        return jnp.float32(jnp.nan)
    count = optimizer_count(state.opt_state)
    return schedules[0](state.step if count is None else count)


def _norm_l1(tree: Any) -> Float[Array, ""]:
    return sum((jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(tree)), start=jnp.zeros(()))
