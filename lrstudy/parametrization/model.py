"""A model under a parametrization: its tensors scaled at initialisation and in the forward pass."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from lrstudy.parametrization.rules import Rule
from lrstudy.parametrization.specs import Specs, path_of


@dataclasses.dataclass(frozen=True)
class Parametrized:
    """A linen module whose tensors carry factors; it initialises and applies like the module.

    The factors are static: a factor of 1 costs nothing, and the model at the base width is the module itself.

    Attributes:
        module: the model.
        factors: path to multiplier and initial factor of every tensor, in the order of the tree.
        zero: paths of the tensors that start at zero; see ``starts_at_zero``.
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
            zero: see the class.
        """
        return cls(module, tuple((path, rule.mult, rule.init) for path, rule in rules.items()), tuple(zero))

    def init(self, key: Key[Array, ""], *inputs: Any, **options: Any) -> dict[str, Any]:
        """The module's initial variables, its parameters scaled; options are those of ``linen.Module.init``."""
        variables = dict(self.module.init(key, *inputs, **options))
        initial = {path: factor for path, _, factor in self.factors}

        def scaled(path: Any, leaf: Array) -> Array:
            name = path_of(path)
            if name in self.zero:
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


def starts_at_zero(module: nn.Module, specs: Specs, *, readout: bool, query: bool) -> tuple[str, ...]:
    """The paths of the tensors that are to start at zero (Yang et al. 2022, arXiv 2203.03466, appendix D.2).

    A tied table is no readout that could. Queries that are normalised start as they are: at zero their norm has a
    gradient a thousand times too large.

    Args:
        module: the model.
        specs: of its tensors.
        readout: whether the readout does, which is known by its role.
        query: whether the queries of attention do, which are known by their name, ``query/kernel``.
    """
    readouts = [path for path, spec in specs.items() if readout and spec.role == "output"]
    normalised = getattr(module, "qk_norm", False)
    queries = [path for path in specs if query and not normalised and path.split("/")[-2:] == ["query", "kernel"]]
    return (*readouts, *queries)


def _times(leaf: Array, factor: float) -> Array:
    return leaf if factor == 1 else leaf * jnp.asarray(factor, leaf.dtype)
