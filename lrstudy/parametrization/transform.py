"""Any optimizer of the table with the rates, epsilons and decay that a parametrization gives every tensor."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array

from lrstudy import optimizers
from lrstudy.parametrization.rules import Rule, rules
from lrstudy.parametrization.specs import Specs, path_of

Number = float | Array
DECAYS = ("coupled", "independent")
DECAY_MASKS = ("kernels", "all")

# Families whose update has an epsilon and does not see the gradient's scale: the one can be traded for the other.
_WITH_EPSILON = ("adam", "muon")


def rules_of(
    optimizer: str, specs: Specs, hyperparameters: Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Rule]:
    """The rule of every tensor under one optimizer of the table.

    Args:
        optimizer: row of ``optimizers.TABLE``.
        specs: path to spec.
        hyperparameters: those that differ from the row's defaults; some decide which column of the tables is used.
        **settings: see ``rules``.

    Raises:
        ValueError: an unknown name.
    """
    family = _row(optimizer).family(hyperparameters or {})
    return {path: rules(spec, optimizer=family, **settings) for path, spec in specs.items()}


def transform(
    optimizer: str,
    specs: Specs,
    learning_rate: Number | optax.Schedule,
    *,
    parametrization: str = "mup",
    form: str = "lib",
    weight_decay: Number = 0.0,
    decay: str = "coupled",
    decay_mask: str = "kernels",
    decay_exponent: float = 0.0,
    peak: Number | None = None,
    eps: Number | None = 1e-8,
    scale_eps: bool = True,
    depth_multiplier: float = 1.0,
    alpha: float = 0.0,
    **hyperparameters: Any,
) -> optax.GradientTransformation:
    """The optimizer under a parametrization; for the base model it is the row of the table itself.

    The order is: the row's direction, the tensor's factor on the rate, decay, rate. So a coupled decay is multiplied by
    the global rate alone and acts on tensors of every width alike, as in the ``mup`` library; a factor after the decay
    would let it fade as 1/m in hidden tensors, which no coordinate check shows. Adam's epsilon is scaled by dividing a
    tensor's gradients by the factor before the direction, whose other numbers do not see the gradient's scale: its
    moments are those of the scaled gradients.

    Args:
        optimizer: row of ``optimizers.TABLE``.
        specs: path to spec, of every parameter; see ``infer_specs``.
        learning_rate: a number or a schedule, for all tensors; what is tuned at the base width.
        parametrization: see ``rules``.
        form: see ``rules``.
        weight_decay: per update, times the rate (``coupled``), or times the schedule's share of its peak.
        decay: ``coupled``: theta - lr_t (factor * u + weight_decay * theta); ``independent``: theta - lr_t factor * u -
            (lr_t / peak) weight_decay * theta (Loshchilov & Hutter 2019, as Wortsman et al. 2023 use it).
        decay_mask: ``kernels``: tensors of two or more axes that are not gains or biases; ``all``.
        decay_exponent: power of the fan-in's growth that multiplies a tensor's decay; 0 keeps it, -1 lets it fall.
        peak: largest rate, for an independent decay under a schedule without an attribute of that name.
        eps: of the optimizers that have one; ``None``: the row's default.
        scale_eps: whether epsilon follows the gradients, as ``Rule.eps`` says; the ``mup`` library leaves it.
        depth_multiplier: see ``rules``.
        alpha: see ``rules``.
        **hyperparameters: of the row, numbers that may be traced.

    Raises:
        ValueError: an unknown name; an independent decay without a peak; a parameter without a spec (in ``update``).
    """
    for name, value, known in (("decay", decay, DECAYS), ("decay_mask", decay_mask, DECAY_MASKS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
    row = _row(optimizer)
    settings = {"parametrization": parametrization, "form": form, "depth_multiplier": depth_multiplier, "alpha": alpha}
    found = rules_of(optimizer, specs, hyperparameters, **settings)
    numbers = {**row.defaults, **hyperparameters}
    if "eps" in row.defaults and eps is not None and "eps" not in hyperparameters:
        numbers["eps"] = eps
    own_decay = "weight_decay" in row.defaults and (decay, decay_mask, decay_exponent) == ("coupled", "kernels", 0.0)
    if "weight_decay" in row.defaults:
        numbers["weight_decay"] = weight_decay if own_decay else 0.0
    before = {}
    if scale_eps and "eps" in row.defaults and row.family(hyperparameters) in _WITH_EPSILON:
        before = {path: 1 / rule.eps for path, rule in found.items()}
    after = {path: rule.lr for path, rule in found.items()}
    decayed = None
    if not own_decay and not _is_zero(weight_decay):
        strength = weight_decay if decay == "coupled" else weight_decay / _peak(learning_rate, peak)
        shares = {path: spec.m_in**decay_exponent for path, spec in specs.items()}
        decayed = _add_decay(strength, shares, optimizers.decay_mask if decay_mask == "kernels" else None)
    return row.build(learning_rate, around=_around(before, after, decayed), **numbers)


def scale_by_tree(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the update of every tensor by its factor; a factor of 1 costs nothing.

    Args:
        factors: path ``a/b/kernel`` to factor.
    """

    def scaled(path: Any, update: Array) -> Array:
        factor = _of(factors, path)
        return update if factor == 1 else update * factor

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scaled, updates))


def _around(
    before: Mapping[str, float], after: Mapping[str, float], decayed: optax.GradientTransformation | None
) -> Callable[[optax.GradientTransformation], optax.GradientTransformation] | None:
    """What is put around a row's direction; ``None`` where nothing is."""
    first = [scale_by_tree(before)] if any(factor != 1 for factor in before.values()) else []
    last = [scale_by_tree(after)] if any(factor != 1 for factor in after.values()) else []
    if decayed is not None:
        last.append(decayed)
    if not first and not last:
        return None
    return lambda direction: optax.chain(*first, direction, *last)


def _add_decay(
    strength: Number, shares: Mapping[str, float], mask: Callable[[Any], Any] | None
) -> optax.GradientTransformation:
    """Adds ``strength * share * parameter`` to the update of every tensor of the mask."""

    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("params must be given: the decay is proportional to them")
        chosen = mask(params) if mask else jax.tree.map(lambda _: True, params)

        def added(path: Any, step: Array, param: Array, is_decayed: bool) -> Array:
            return step + strength * _of(shares, path) * param if is_decayed else step

        return jax.tree_util.tree_map_with_path(added, updates, params, chosen)

    return optax.stateless(update)


def _of(factors: Mapping[str, float], path: Any) -> float:
    name = path_of(path)
    if name not in factors:
        raise ValueError(f"specs must hold every parameter, got none for {name!r}")
    return factors[name]


def _peak(learning_rate: Number | optax.Schedule, peak: Number | None) -> Any:
    """The largest rate; a schedule that begins later has that of the schedule it shifts."""
    if peak is not None:
        return peak
    if not callable(learning_rate):
        return learning_rate
    inner = learning_rate
    while not hasattr(inner, "peak") and hasattr(inner, "schedule"):
        inner = inner.schedule  # pyright: ignore[reportFunctionMemberAccess]
    if not hasattr(inner, "peak"):
        raise ValueError(f"peak must be given for an independent decay under {type(inner).__name__}, which has none")
    return inner.peak  # pyright: ignore[reportFunctionMemberAccess]


def _is_zero(weight_decay: Number) -> bool:
    return isinstance(weight_decay, int | float) and weight_decay == 0


def _row(optimizer: str) -> optimizers.Optimizer:
    if optimizer not in optimizers.TABLE:
        raise ValueError(f"optimizer must be one of {sorted(optimizers.TABLE)}, got {optimizer!r}")
    return optimizers.TABLE[optimizer]
