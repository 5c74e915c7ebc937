"""A noisy quadratic: any spectrum, any noise, many chains."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task, data_key
from lrstudy.tasks.chains import chain_loss, check_chains, check_noise, standard_error


class NoisyQuadratic(Task):
    """L(y) = 1/2 sum_i lambda_i y_i^2 with gradient noise of covariance diag(s).

    Under plain SGD at a constant rate eta the stationary loss is sum_i eta s_i / (2 (2 - eta lambda_i)): proportional
    to the rate times the *noise*, and to first order independent of the sharpness lambda (derived from the fixed
    point of m <- (1 - eta lambda)^2 m + eta^2 s; compare Wen et al. 2024, arXiv 2410.05192, section 3).

    Attributes:
        eigenvalues: lambda, the curvature of every direction.
        noise: s, the variance of the gradient noise of every direction.
        start: the initial coordinate in every direction.
        chains: independent copies trained side by side.
    """

    lane_fields = ("eigenvalues", "noise", "start")
    objective = "hill_loss"

    eigenvalues: tuple[float, ...] = (1.0, 0.1, 0.01)
    noise: tuple[float, ...] = (0.5, 0.5, 0.5)
    start: tuple[float, ...] = (1.0, 1.0, 1.0)
    chains: int = 2048

    def __post_init__(self) -> None:
        """Checks the fields that are plain numbers.

        Raises:
            ValueError: lengths differ, or a value is out of range.
        """
        if not len(self.eigenvalues) == len(self.noise) == len(self.start):
            lengths = (len(self.eigenvalues), len(self.noise), len(self.start))
            raise ValueError(f"task: eigenvalues, noise and start must have one length, got {lengths}")
        check_chains(self.chains)
        check_noise(*self.noise)

    def tokens_per_step(self) -> int:
        """One noise vector a chain."""
        return self.chains

    def init(self, key: Key[Array, ""]) -> Params:
        """Every chain at ``start``."""
        del key  # the start is given
        return {"position": jnp.tile(jnp.asarray(self.start, float), (self.chains, 1))}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Gradient noise of shape (chains, directions)."""
        del data
        shape = (self.chains, len(self.eigenvalues))
        return jax.random.normal(data_key(seed, step), shape) * jnp.sqrt(jnp.asarray(self.noise))

    def energies(self, params: Params) -> Float[Array, " chains"]:
        """The loss of every chain."""
        return 0.5 * jnp.square(params["position"]) @ jnp.asarray(self.eigenvalues)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean loss over chains; the gradient of each chain is its own."""
        forcing = jnp.sum(batch * params["position"], axis=-1)
        return chain_loss(self.energies(params), forcing), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean loss over chains and its standard error; every direction is a hill."""
        del data
        energies = self.energies(params)
        return {"hill_loss": jnp.mean(energies), "hill_loss_se": standard_error(energies)}


def stationary_loss(learning_rate: float, eigenvalues: tuple[float, ...], noise: tuple[float, ...]) -> float:
    """Stationary loss of SGD at a constant rate, sum_i eta s_i / (2 (2 - eta lambda_i)).

    Args:
        learning_rate: eta, below 2 / max(eigenvalues).
        eigenvalues: lambda.
        noise: s.

    Raises:
        ValueError: the rate is at or above the stability limit.
    """
    if learning_rate * max(eigenvalues) >= 2:
        raise ValueError(f"learning_rate must be below 2 / max(eigenvalues), got {learning_rate!r}")
    pairs = zip(eigenvalues, noise, strict=True)
    return sum(learning_rate * s / (2 * (2 - learning_rate * lam)) for lam, s in pairs)


def expected_loss(
    learning_rates: Float[np.ndarray | Array, " steps"],
    eigenvalues: tuple[float, ...],
    noise: tuple[float, ...],
    start: tuple[float, ...],
) -> float:
    """Exact expected loss after SGD with any schedule: m <- (1 - eta_t lambda)^2 m + eta_t^2 s, L = sum lambda m / 2.

    Args:
        learning_rates: the rate of every update, in order.
        eigenvalues: lambda.
        noise: s.
        start: initial coordinates.
    """
    total = 0.0
    for lam, s, y in zip(eigenvalues, noise, start, strict=True):
        second_moment = y * y
        for eta in learning_rates.tolist():
            second_moment = (1 - eta * lam) ** 2 * second_moment + eta * eta * s
        total += 0.5 * lam * second_moment
    return total
