"""What a task is: initial parameters, a batch for every (seed, step), a loss, and what is evaluated along the way."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, dataclass_transform, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy import pytrees
from lrstudy.ghosts import STATISTICS
from lrstudy.tasks.ahead import Reader

Params = Any
Batch = Any
Data = Any
Metrics = dict[str, Float[Array, ""]]

# Streams of randomness drawn from one seed; a task never draws from another's.
INIT_STREAM, DATA_STREAM = 0, 1


@runtime_checkable
class Model(Protocol):
    """What a task trains: it is hashable, and initialises and applies like a linen module."""

    def init(self, key: Key[Array, ""], *inputs: Any) -> Any:
        """Variables, of which ``params`` is trained."""
        ...

    def apply(self, variables: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
        """The outputs."""
        ...


def stream_key(seed: int | Int[Array, ""], stream: int) -> Key[Array, ""]:
    """The key of one stream of randomness of a run.

    Args:
        seed: the run's seed.
        stream: ``INIT_STREAM`` or ``DATA_STREAM``.
    """
    return jax.random.fold_in(jax.random.key(seed), stream)


def data_key(seed: int | Int[Array, ""], step: int | Int[Array, ""]) -> Key[Array, ""]:
    """The key from which the batch of ``(seed, step)`` is drawn."""
    return jax.random.fold_in(stream_key(seed, DATA_STREAM), step)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
@dataclasses.dataclass(frozen=True)
class Task:
    """Base of all tasks: a frozen dataclass that is a pytree, its ``lane_fields`` being the leaves.

    A lane field may differ between lanes of one compiled program; every other field is part of the program.

    Attributes:
        model: what is trained, a linen module or what initialises and applies like one; ``None`` where the parameters
            are the point of a landscape.
    """

    lane_fields: ClassVar[tuple[str, ...]] = ()
    model_names: ClassVar[tuple[str, ...]] = ()
    """Names of the models that fit, the default first."""
    objective: ClassVar[str] = "loss"
    """The metric by which runs are compared."""
    of_examples: ClassVar[bool] = False
    """Whether every array of a batch has one entry an example along its first axis, and the loss and its scalars are
    means over examples, whose gradient is ``gradient``. Only then can devices share a batch."""

    model: Model | None = dataclasses.field(default=None, kw_only=True)

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True)(cls)
        pytrees.register(cls, cls.lane_fields)

    def check_least(self, **lowest: int) -> None:
        """Refuses whole numbers that are too small, or too large for int32; fields that hold arrays are not looked at.

        Args:
            lowest: field to its least value.

        Raises:
            ValueError: one is out of range.
        """
        for name, least in lowest.items():
            value = getattr(self, name)
            if isinstance(value, int | float | np.number) and not least <= value < 2**31:
                raise ValueError(f"task.{name} must be an int of at least {least}, got {value!r}")

    def model_arguments(self) -> Mapping[str, Any]:
        """The fields of the model that this task decides."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """What identifies the data beside the fields: it is recorded and is part of a run's identity."""
        return {}

    def load(self) -> Data:
        """The arrays that live on the device while the task trains, shared by all lanes.

        Raises:
            ValueError: the data cannot be read; the message names the field, the rule and the value.
        """
        return ()

    def check_ready(self) -> None:
        """Refuses data that a plan can be made without, but no run can.

        Raises:
            ValueError: they are not there; the message says how they are made.
        """

    def abstract_data(self) -> Data:
        """Shapes and types of what ``batch`` and ``evaluate`` are given; a plan's cost is counted with them."""
        data = self.load()
        return jax.eval_shape(lambda: data)

    def reader(self) -> Reader | None:
        """What reads batches on the host while the device trains; ``None``: they are made of what was loaded.

        ``batch`` finds them in an ``Ahead``.

        Raises:
            ValueError: as ``load``.
        """
        return None

    def tokens_per_step(self) -> int:
        """Examples (text: predicted tokens) that one batch holds."""
        raise NotImplementedError

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial parameters, float32."""
        raise NotImplementedError

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """The batch of ``(seed, step)``: the same for the same pair, in any order of asking."""
        raise NotImplementedError

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The batch loss and further scalars of the batch."""
        raise NotImplementedError

    def gradient(self, params: Params, batch: Batch, opt_state: Any) -> tuple[tuple[Float[Array, ""], Metrics], Params]:
        """What the optimizer is given, with what ``loss`` returns.

        A task overrides it whose update direction is not the gradient of its loss, or follows from what the optimizer
        says in its state (see ``lrstudy.feedback``).

        Args:
            params: parameters before the update.
            batch: of the step.
            opt_state: the optimizer's state before the update.

        Returns:
            ``((loss, further scalars), gradient)``, the gradient shaped like ``params``.
        """
        del opt_state
        return jax.value_and_grad(self.loss, has_aux=True)(params, batch)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Scalars of the parameters alone: the same data at every call."""
        raise NotImplementedError

    def apply(self, params: Params, inputs: Array, statistics: Mapping[str, Any] | None = None) -> Array:
        """The model's outputs.

        Args:
            params: parameters.
            inputs: of the model.
            statistics: what ``statistics`` found, for an evaluation; ``None``: those of the inputs themselves.

        Raises:
            ValueError: the task was built without a model.
        """
        if self.model is None:
            raise ValueError(f"{type(self).__name__}: model must be given, got None")
        return self.model.apply({"params": params, **(statistics or {})}, inputs)

    def statistics(self, params: Params, inputs: Array) -> Mapping[str, Any]:
        """What the model is to be evaluated with beside its parameters: batch norms' statistics over these inputs.

        Of a model without batch norm it is empty, and a compiled program does not compute its outputs.

        Raises:
            ValueError: the task was built without a model.
        """
        if self.model is None:
            raise ValueError(f"{type(self).__name__}: model must be given, got None")
        _, kept = self.model.apply({"params": params}, inputs, mutable=[STATISTICS])
        return kept

    def init_model(self, key: Key[Array, ""], inputs: Array) -> Params:
        """The model's initial parameters for inputs of this shape."""
        if self.model is None:
            raise ValueError(f"{type(self).__name__}: model must be given, got None")
        return self.model.init(key, inputs)["params"]
