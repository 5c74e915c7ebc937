"""Momentum on a loss with a term of the trajectory: SAF's, of logits of old, or MESA's, of averaged weights."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from lrstudy.optimizers import TABLE, mesa_loss, trajectory_loss
from lrstudy.schedules import Cosine
from lrstudy.tasks import NoisyDigits
from lrstudy.tasks.base import INIT_STREAM, Data, Params, stream_key
from lrstudy.tasks.digits import CLASSES, TRAIN_EXAMPLES
from lrstudy.tasks.ordering import visited

METHODS = ("saf", "mesa")
Memory = Float[Array, "epochs examples classes"]


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """A method and what of it is the same for all lanes.

    Attributes:
        method: ``saf`` or ``mesa``.
        lag: SAF's: epochs between the logits that are compared.
        start: epochs without the term, at the beginning.
        decay: MESA's: share of the average that an update keeps.
        temperature: of both softmaxes.
    """

    method: str
    lag: int = 2
    start: int = 5
    decay: float = 0.99
    temperature: float = 5.0

    def __post_init__(self) -> None:
        """Checks the method.

        Raises:
            ValueError: there is no such method, or the term would begin before there are old logits.
        """
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {self.method!r}")
        if not self.start >= self.lag >= 1:
            raise ValueError(
                f"start must be an int of at least lag ({self.lag}), which is at least 1, got {self.start!r}"
            )


class Numbers(NamedTuple):
    """What runs of one program differ in.

    Attributes:
        seed: of the run.
        peak: of the cosine.
        momentum: of the optimizer.
        weight: of the term.
    """

    seed: Any
    peak: Any
    momentum: Any
    weight: Any


class _State(NamedTuple):
    """Between two updates.

    Attributes:
        params: of the model.
        opt_state: of the optimizer.
        logits: (lag + 1, examples, classes), one slot an epoch; MESA has none.
        average: of the parameters; SAF has none.
    """

    params: Params
    opt_state: Any
    logits: Memory | None
    average: Params


def epoch_steps(task: NoisyDigits) -> int:
    """Updates of an epoch."""
    return TRAIN_EXAMPLES // task.batch_size


@functools.partial(jax.jit, static_argnames=("trajectory", "steps"))
def train(trajectory: Trajectory, task: NoisyDigits, numbers: Numbers, data: Data, *, steps: int) -> Params:
    """The parameters after all updates.

    With the weight 0 they are those of the engine's ``momentum`` on the same task.

    Args:
        trajectory: the method.
        task: what is trained, in the same order and with the same wrong labels as by the engine.
        numbers: of the run.
        data: the task's.
        steps: updates.
    """
    transform = TABLE["momentum"].build(Cosine(numbers.peak, steps), momentum=numbers.momentum, nesterov=False)
    params = task.init(stream_key(numbers.seed, INIT_STREAM))
    saf = trajectory.method == "saf"
    logits = jnp.zeros((trajectory.lag + 1, TRAIN_EXAMPLES, CLASSES)) if saf else None
    state = _State(params, transform.init(params), logits, None if saf else params)

    def update(step: Int[Array, ""], state: _State) -> _State:
        epoch = step // epoch_steps(task)
        chosen = visited(numbers.seed, step, task.ordering, (TRAIN_EXAMPLES, task.batch_size))
        inputs, labels = task.batch(data, numbers.seed, step)
        if state.logits is None:
            teacher, term = task.apply(state.average, inputs), mesa_loss
        else:
            teacher, term = recalled(state.logits, epoch, chosen), trajectory_loss
        weight = jnp.where(epoch >= trajectory.start, numbers.weight, 0)

        def loss(params: Params) -> tuple[Float[Array, ""], Array]:
            logits = task.apply(params, inputs)
            plain = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
            return plain + term(logits, teacher, temperature=trajectory.temperature, weight=weight), logits

        grads, logits = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = transform.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if state.logits is None:
            kept = trajectory.decay
            return _State(params, opt_state, None, optax.incremental_update(params, state.average, 1 - kept))
        first = step % epoch_steps(task) == 0
        return _State(params, opt_state, remembered(state.logits, epoch, chosen, logits, first=first), None)

    return jax.lax.fori_loop(0, steps, update, state).params


def recalled(memory: Memory, epoch: Int[Array, ""], chosen: Int[Array, " batch"]) -> Float[Array, "batch classes"]:
    """The oldest logits in memory: those of the epoch that is one less than the number of slots ago."""
    return memory[(epoch + 1) % len(memory)][chosen]


def remembered(
    memory: Memory,
    epoch: Int[Array, ""],
    chosen: Int[Array, " batch"],
    logits: Float[Array, "batch classes"],
    *,
    first: Bool[Array, ""],
) -> Memory:
    """The memory with the logits of a batch in the slot of their epoch.

    An epoch leaves out what does not fill a batch: these examples keep the logits of the epoch before.

    Args:
        memory: one slot an epoch, used in turn.
        epoch: of the batch.
        chosen: its examples.
        logits: of these.
        first: whether it is the epoch's first batch.
    """
    own, before = epoch % len(memory), (epoch - 1) % len(memory)
    begun = jnp.where(first, memory[before], memory[own])
    return memory.at[own].set(begun.at[chosen].set(logits))
