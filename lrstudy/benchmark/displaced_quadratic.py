"""A noisy quadratic whose optimum is not at the origin, where every weight decay would find it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lrstudy.tasks.base import Batch, Data, Metrics, Params
from lrstudy.tasks.quadratic import NoisyQuadratic


class DisplacedQuadratic(NoisyQuadratic):
    """``NoisyQuadratic`` in the displacement from its start, which is where parameters of zero are."""

    def init(self, key: Key[Array, ""]) -> Params:
        """Every chain at ``start``."""
        return jax.tree.map(jnp.zeros_like, super().init(key))

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """That of ``NoisyQuadratic`` at start + displacement."""
        return super().loss(self._placed(params), batch)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """That of ``NoisyQuadratic`` at start + displacement."""
        return super().evaluate(self._placed(params), data)

    def _placed(self, params: Params) -> Params:
        return {"position": params["position"] + jnp.asarray(self.start, float)}
