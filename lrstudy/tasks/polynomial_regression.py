"""Regression on a polynomial by a small network whose output scale takes it from a kernel machine to features."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key


class PolynomialRegression(Task):
    """Learns y = (b.x)^2 / 2 from a sample of normal inputs by f = (alpha / N) sum_i (phi(w_i.x) - phi(w_i(0).x)).

    phi(h) = h + (eps / 2) h^2, the loss is (f - y)^2 / 2, the N weights start normal of variance 1 / D in each of the D
    directions, and |b| = 1. Inputs and initial weights are the same from every direction, so b is the first axis. The
    model, without readout weights, follows Kumar et al. 2023, arXiv 2310.06110, who change laziness (alpha) and
    alignment (eps) in such a network; the exact form is ours, as are the sizes.

    What is trained is the displacement u_i = w_i - w_i(0), which starts at zero: gradient descent on it is that on the
    weights, and it keeps its precision where large alpha leaves the weights almost where they were. With s = alpha u
    and the rate eta N / alpha^2, descent is

        s_i <- s_i - eta mean_x (f - y) phi'((w_i(0) + s_i / alpha).x) x,
        f = (1 / N) sum_i (phi'(w_i(0).x) s_i.x + eps / (2 alpha) (s_i.x)^2),

    smooth in 1 / alpha: as alpha grows it becomes that of the model linearised in s, at every step, and what it differs
    by (so also the change of the kernel) falls like 1 / alpha. At the other end, f equals y where mean_i w_i w_i^T
    has grown by b b^T / (alpha eps), beside which the initial identity / D is small once alpha eps is well below D.

    ``initial`` is a part of the parameters that has no gradient. A weight decay would pull the displacement back to
    zero, which is towards the initial weights, and would shrink ``initial`` as well: train it without.

    Attributes:
        alpha: output scale; gradient descent wants a rate proportional to 1 / alpha^2.
        eps: the quadratic part of phi; the smaller, the less of the initial tangent kernel is of the target's kind.
        directions: D, size of an input.
        units: N.
        samples: of training.
        batch_size: samples a step, by a fresh permutation for each pass; ``None``: all of them.
        data_seed: of the inputs; a run's seed is that of the initial weights and of the permutations.
    """

    lane_fields = ("alpha", "eps")
    objective = "test_loss"

    alpha: float = 1.0
    eps: float = 0.25
    directions: int = 30
    units: int = 100
    samples: int = 200
    batch_size: int | None = None
    data_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"task.alpha must be a finite positive number, got {self.alpha!r}")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"task.eps must be a finite number of at least 0, got {self.eps!r}")
        self.check_least(directions=1, units=1, samples=1, data_seed=0)
        if self.batch_size is not None and not 1 <= self.batch_size <= self.samples:
            raise ValueError(f"task.batch_size must be in [1, samples] or none, got {self.batch_size!r}")

    def load(self) -> Data:
        """The inputs of training, normal of unit variance, of shape (samples, directions)."""
        shape = (self.samples, self.directions)
        return {"inputs": np.random.default_rng(self.data_seed).normal(size=shape).astype(np.float32)}

    def tokens_per_step(self) -> int:
        """Samples in a batch."""
        return self.samples if self.batch_size is None else self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial weights, and no displacement."""
        initial = jax.random.normal(key, (self.units, self.directions)) / math.sqrt(self.directions)
        return {"displacement": jnp.zeros_like(initial), "initial": initial}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Inputs of shape (batch, directions); the whole sample in its own order where that is the batch."""
        inputs = jnp.asarray(data["inputs"])
        if self.batch_size is None:
            return inputs
        epoch, position = jnp.divmod(step, self.samples // self.batch_size)
        order = jax.random.permutation(jax.random.fold_in(stream_key(seed, DATA_STREAM), epoch), self.samples)
        return inputs[jax.lax.dynamic_slice_in_dim(order, position * self.batch_size, self.batch_size)]

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """The centred output f, without the cancellation of a difference."""
        before, moved = _hidden(params, inputs)
        return self.alpha * jnp.mean(moved * (1 + self.eps * (before + moved / 2)), axis=1)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean of (f - y)^2 / 2 over the batch."""
        return jnp.mean(jnp.square(self.outputs(params, batch) - targets(batch))) / 2, {}

    def tangent_kernel(
        self, params: Params, inputs: Float[Array, "batch directions"]
    ) -> tuple[Float[Array, "batch batch"], Float[Array, "batch batch"]]:
        """The tangent kernel over alpha^2 / N at the initial weights, and what it has changed by since.

        The gradient of f by w_i is (alpha / N) phi'(w_i.x) x, so K(x, z) = (alpha^2 / N) x.z mean_i phi'(w_i.x)
        phi'(w_i.z), phi' = 1 + eps h. The change is computed from the displacement, without the cancellation of a
        difference.
        """
        before, moved = _hidden(params, inputs)
        slopes, added = 1 + self.eps * before, self.eps * moved
        gram = _inner(inputs, inputs) / before.shape[1]
        return gram * _inner(slopes, slopes), gram * (_inner(added, slopes + added) + _inner(slopes, added))

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Both losses, and how far the tangent kernel and the weights have come.

        ``test_loss`` is that of all inputs, in closed form. ``kernel_change`` is relative, in the Frobenius norm over
        the training inputs; ``kernel_alignment`` is y^T K y / (|K| |y|^2); ``displacement`` is relative to the initial
        weights.
        """
        inputs = jnp.asarray(data["inputs"])
        kernel, change = self.tangent_kernel(params, inputs)
        labels, now = targets(inputs), kernel + change
        with jax.default_matmul_precision("highest"):
            along = labels @ now @ labels / (labels @ labels)
            linear, quadratic = coefficients(self, params)
        return {
            "train_loss": self.loss(params, inputs)[0],
            "test_loss": mean_square(linear, quadratic.at[0, 0].add(-0.5)) / 2,
            "kernel_change": jnp.linalg.norm(change) / jnp.linalg.norm(kernel),
            "kernel_alignment": along / jnp.linalg.norm(now),
            "displacement": jnp.linalg.norm(params["displacement"]) / jnp.linalg.norm(params["initial"]),
        }


def targets(inputs: Float[Any, "batch directions"]) -> Float[Any, " batch"]:
    """The label of every input."""
    return inputs[:, 0] ** 2 / 2


def coefficients(task: PolynomialRegression, params: Any, *, linearised: bool = False) -> tuple[Any, Any]:
    """The a and the symmetric B of f(x) = a.x + x^T B x.

    Args:
        task: its scale and activation.
        params: arrays of JAX or NumPy.
        linearised: leave out what is of second order in the displacement.

    Returns:
        Arrays of shapes (directions,) and (directions, directions), of the parameters' kind.
    """
    moved, initial = params["displacement"], jax.lax.stop_gradient(params["initial"])
    mixed = moved.T @ initial
    second = mixed + mixed.T if linearised else mixed + mixed.T + moved.T @ moved
    return task.alpha * moved.mean(0), task.alpha * task.eps / (2 * len(moved)) * second


def mean_square(linear: Any, quadratic: Any) -> Any:
    """The mean of (a.x + x^T B x)^2 over normal inputs of unit variance, |a|^2 + 2 |B|^2 + (tr B)^2.

    Args:
        linear: a.
        quadratic: B, symmetric.
    """
    return (linear**2).sum() + 2 * (quadratic**2).sum() + quadratic.trace() ** 2


def linear_path(
    task: PolynomialRegression,
    initial: Float[np.ndarray, "units directions"],
    learning_rate: float,
    steps: Sequence[int],
) -> list[Float[np.ndarray, "units directions"]]:
    """Displacements of the linearised model under full-batch gradient descent at a constant rate: kernel regression.

    With the features J (samples by parameters) at the initial weights and K = J J^T, the residuals after k updates are
    -(1 - lr K / P)^k y, so the displacement is lr / P J^T (sum_{j<k} (1 - lr K / P)^j) y; in float64.

    Args:
        task: whose sample is learned.
        initial: weights.
        learning_rate: of every update.
        steps: counts of updates.

    Returns:
        One displacement for every count.
    """
    inputs = task.load()["inputs"].astype(np.float64)
    start = initial.astype(np.float64)
    slopes = 1 + task.eps * inputs @ start.T
    scale = task.alpha / len(start)
    values, vectors = np.linalg.eigh(scale**2 * (inputs @ inputs.T) * (slopes @ slopes.T))
    rates = learning_rate * np.maximum(values, 0) / len(inputs)
    along = vectors.T @ targets(inputs)
    paths = []
    for count in steps:
        with np.errstate(divide="ignore", invalid="ignore"):
            summed = np.where(rates > 0, (1 - (1 - rates) ** count) / rates, count)
        weights = learning_rate / len(inputs) * (vectors @ (summed * along))
        paths.append(scale * (slopes * weights[:, None]).T @ inputs)
    return paths


def _hidden(params: Any, inputs: Array) -> tuple[Array, Array]:
    """The preactivations at the initial weights and what they have changed by, both of shape (batch, units)."""
    return _inner(inputs, jax.lax.stop_gradient(params["initial"])), _inner(inputs, params["displacement"])


def _inner(first: Array, second: Array) -> Array:
    return jnp.einsum("bi,ci->bc", first, second, precision="highest")
