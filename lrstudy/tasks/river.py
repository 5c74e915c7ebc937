"""A curved river valley in the plane."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task, data_key
from lrstudy.tasks.chains import chain_loss, check_chains, check_noise, standard_error


class CurvedRiver(Task):
    """L(x, y) = c/2 (y - sin x)^2 - g x: a winding river y = sin x that falls slowly between steep hills.

    The curve on which the gradient is parallel to the softest curvature is y = sin x up to terms of order slope over
    curvature.
    Gradient noise acts across the river only (on y), as in the theory of the river valley (Wen et al. 2024,
    arXiv 2410.05192): a large rate travels far along the river and bounces between the hills, a decay settles it.

    Attributes:
        curvature: c, the sharpness of the hills.
        slope: g, the fall of the river per unit of x.
        noise: variance of the gradient noise on y.
        chains: independent copies trained side by side, all starting at the origin.
    """

    lane_fields = ("curvature", "slope", "noise")
    objective = "expected_loss"

    curvature: float = 20.0
    slope: float = 0.005
    noise: float = 1.0
    chains: int = 2048

    def __post_init__(self) -> None:
        """Checks the fields that are plain numbers.

        Raises:
            ValueError: no chain, or a negative noise.
        """
        check_chains(self.chains)
        check_noise(self.noise)

    def tokens_per_step(self) -> int:
        """One noise draw a chain."""
        return self.chains

    def init(self, key: Key[Array, ""]) -> Params:
        """Every chain at the origin."""
        del key  # the start is given
        return {"x": jnp.zeros(self.chains), "y": jnp.zeros(self.chains)}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Gradient noise on y, shape (chains,)."""
        del data
        return jax.random.normal(data_key(seed, step), (self.chains,)) * jnp.sqrt(self.noise)

    def hill(self, params: Params) -> Float[Array, " chains"]:
        """The part of each chain's loss that lies above the river."""
        return 0.5 * self.curvature * jnp.square(params["y"] - jnp.sin(params["x"]))

    def energies(self, params: Params) -> Float[Array, " chains"]:
        """The loss of every chain."""
        return self.hill(params) - self.slope * params["x"]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean loss over chains; the gradient of each chain is its own."""
        return chain_loss(self.energies(params), batch * params["y"]), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean loss, its parts and the first chain's place, for the figure of the trajectories."""
        del data
        energies, hill = self.energies(params), self.hill(params)
        return {
            "expected_loss": jnp.mean(energies),
            "expected_loss_se": standard_error(energies),
            "hill_loss": jnp.mean(hill),
            "river_position": jnp.mean(params["x"]),
            "first_chain_x": params["x"][0],
            "first_chain_y": params["y"][0],
        }
