"""Full-batch regression by a tanh network whose output scale decides whether wide networks learn features."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key

_TEST_SEED = 0


class TanhRegression(Task):
    """Learns y = x_1^2 - 1 + x_2 x_3 from a sample of normal inputs, by a tanh network under the loss (f - y)^2 / 2.

    All weights start normal of variance 1 and are multiplied by one over the root of their fan-in:

        h_0 = tanh(V x / D^1/2),   h_l = tanh(W_l h_{l-1} / n^1/2),   f = a.h_L / (gamma n^1/2),

    or, with residual branches, z_l = z_{l-1} + branch_scale W_l tanh(z_{l-1}) / n^1/2 from z_0 = V x / D^1/2, and f as
    above of tanh(z_L). Gradient descent with the rate eta gamma^2 is that of NTK's parametrization where gamma is 1,
    and that of mean field (muP written otherwise) where it is n^1/2: both are ``parametrization.rules`` at a base width
    of 1 with the rate eta. It is written here, and not as a model under a parametrization, for gamma is then a number,
    so that both are lanes of one program, and no tensor has constants of a base model. (The network is that of Noci et
    al. 2024, arXiv 2402.17457; sizes and target are ours.)

    The sample follows from a run's seed, and so do the weights.

    Attributes:
        gamma: divides the output.
        branch_scale: factor on every residual branch.
        width: n.
        layers: hidden matrices W, L of them.
        residual: whether they are the branches of a residual stack.
        directions: D, size of an input, of which three matter.
        samples: of training.
        batch_size: samples a step, by a fresh permutation for each pass; ``None``: all of them.
        test_samples: of the evaluation, the same for every run.
    """

    lane_fields = ("gamma", "branch_scale")
    objective = "test_loss"

    gamma: float = 1.0
    branch_scale: float = 1.0
    width: int = 64
    layers: int = 1
    residual: bool = False
    directions: int = 20
    samples: int = 64
    batch_size: int | None = None
    test_samples: int = 256

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        for name in ("gamma", "branch_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"task.{name} must be a finite positive number, got {getattr(self, name)!r}")
        self.check_least(width=1, layers=0, directions=3, samples=1, test_samples=1)
        if self.batch_size is not None and not 1 <= self.batch_size <= self.samples:
            raise ValueError(f"task.batch_size must be in [1, samples] or none, got {self.batch_size!r}")

    def load(self) -> Data:
        """The inputs of the evaluation, of shape (test_samples, directions)."""
        shape = (self.test_samples, self.directions)
        return {"inputs": np.random.default_rng(_TEST_SEED).normal(size=shape).astype(np.float32)}

    def tokens_per_step(self) -> int:
        """Samples in a batch."""
        return self.samples if self.batch_size is None else self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """Weights of size one: ``input`` V, ``hidden`` all W where there are any, ``readout`` a."""
        first, second, third = jax.random.split(key, 3)
        outer = {
            "input": jax.random.normal(first, (self.directions, self.width)),
            "readout": jax.random.normal(third, (self.width,)),
        }
        if not self.layers:
            return outer  # a checkpoint holds no empty array
        return {**outer, "hidden": jax.random.normal(second, (self.layers, self.width, self.width))}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Inputs of shape (batch, directions); the whole sample in its own order where that is the batch."""
        del data
        sample_key, order_key = jax.random.split(stream_key(seed, DATA_STREAM))
        inputs = jax.random.normal(sample_key, (self.samples, self.directions))
        if self.batch_size is None:
            return inputs
        epoch, position = jnp.divmod(step, self.samples // self.batch_size)
        order = jax.random.permutation(jax.random.fold_in(order_key, epoch), self.samples)
        return inputs[jax.lax.dynamic_slice_in_dim(order, position * self.batch_size, self.batch_size)]

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """F of every input."""
        root = math.sqrt(self.width)

        def block(
            z: Float[Array, "batch width"], weights: Float[Array, "width width"]
        ) -> tuple[Float[Array, "batch width"], None]:
            moved = jnp.tanh(z) @ weights / root
            return (z + self.branch_scale * moved if self.residual else moved), None

        z = inputs @ params["input"] / math.sqrt(self.directions)
        if self.layers:
            z, _ = jax.lax.scan(block, z, params["hidden"])
        return jnp.tanh(z) @ params["readout"] / (self.gamma * root)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean of (f - y)^2 / 2 over the batch."""
        return jnp.mean(jnp.square(self.outputs(params, batch) - targets(batch))) / 2, {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """The loss over inputs that no run trains on."""
        return {"test_loss": self.loss(params, jnp.asarray(data["inputs"]))[0]}


def targets(inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
    """The label of every input: of mean 0 and variance 3, uncorrelated with any linear function."""
    return inputs[:, 0] ** 2 - 1 + inputs[:, 1] * inputs[:, 2]
