"""Linear regression whose samples differ in the noise of their labels, and the order in which they are visited."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key
from lrstudy.tasks.chains import chain_loss, check_chains, standard_error
from lrstudy.tasks.ordering import check_ordering, qualities, visited

_SAMPLE_STREAM = 2**31 - 1


class NoisyRegression(Task):
    """Labels y = sum_i x_i + noise, features x_i normal of variance lambda_i, loss (x w - y)^2 / 2, from w = 0.

    The variance of a sample's noise falls geometrically with its quality. A sample is the same whenever it is visited.

    Attributes:
        eigenvalues: lambda, the variance of every feature and so the curvature of its direction.
        worst_noise: variance of the noise of the worst sample's label.
        best_noise: that of the best.
        ordering: 0 visits the samples at random, 1 from the worst to the best (see ``ordering.visited``).
        samples: of one pass.
        batch_size: samples a step; a pass has ``samples // batch_size`` steps.
        chains: independent regressions, each with samples of its own, that are visited in one order.
    """

    lane_fields = ("eigenvalues", "worst_noise", "best_noise", "ordering")
    objective = "excess_loss"

    eigenvalues: tuple[float, ...] = tuple(1 / i for i in range(1, 17))
    worst_noise: float = 10.0
    best_noise: float = 1.0
    ordering: float = 0.0
    samples: int = 1024
    batch_size: int = 1
    chains: int = 16

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        check_chains(self.chains)
        check_ordering(self.ordering, self.samples)
        for name in ("worst_noise", "best_noise"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"task.{name} must be a finite positive variance, got {getattr(self, name)!r}")
        if not self.eigenvalues or not all(0 <= variance < np.inf for variance in self.eigenvalues):
            raise ValueError(f"task.eigenvalues must be one or more finite variances, got {self.eigenvalues!r}")
        if not 1 <= self.batch_size <= self.samples:
            raise ValueError(f"task.batch_size must be in [1, samples], got {self.batch_size!r}")

    def tokens_per_step(self) -> int:
        """Samples of all chains."""
        return self.batch_size * self.chains

    def init(self, key: Key[Array, ""]) -> Params:
        """Every chain at zero."""
        del key  # the start is given
        return {"weights": jnp.zeros((self.chains, len(self.eigenvalues)))}

    def variances(self, samples: Int[Array, " batch"]) -> Float[Array, " batch"]:
        """The variance of the noise of these samples' labels."""
        worst, best = jnp.log(self.worst_noise), jnp.log(self.best_noise)
        return jnp.exp(worst + (best - worst) * qualities(self.samples)[samples])

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Features of shape (batch, chains, directions) and the noise of the labels, of shape (batch, chains)."""
        del data
        samples = visited(seed, step, self.ordering, (self.samples, self.batch_size))
        key = jax.random.fold_in(stream_key(seed, DATA_STREAM), _SAMPLE_STREAM)
        shape = (self.chains, len(self.eigenvalues) + 1)
        normal = jax.vmap(lambda sample: jax.random.normal(jax.random.fold_in(key, sample), shape))(samples)
        features = normal[..., 1:] * jnp.sqrt(jnp.asarray(self.eigenvalues))
        noise = normal[..., 0] * jnp.sqrt(self.variances(samples))[:, None]
        return features, noise

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean loss over samples and chains; the gradient of each chain is its own."""
        features, noise = batch
        # The label is sum_i x_i + noise, so it is the distance from the weights behind it, all 1, that counts.
        residuals = jnp.einsum("bcd,cd->bc", features, params["weights"] - 1, precision="highest") - noise
        losses = jnp.mean(0.5 * jnp.square(residuals), axis=0)
        return chain_loss(losses, jnp.zeros_like(losses)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Expected loss above that of the noise, mean over chains, and its standard error."""
        del data
        errors = params["weights"] - 1
        losses = 0.5 * jnp.square(errors) @ jnp.asarray(self.eigenvalues)
        return {"excess_loss": jnp.mean(losses), "excess_loss_se": standard_error(losses)}


def expected_variances(task: NoisyRegression, steps: int) -> Float[np.ndarray, " steps"]:
    """The variance of the labels' noise in every batch, in expectation over the order.

    Raises:
        ValueError: the order is neither random nor ascending, or there are more steps than one pass has.
    """
    if task.ordering not in (0, 1):
        raise ValueError(f"task.ordering must be 0 or 1, got {task.ordering!r}")
    length = task.samples // task.batch_size
    if steps > length:
        raise ValueError(f"steps must be at most the {length} of one pass, got {steps!r}")
    quality = (np.arange(task.samples) + 0.5) / task.samples
    variances = task.worst_noise ** (1 - quality) * task.best_noise**quality
    if task.ordering == 0:
        return np.full(steps, variances.mean())
    return variances[: length * task.batch_size].reshape(length, -1).mean(axis=1)[:steps]


def expected_excess(
    task: NoisyRegression, learning_rates: Float[np.ndarray, " steps"], weights: Mapping[int, float] | None = None
) -> float:
    """Exact expected excess loss of SGD, or of a weighted average of its checkpoints.

    The errors e = w - 1 are independent of the coming batch, whose features are normal, so their second moments C obey
    C_ij <- (1 - eta lambda_i)(1 - eta lambda_j) C_ij + eta^2 / B (lambda_i lambda_j C_ij + [i = j] lambda_i (sum_k
    lambda_k C_kk + s)), s being the variance of the labels' noise and B the size of a batch (from the fourth moments of
    a normal vector). The loss needs the diagonal alone. A later error's mean given an earlier one is that one times the
    product of the (1 - eta lambda) between them, which gives the cross terms of an average.

    Args:
        task: whose orders are random or ascending.
        learning_rates: the rate of every update, in order; of one pass at most.
        weights: count of updates to the weight of the parameters after them; by default the last ones alone.
    """
    steps = len(learning_rates)
    given = {steps: 1.0} if weights is None else weights
    lam, noise = np.asarray(task.eigenvalues, np.float64), expected_variances(task, steps)
    moment = np.ones_like(lam)  # E e_i^2
    total = np.zeros_like(lam)  # E of the square of the weighted sum so far, by direction
    cross = np.zeros_like(lam)  # E of the weighted sum so far times the current error
    for count in range(steps + 1):
        if count:
            eta, kept = learning_rates[count - 1], 1 - learning_rates[count - 1] * lam
            spread = lam * moment + np.sum(lam * moment) + noise[count - 1]
            moment = kept**2 * moment + eta**2 / task.batch_size * lam * spread
            cross = kept * cross
        if count in given:
            weight = given[count]
            total = total + weight**2 * moment + 2 * weight * cross
            cross = cross + weight * moment
    return float(0.5 * np.sum(lam * total))
