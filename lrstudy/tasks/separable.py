"""Logistic regression of samples that a line through the origin separates, without intercept, from zero."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key


class Separable(Task):
    """Mean of log(1 + exp(-z theta)) over signed examples z = y a, all of them in every batch.

    A batch is the rows z and how often each occurs.

    Attributes:
        normalised: the gradient is divided by the mean of 1 / (1 + exp(z theta)), so that a step has a length that does
            not vanish once all examples are correct (normalised LR+GD of Tyurin 2024, From Logistic Regression to the
            Perceptron Algorithm).
    """

    objective = "sample_loss"

    normalised: bool = dataclasses.field(default=False, kw_only=True)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The mean loss; and how many examples are not on the right side."""
        rows, counts = batch
        margins = rows @ params["theta"]
        shares = counts / jnp.sum(counts)
        wrong = jnp.sum(jnp.where(margins > 0, 0, counts))
        return shares @ jax.nn.softplus(-margins), {"misclassified": wrong, **self.coordinates(params)}

    def coordinates(self, params: Params) -> Metrics:
        """What is recorded of theta."""
        del params
        return {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """The loss, and the share of examples that are not on the right side."""
        rows, counts = self.batch(data, jnp.int32(0), jnp.int32(0))
        value, found = self.loss(params, (rows, counts))
        return {"sample_loss": value, "error_rate": found["misclassified"] / jnp.sum(counts)}

    def gradient(self, params: Params, batch: Batch, opt_state: object) -> tuple[tuple[Array, Metrics], Params]:
        """The gradient of the mean loss, normalised where that is asked for."""
        del opt_state
        rows, counts = batch
        margins = rows @ params["theta"]
        if self.normalised:
            # By logarithms: where all weights underflow, their quotients are still shares.
            shares = jax.nn.softmax(jax.nn.log_sigmoid(-margins) + jnp.log(counts))
        else:
            shares = jax.nn.sigmoid(-margins) * counts / jnp.sum(counts)
        return self.loss(params, batch), {"theta": -(shares @ rows)}


class TwoDirections(Separable):
    """One example z = ``first`` and the others all z = ``second``.

    As given by default it is the sample on which gradient descent needs a number of updates that grows with the
    examples, and its normalised form does not (theorem 5.1 of the paper); the one of theorem 4.1, on which a huge step
    raises the loss, is (1, -1) and (1, 4) with two examples.

    Attributes:
        first: y a of the single example.
        second: y a of the others.
        examples: n, with the single one.
    """

    lane_fields = ("first", "second", "examples")

    first: tuple[float, float] = (0.5, -1.0)
    second: tuple[float, float] = (0.5, 1.0)
    examples: int = 1000

    def __post_init__(self) -> None:
        """Checks the fields that are plain numbers.

        Raises:
            ValueError: there are no two examples, or one has another length.
        """
        if isinstance(self.examples, int) and not 2 <= self.examples < 2**24:
            raise ValueError(f"task.examples must be in [2, 2^24), got {self.examples!r}")
        if not len(self.first) == len(self.second) == 2:
            raise ValueError(
                f"task.first and task.second must have two coordinates, got {self.first!r}, {self.second!r}"
            )

    def tokens_per_step(self) -> int:
        """All examples."""
        return int(self.examples)

    def init(self, key: Key[Array, ""]) -> Params:
        """Zero."""
        del key  # the start is given
        return {"theta": jnp.zeros(2)}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """The two rows and their counts, whatever the step."""
        del data, seed, step
        counts = jnp.stack([jnp.float32(1), jnp.asarray(self.examples, jnp.float32) - 1])
        return jnp.stack([jnp.asarray(self.first, float), jnp.asarray(self.second, float)]), counts

    def coordinates(self, params: Params) -> Metrics:
        """Both, before the update."""
        return {"theta_0": params["theta"][0], "theta_1": params["theta"][1]}


class RandomHalfspace(Separable):
    """Normal features, labelled by a random direction and moved apart along it.

    Attributes:
        examples: n.
        features: of an example.
        gap: what every example's margin is raised by.
        data_seed: of the sample.
    """

    lane_fields = ("gap", "data_seed")

    examples: int = 50
    features: int = 5
    gap: float = 0.1
    data_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(examples=1, features=1, data_seed=0)
        if isinstance(self.gap, float) and not 0 < self.gap < np.inf:
            raise ValueError(f"task.gap must be a finite positive number, got {self.gap!r}")

    def tokens_per_step(self) -> int:
        """All examples."""
        return self.examples

    def init(self, key: Key[Array, ""]) -> Params:
        """Zero."""
        del key  # the start is given
        return {"theta": jnp.zeros(self.features)}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """The sample, whatever the step."""
        del data, seed, step
        towards, around = jax.random.split(stream_key(jnp.asarray(self.data_seed, jnp.int32), DATA_STREAM))
        direction = jax.random.normal(towards, (self.features,))
        direction = direction / jnp.linalg.norm(direction)
        points = jax.random.normal(around, (self.examples, self.features))
        # Times its label an example lies on the side of the direction; the gap moves it further there.
        signed = points * jnp.where(points @ direction > 0, 1.0, -1.0)[:, None] + self.gap * direction
        return signed, jnp.ones(self.examples)
