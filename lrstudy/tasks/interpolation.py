"""Regression of samples that can be fitted exactly, from single examples: which of the minima does noise choose?"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, data_key, stream_key

Sample = tuple[Float[Array, "batch directions"], Float[Array, " batch"]]


class Interpolation(Task):
    """Mean of (f(x) - y)^2 / 2 over a batch drawn with replacement from a sample that some parameters fit exactly.

    At such parameters the noise of a batch vanishes, and descent stays or is thrown out by its size alone: with single
    examples it is stable on average only if the trace of the Hessian is at most 2 / rate, where with the whole sample
    its largest eigenvalue must be (Wu & Su 2023, The implicit regularization of dynamical stability in stochastic
    gradient descent, arXiv 2305.17490; Ma & Ying 2021, arXiv 2105.13462).

    Attributes:
        data_seed: of the sample.
        samples: in it.
        directions: size of an input.
        batch_size: examples a step; ``None``: the whole sample, in its order.
    """

    lane_fields = ("data_seed",)
    objective = "sample_loss"

    data_seed: int = 0
    samples: int = 20
    directions: int = 20
    batch_size: int | None = 1

    def __post_init__(self) -> None:
        """Checks the fields that are plain numbers.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(samples=1, directions=1, data_seed=0)
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"task.batch_size must be an int of at least 1 or none, got {self.batch_size!r}")

    def tokens_per_step(self) -> int:
        """Examples in a batch."""
        return self.samples if self.batch_size is None else self.batch_size

    def sample(self) -> Sample:
        """The inputs and labels of all examples."""
        inputs_key, teacher_key = jax.random.split(stream_key(jnp.asarray(self.data_seed, jnp.int32), DATA_STREAM))
        inputs = self.inputs(inputs_key)
        return inputs, self.outputs(self.teacher(teacher_key), inputs)

    def inputs(self, key: Key[Array, ""]) -> Float[Array, "samples directions"]:
        """All inputs: normal of variance 1."""
        return jax.random.normal(key, (self.samples, self.directions))

    def teacher(self, key: Key[Array, ""]) -> Params:
        """Parameters that fit the sample: its labels are their outputs."""
        raise NotImplementedError

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """F of every input."""
        raise NotImplementedError

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Inputs and labels."""
        del data
        inputs, labels = self.sample()
        if self.batch_size is None:
            return inputs, labels
        places = jax.random.randint(data_key(seed, step), (self.batch_size,), 0, self.samples)
        return inputs[places], labels[places]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean of (f(x) - y)^2 / 2 over the batch."""
        inputs, labels = batch
        return jnp.mean(jnp.square(self.outputs(params, inputs) - labels)) / 2, {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """The loss of the sample, and ``tangent_trace``.

        That is the mean over examples of the squared norm of the gradient of f, the trace of the Gauss-Newton matrix:
        that of the Hessian where the sample is fitted.
        """
        del data
        inputs, labels = self.sample()

        def output(params: Params, one: Float[Array, " directions"]) -> Float[Array, ""]:
            return self.outputs(params, one[None])[0]

        gradients = jax.vmap(jax.grad(output), in_axes=(None, 0))(params, inputs)
        squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradients))
        return {
            "sample_loss": self.loss(params, (inputs, labels))[0],
            "tangent_trace": jnp.asarray(squares / self.samples),
        }


class OrthogonalRegression(Interpolation):
    """Linear regression f = w.x of orthogonal examples, on which the threshold is exact.

    The examples are unit vectors, so the Hessian is 1 / samples along each of them, and its trace 1 wherever w is. A
    step from a single example multiplies that example's error by 1 - rate and leaves the others: the loss falls if the
    rate is below 2 = 2 / trace and grows above, where descent on the whole sample bears rates up to 2 samples.

    There are at least as many ``directions`` as ``samples``.
    """

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        if self.directions < self.samples:
            rule = f"at least task.samples ({self.samples})"
            raise ValueError(f"task.directions must be {rule}, got {self.directions!r}")

    def inputs(self, key: Key[Array, ""]) -> Float[Array, "samples directions"]:
        """The unit vectors."""
        del key  # nothing is drawn
        return jnp.eye(self.samples, self.directions)

    def teacher(self, key: Key[Array, ""]) -> Params:
        """Normal."""
        return {"w": jax.random.normal(key, (self.directions,))}

    def init(self, key: Key[Array, ""]) -> Params:
        """Zero."""
        del key  # the start is given
        return {"w": jnp.zeros(self.directions)}

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """The linear function w.x."""
        return inputs @ params["w"]


class DiagonalRegression(Interpolation):
    """A diagonal linear network f = (u u - v v).x on fewer normal examples than directions (Woodworth et al. 2020).

    Of the many functions that fit the sample those of small trace are sparse ones, and so is the teacher.

    Attributes:
        nonzeros: of the teacher's coefficients, each 1.
        initial_size: of all u and v.
    """

    lane_fields = ("data_seed", "initial_size")

    directions: int = 40
    nonzeros: int = 3
    initial_size: float = 0.5

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        if not 1 <= self.nonzeros <= self.directions:
            raise ValueError(f"task.nonzeros must be in [1, directions ({self.directions})], got {self.nonzeros!r}")

    def teacher(self, key: Key[Array, ""]) -> Params:
        """The first ``nonzeros`` coefficients are 1; the inputs have no order that this could favour."""
        del key  # nothing is drawn
        return {
            "u": jnp.where(jnp.arange(self.directions) < self.nonzeros, 1.0, 0.0),
            "v": jnp.zeros(self.directions),
        }

    def init(self, key: Key[Array, ""]) -> Params:
        """The zero function, every u and v alike."""
        del key  # the start is given
        same = jnp.full(self.directions, 1.0) * self.initial_size
        return {"u": same, "v": same}

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """The linear function of coefficients u u - v v."""
        return inputs @ (jnp.square(params["u"]) - jnp.square(params["v"]))


class ReluRegression(Interpolation):
    """A two-layer ReLU network f = a.relu(W x / D^1/2) / n^1/2, with labels of a small one of the same kind.

    Attributes:
        width: n, hidden units.
        teacher_width: of the network that labels the sample, at most ``width``.
    """

    directions: int = 10
    width: int = 50
    teacher_width: int = 3

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        if not 1 <= self.teacher_width <= self.width:
            raise ValueError(f"task.teacher_width must be in [1, width ({self.width})], got {self.teacher_width!r}")

    def teacher(self, key: Key[Array, ""]) -> Params:
        """As the start, but for the units beyond the first, which are zero, and a function of the same size."""
        params = self.init(key)
        kept = jnp.arange(self.width) < self.teacher_width
        scale = math.sqrt(self.width / self.teacher_width)
        return {"input": params["input"], "readout": jnp.where(kept, params["readout"], 0) * scale}

    def init(self, key: Key[Array, ""]) -> Params:
        """Normal weights of variance 1: ``input`` W transposed, ``readout`` a."""
        first, second = jax.random.split(key)
        return {
            "input": jax.random.normal(first, (self.directions, self.width)),
            "readout": jax.random.normal(second, (self.width,)),
        }

    def outputs(self, params: Params, inputs: Float[Array, "batch directions"]) -> Float[Array, " batch"]:
        """F of every input."""
        hidden = jax.nn.relu(inputs @ params["input"] / math.sqrt(self.directions))
        return hidden @ params["readout"] / math.sqrt(self.width)
