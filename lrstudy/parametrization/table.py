"""The parametrizations that a configuration can name, with what there is to choose about each."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import optax

from lrstudy.parametrization.model import Parametrized, starts_at_zero
from lrstudy.parametrization.rules import FORMS, attention_scale, logit_scale, rules
from lrstudy.parametrization.specs import Specs, infer_specs
from lrstudy.parametrization.transform import DECAYS, check_starts, transform

Shapes = Callable[[nn.Module], Any]

DECIDED = ("attention_scale", "branch_scale", "logit_scale")
"""Fields of a model that its parametrization decides, where the model has them."""


class Scaled(NamedTuple):
    """A model under a parametrization, and what the optimizer has to know.

    Attributes:
        model: initialises and applies like the module.
        specs: of its tensors.
        depth_multiplier: depth over base depth.
    """

    model: Parametrized
    specs: Specs
    depth_multiplier: float


@dataclasses.dataclass(frozen=True)
class Parametrization:
    """A named parametrization relative to a base model, at whose width and depth it changes nothing.

    Attributes:
        base_width: width of the base model.
        base_heads: attention heads of the base model; ``None``: as many as the model has, so that heads grow wider.
        base_layers: residual blocks of the base model; ``None``: as many as the model has.
        alpha: exponent of the depth: 1 is CompleteP, 1/2 depth-muP.
        zero_readout: the readout starts at zero.
        zero_query: queries of attention start at zero, unless they are normalised; see ``starts_at_zero``.
        scale_eps: Adam's epsilon falls with the gradients.
        decay: ``coupled`` or ``independent``; see ``transform``.
        decay_exponent: power of the fan-in's growth that multiplies a tensor's decay.
    """

    name: ClassVar[str]

    base_width: int = 64
    base_heads: int | None = None
    base_layers: int | None = None
    alpha: float = 1.0
    zero_readout: bool = True
    zero_query: bool = True
    scale_eps: bool = True
    decay: str = "coupled"
    decay_exponent: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: a size is below 1, an exponent not finite, or the decay unknown.
        """
        for field in ("base_width", "base_heads", "base_layers"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"parametrization.{field} must be an int of at least 1, got {value!r}")
        for field in ("alpha", "decay_exponent"):
            if not math.isfinite(getattr(self, field)):
                raise ValueError(f"parametrization.{field} must be finite, got {getattr(self, field)!r}")
        if self.decay not in DECAYS:
            raise ValueError(f"parametrization.decay must be one of {list(DECAYS)}, got {self.decay!r}")

    @property
    def own_form(self) -> str:
        """How the parametrization is written; only muP has more than one way."""
        return "lib"

    def scale(self, module: nn.Module, shapes: Shapes) -> Scaled:
        """The module under this parametrization.

        Args:
            module: with ``spec_overrides`` and the fields ``width`` and, for what is asked of them, ``heads`` and
                ``layers``.
            shapes: module to the tree of its parameters' shapes.

        Raises:
            ValueError: the module lacks a field that the base model is to differ in, or refuses the base model's
                value; its shapes do not say what a tensor is.
        """
        base = _cloned(module, width=self.base_width, heads=self.base_heads)
        depth = 1.0
        if self.base_layers is not None:
            _field(module, "branch_scale", "base_layers")
            depth = _field(module, "layers", "base_layers") / self.base_layers
        decided = _decided(module, base, self.name, depth**-self.alpha)
        target: nn.Module = module.clone(**decided)
        overrides = getattr(module, "spec_overrides", tuple)()
        specs = infer_specs(shapes(base), shapes(target), overrides)
        # Multipliers and initial values do not depend on the optimizer.
        found = {
            path: rules(spec, parametrization=self.name, form=self.own_form, optimizer="adam")
            for path, spec in specs.items()
        }
        zero = starts_at_zero(module, specs, readout=self.zero_readout, query=self.zero_query)
        return Scaled(Parametrized.of(target, found, zero), specs, depth)

    def transform(
        self, optimizer: str, scaled: Scaled, learning_rate: Any, **hyperparameters: Any
    ) -> optax.GradientTransformation:
        """The optimizer under this parametrization, its decay among the hyperparameters; see ``transform``.

        Raises:
            ValueError: as ``transform`` and ``check_starts``.
        """
        check_starts(optimizer, scaled.model.zero, hyperparameters)
        return transform(
            optimizer,
            scaled.specs,
            learning_rate,
            parametrization=self.name,
            form=self.own_form,
            decay=self.decay,
            decay_exponent=self.decay_exponent,
            scale_eps=self.scale_eps,
            depth_multiplier=scaled.depth_multiplier,
            alpha=self.alpha,
            **{"eps": None, **hyperparameters},
        )


class Standard(Parametrization):
    """Fan-in initialisation and one rate for all tensors, as most code has it; it drifts with the width."""

    name = "sp"


class StandardPerLayer(Parametrization):
    """Fan-in initialisation with the rates of every layer at full alignment (Everett et al. 2024, arXiv 2407.05872)."""

    name = "sp_per_layer"


class NTK(Parametrization):
    """Multipliers in place of initial sizes, one rate: the kernel limit (Jacot et al. 2018, arXiv 1806.07572)."""

    name = "ntk"


class NTKPerLayer(Parametrization):
    """NTK's multipliers with the rates of every layer; the function and its path are those of ``sp_per_layer``."""

    name = "ntk_per_layer"


class MeanField(Parametrization):
    """NTK's multipliers with a readout of size 1/m; the function and its path are those of ``mup``."""

    name = "mean_field"


@dataclasses.dataclass(frozen=True)
class MuP(Parametrization):
    """Maximal update: every layer learns features at every width (Yang et al. 2022, arXiv 2203.03466).

    Attributes:
        form: ``lib``, ``t3`` or ``t9``, the same function written with other constants; see ``rules``.
    """

    name = "mup"

    form: str = "lib"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: also for an unknown form.
        """
        super().__post_init__()
        if self.form not in FORMS:
            raise ValueError(f"parametrization.form must be one of {list(FORMS)}, got {self.form!r}")

    @property
    def own_form(self) -> str:
        """The chosen form."""
        return self.form


TABLE: dict[str, type[Parametrization]] = {
    row.name: row for row in (Standard, StandardPerLayer, NTK, NTKPerLayer, MeanField, MuP)
}
"""Name to class; the names are those of ``rules``."""


def _field(module: nn.Module, name: str, needed_by: str) -> Any:
    if not hasattr(module, name):
        raise ValueError(f"parametrization.{needed_by} must be left out: {type(module).__name__} has no {name}")
    return getattr(module, name)


def _cloned(module: nn.Module, **sizes: int | None) -> Any:
    """The base model."""
    given: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    for name in given:
        _field(module, name, f"base_{name}")
    try:
        return module.clone(**given)
    except ValueError as error:
        raise ValueError(f"parametrization.base_width must give a base model: {error}") from error


def _decided(module: Any, base: Any, name: str, branch_scale: float) -> dict[str, Any]:
    """The fields of the model that follow from the parametrization."""
    found = {"branch_scale": branch_scale}
    if hasattr(module, "heads"):
        found["attention_scale"] = attention_scale(module.width // module.heads, base.width // base.heads, name)
    if getattr(module, "tied", False):
        found["logit_scale"] = logit_scale(module.width / base.width, name)
    return {field: value for field, value in found.items() if hasattr(module, field)}
