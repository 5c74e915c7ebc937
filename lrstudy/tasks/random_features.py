"""Linear regression on random ReLU features: how many there are is a number."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key


class FeatureSample(NamedTuple):
    """A training sample and what made it.

    Attributes:
        features: of every sample, zero beyond those that the task uses.
        labels: target and noise.
        weights: of the features, one column each.
        target: the direction whose projection is learned.
    """

    features: Float[Any, "samples most"]
    labels: Float[Any, " samples"]
    weights: Float[Any, "directions most"]
    target: Float[Any, " directions"]


class RandomFeatures(Task):
    """Learns y = b.x, |b| = 1, from noisy labels by f(x) = sum_j a_j relu(w_j.x), from a = 0; the w_j are fixed.

    Inputs are normal of unit variance in every direction, the w_j normal of variance 1 / directions. The loss is
    |f - y|^2 / (2 s^2) over the whole sample, s being the largest singular value of its features, so that a rate of 1
    is that of gradient descent at 1 / s^2 on the plain sum of squares.

    Attributes:
        features: how many are used, a number of the lane: the first of ``most``.
        noise: standard deviation of the labels' noise.
        data_seed: of inputs, features, target and noise; a run's seed changes nothing.
        samples: of training.
        directions: of an input.
        most: features that a program has room for.
    """

    lane_fields = ("features", "noise", "data_seed")
    objective = "test_error"

    features: int = 100
    noise: float = 0.5
    data_seed: int = 0
    samples: int = 100
    directions: int = 20
    most: int = 1000

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(features=1, data_seed=0, samples=1, directions=1, most=1)
        if isinstance(self.features, int) and self.features > self.most:
            raise ValueError(f"task.features must be in [1, most], got {self.features!r}")
        if isinstance(self.noise, float) and not 0 <= self.noise < math.inf:
            raise ValueError(f"task.noise must be a finite number of at least 0, got {self.noise!r}")

    def tokens_per_step(self) -> int:
        """Samples of a batch: all."""
        return self.samples

    def init(self, key: Key[Array, ""]) -> Params:
        """No feature has a coefficient."""
        del key  # the start is given
        return {"coefficients": jnp.zeros(self.most)}

    def sample(self) -> FeatureSample:
        """The sample; that of fewer features is the same with the rest left out."""
        keys = jax.random.split(stream_key(jnp.asarray(self.data_seed, jnp.int32), DATA_STREAM), 4)
        inputs = jax.random.normal(keys[0], (self.samples, self.directions))
        weights = jax.random.normal(keys[1], (self.directions, self.most)) / math.sqrt(self.directions)
        direction = jax.random.normal(keys[2], (self.directions,))
        target = direction / jnp.linalg.norm(direction)
        with jax.default_matmul_precision("highest"):
            labels = inputs @ target + self.noise * jax.random.normal(keys[3], (self.samples,))
            features = jax.nn.relu(inputs @ weights) * (jnp.arange(self.most) < self.features)
        return FeatureSample(features, labels, weights, target)

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """All features over s, of shape (samples, most), and all labels over s."""
        del data, seed, step
        sample = self.sample()
        with jax.default_matmul_precision("highest"):
            squared = jnp.linalg.eigvalsh(sample.features @ sample.features.T)[-1]
        return sample.features / jnp.sqrt(squared), sample.labels / jnp.sqrt(squared)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Half the sum of squares over s^2."""
        features, labels = batch
        fitted = jnp.einsum("nj,j->n", features, params["coefficients"], precision="highest")
        return jnp.sum(jnp.square(fitted - labels)) / 2, {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """The mean of (f - b.x)^2 over all inputs, in closed form."""
        del data
        sample = self.sample()
        return {"test_error": exact_error(sample.weights, sample.target, params["coefficients"])}


def exact_error(weights: Array, target: Array, coefficients: Array) -> Float[Array, ""]:
    """The mean of (sum_j a_j relu(w_j.x) - b.x)^2 over normal inputs of unit variance.

    The mean of relu(w.x) relu(v.x) is |w| |v| (sin t + (pi - t) cos t) / (2 pi) at an angle t between w and v (Cho &
    Saul 2009, the kernel of order 1), that of relu(w.x) b.x is w.b / 2.

    Args:
        weights: w, one column each.
        target: b.
        coefficients: a.
    """
    with jax.default_matmul_precision("highest"):
        norms = jnp.linalg.norm(weights, axis=0)
        cosine = jnp.clip((weights / norms).T @ (weights / norms), -1, 1)
        angle = jnp.arccos(cosine)
        kernel = (jnp.sin(angle) + (jnp.pi - angle) * cosine) / (2 * jnp.pi)
        scaled = coefficients * norms
        return scaled @ kernel @ scaled - coefficients @ (weights.T @ target) + target @ target
