"""A model under a parametrization: its tensors scaled at initialisation and in the forward pass."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from lrstudy.parametrization.rules import Rule
from lrstudy.parametrization.specs import path_of


@dataclasses.dataclass(frozen=True)
class Parametrized:
    """A linen module whose tensors carry factors; it initialises and applies like the module.

    The factors are static: a factor of 1 costs nothing, and the model at the base width is the module itself.

    Attributes:
        module: the model.
        factors: path to multiplier and initial factor of every tensor, in the order of the tree.
        zero: regular expressions, searched in ``a/b/kernel``, of the tensors that start at zero.
    """

    module: nn.Module
    factors: tuple[tuple[str, float, float], ...]
    zero: tuple[str, ...] = ()

    @classmethod
    def of(cls, module: nn.Module, rules: Mapping[str, Rule], zero: Sequence[str] = ()) -> "Parametrized":
        """The module under these rules.

        Args:
            module: the model.
            rules: path to rule for every tensor.
            zero: see the class; one that no tensor has is ignored, as a model without attention has no query.
        """
        return cls(module, tuple((path, rule.mult, rule.init) for path, rule in rules.items()), tuple(zero))

    def init(self, key: Key[Array, ""], *inputs: Any) -> dict[str, Any]:
        """The module's initial variables, its parameters scaled."""
        variables = dict(self.module.init(key, *inputs))
        initial = {path: factor for path, _, factor in self.factors}

        def scaled(path: Any, leaf: Array) -> Array:
            name = path_of(path)
            if any(re.search(pattern, name) for pattern in self.zero):
                return jnp.zeros_like(leaf)
            return _times(leaf, initial[name])

        return {**variables, "params": jax.tree_util.tree_map_with_path(scaled, variables["params"])}

    def effective(self, params: Any) -> Any:
        """The tensors as the module sees them: parameters times multipliers."""
        multipliers = {path: factor for path, factor, _ in self.factors}
        return jax.tree_util.tree_map_with_path(lambda path, leaf: _times(leaf, multipliers[path_of(path)]), params)

    def apply(self, variables: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
        """The module's outputs at the effective parameters; options are those of ``linen.Module.apply``."""
        return self.module.apply({**variables, "params": self.effective(variables["params"])}, *inputs, **options)


def _times(leaf: Array, factor: float) -> Array:
    return leaf if factor == 1 else leaf * jnp.asarray(factor, leaf.dtype)
