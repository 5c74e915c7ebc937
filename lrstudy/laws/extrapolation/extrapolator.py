"""A trained network as a value: the beginning of a curve in, the distribution of its rest out."""

import dataclasses
import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from jax import lax
from jaxtyping import Array, Float

from lrstudy.laws.extrapolation.bars import Bars, log_density
from lrstudy.laws.extrapolation.prior import LENGTH
from lrstudy.laws.extrapolation.training import Recipe, begin

_CASES = 32
"""Curves of a pass in `Extrapolator.log_densities`, which bounds its memory."""


@dataclasses.dataclass(frozen=True)
class Extrapolator:
    """A network fitted to the prior.

    Attributes:
        params: of the network.
        borders: of its bars.
        recipe: what the network is and how it was trained.
    """

    params: Any
    borders: Float[Array, " borders"]
    recipe: Recipe

    def predict(self, prefix: Float[np.ndarray, " observed"]) -> Bars:
        """The distributions of every point after the prefix.

        Args:
            prefix: the first T values of a curve, 1 <= T < 100.

        Returns:
            Bars of shape (100 - T, bars): the points T + 1, ..., 100.

        Raises:
            ValueError: the prefix is empty or whole, or holds a value that is not finite.
        """
        values = np.asarray(prefix, np.float32)
        if values.ndim != 1 or not 1 <= len(values) < LENGTH or not np.isfinite(values).all():
            raise ValueError(f"prefix must be 1 to {LENGTH - 1} finite values, got shape {values.shape}")
        padded = jnp.asarray(np.pad(values, (0, LENGTH - len(values))))
        logits = _all_logits(self.recipe, self.params, self.borders, padded[None], jnp.int32(len(values)))[0]
        return Bars(jnp.asarray(self.borders), logits[len(values) :])

    def log_densities(self, curves: Float[Array, "cases 100"], cutoff: int) -> Float[np.ndarray, "cases rest"]:
        """How likely each point after a cut-off is, given those before it.

        Args:
            curves: whole curves.
            cutoff: observed points T of every curve, 1 <= T < 100.

        Returns:
            log densities of the points T + 1, ..., 100.
        """
        whole = np.pad(np.asarray(curves, np.float32), ((0, -len(curves) % _CASES), (0, 0)))
        logs = _all_log_densities(self.recipe, self.params, self.borders, jnp.asarray(whole), jnp.int32(cutoff))
        return np.asarray(logs)[: len(curves), cutoff:]

    @functools.cached_property
    def digest(self) -> str:
        """Of its bytes: networks that were trained alike on one machine have the same."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """The parameters, borders and recipe as bytes."""
        state = {"params": self.params, "borders": self.borders, "recipe": dataclasses.asdict(self.recipe)}
        return serialization.msgpack_serialize(jax.tree.map(_plain, state))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Extrapolator":
        """What `to_bytes` made.

        Raises:
            ValueError: the bytes are something else.
        """
        try:
            state: Any = serialization.msgpack_restore(data)
            recipe, borders, params = Recipe(**state["recipe"]), state["borders"], state["params"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"data must be an extrapolator's bytes: {error}") from error
        expected = jax.eval_shape(lambda: begin(jax.random.key(0), recipe).params)
        shapes = [jax.tree.map(np.shape, tree) for tree in (params, expected)]
        if shapes[0] != shapes[1] or len(borders) != recipe.bars + 1:
            raise ValueError("data must be an extrapolator's bytes: its parameters are not those of its network")
        return cls(params, jnp.asarray(borders), recipe)


def _plain(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


@functools.partial(jax.jit, static_argnums=0)
def _all_logits(recipe: Recipe, params: Any, borders: Array, curves: Array, cutoff: Array) -> Array:
    """Logits of every point; those up to the cut-off are void."""
    shape = len(curves), LENGTH
    times = jnp.broadcast_to(jnp.arange(1, LENGTH + 1), shape)
    return recipe.logits(params, jnp.asarray(borders), (curves, jnp.broadcast_to(cutoff, shape), times))


@functools.partial(jax.jit, static_argnums=0)
def _all_log_densities(recipe: Recipe, params: Any, borders: Array, curves: Array, cutoff: Array) -> Array:
    def some(values: Array) -> Array:
        return log_density(jnp.asarray(borders), _all_logits(recipe, params, borders, values, cutoff), values)

    return lax.map(some, curves.reshape(-1, _CASES, LENGTH)).reshape(-1, LENGTH)
