"""Any optimizer of the table with the rates, epsilons and decay that a parametrization gives every tensor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lrstudy import optimizers
from lrstudy.optimizers.decay import UNDECAYED
from lrstudy.optimizers.muon import NOT_HIDDEN
from lrstudy.parametrization.rules import Rule, rules
from lrstudy.parametrization.specs import Specs, flat, path_of

Number = float | Array
DECAYS = ("coupled", "independent")
DECAY_MASKS = ("kernels", "all")

# Families whose update has an epsilon and does not see the gradient's scale: the one can be traded for the other.
_WITH_EPSILON = ("adam", "muon")
_VECTORS = ("bias", "norm")


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
        decay_mask: ``kernels``: tensors of two or more axes that are not gains or biases, by name or role; ``all``.
        decay_exponent: power of the fan-in's growth that multiplies a tensor's decay; 0 keeps it, -1 lets it fall.
        peak: largest rate, for an independent decay under a schedule without an attribute of that name.
        eps: of the optimizers that have one; ``None``: the row's default.
        scale_eps: whether epsilon follows the gradients, as ``Rule.eps`` says; the ``mup`` library leaves it.
        depth_multiplier: see ``rules``.
        alpha: see ``rules``.
        **hyperparameters: of the row, numbers that may be traced.

    Raises:
        ValueError: an unknown name; an independent decay without a peak; a readout that Muon would take for a hidden
            matrix; a parameter without a spec (in ``init``).
    """
    for name, value, known in (("decay", decay, DECAYS), ("decay_mask", decay_mask, DECAY_MASKS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
    row = _row(optimizer)
    settings = {"parametrization": parametrization, "form": form, "depth_multiplier": depth_multiplier, "alpha": alpha}
    found = rules_of(optimizer, specs, hyperparameters, **settings)
    _check_muon(row.family(hyperparameters), specs)
    numbers = {**row.defaults, **hyperparameters}
    if "eps" in row.defaults and eps is not None:
        numbers["eps"] = eps
    own_decay = (
        "weight_decay" in row.defaults
        and (decay, decay_mask, decay_exponent) == ("coupled", "kernels", 0.0)
        and not _vectors_by_role(specs)
    )
    if "weight_decay" in row.defaults:
        numbers["weight_decay"] = weight_decay if own_decay else 0.0
    before = {}
    if scale_eps and "eps" in row.defaults and row.family(hyperparameters) in _WITH_EPSILON:
        before = {path: 1 / rule.eps for path, rule in found.items()}
    after = {path: rule.lr for path, rule in found.items()}
    decayed = None
    if not own_decay and not _is_zero(weight_decay):
        strength = weight_decay if decay == "coupled" else weight_decay / _peak(learning_rate, peak)
        spared = _vectors_by_role(specs) if decay_mask == "kernels" else None
        decayed = _add_decay(strength, {path: spec.m_in**decay_exponent for path, spec in specs.items()}, spared)
    return _checked(row.build(learning_rate, around=_around(before, after, decayed), **numbers), specs)


def check_starts(optimizer: str, zero: Sequence[str], hyperparameters: Mapping[str, Any] | None = None) -> None:
    """Refuses a zero start where an update is proportional to the tensor's own size.

    Adafactor takes the size to be at least 1e-3 at every width and in every form, so a tensor that starts at zero is
    moved by what no factor scales: what it puts out grows like a power of the width.

    Args:
        optimizer: row of ``optimizers.TABLE``.
        zero: paths of the tensors that start at zero.
        hyperparameters: those that differ from the row's defaults.

    Raises:
        ValueError: there are such tensors and it is such an optimizer.
    """
    if zero and _row(optimizer).family(hyperparameters or {}) == "adafactor":
        raise ValueError(
            f"zero_readout and zero_query must be false for {optimizer}, unless multiply_by_parameter_scale is: its "
            f"update is proportional to a tensor's own size, which no factor scales at zero ({', '.join(zero)})"
        )


def scale_by_tree(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the update of every tensor by its factor; a factor of 1 costs nothing.

    Args:
        factors: path ``a/b/kernel`` to factor.
    """

    def scaled(path: Any, update: Array) -> Array:
        factor = factors[path_of(path)]
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
    strength: Number, shares: Mapping[str, float], spared: frozenset[str] | None
) -> optax.GradientTransformation:
    """Adds ``strength * share * parameter`` to updates: of all tensors, or of the kernels that are not spared."""

    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("params must be given: the decay is proportional to them")
        kernels = jax.tree.map(lambda _: True, params) if spared is None else optimizers.decay_mask(params)

        def added(path: Any, step: Array, param: Array, is_kernel: bool) -> Array:
            name = path_of(path)
            return step + strength * shares[name] * param if is_kernel and name not in (spared or ()) else step

        return jax.tree_util.tree_map_with_path(added, updates, params, kernels)

    return optax.stateless(update)


def _vectors_by_role(specs: Specs) -> frozenset[str]:
    """Tensors that are gains or biases and are not called so; ``decay_mask`` knows the others."""
    return frozenset(
        path for path, spec in specs.items() if spec.role in _VECTORS and path.rpartition("/")[2] not in UNDECAYED
    )


def _checked(transform: optax.GradientTransformation, specs: Specs) -> optax.GradientTransformation:
    """The same, but for parameters without a spec, which it would leave unscaled or not, as their path happens to be.

    Raises:
        ValueError: there is one, in ``init``.
    """

    def init(params: Any) -> optax.OptState:
        missing = flat(params).keys() - specs.keys()
        if missing:
            raise ValueError(f"specs must hold every parameter, got none for {min(missing)!r}")
        return transform.init(params)

    return transform._replace(init=init)


def _check_muon(family: str, specs: Specs) -> None:
    """Muon tells hidden matrices by their names, the rules by their role; where these disagree rates would be wrong."""
    for path, spec in specs.items():
        if family == "muon" and spec.role == "output" and not set(path.split("/")) & set(NOT_HIDDEN):
            raise ValueError(f"a readout must have one of the names {list(NOT_HIDDEN)} under muon, got {path!r}")


def _peak(learning_rate: Number | optax.Schedule, peak: Number | None) -> Any:
    """The largest rate; a schedule that begins later has that of the schedule it shifts.

    One of zero gives one: no rate is a share of it, and a decay that is multiplied by a rate of zero is none.
    """
    inner = learning_rate if peak is None else peak
    while callable(inner) and not hasattr(inner, "peak") and hasattr(inner, "schedule"):
        inner = inner.schedule  # pyright: ignore[reportFunctionMemberAccess]
    if callable(inner):
        if not hasattr(inner, "peak"):
            raise ValueError(
                f"peak must be given for an independent decay under {type(inner).__name__}, which has none"
            )
        inner = inner.peak  # pyright: ignore[reportFunctionMemberAccess]
    return (inner or 1.0) if isinstance(inner, int | float) else jnp.where(inner == 0, 1, inner)


def _is_zero(weight_decay: Number) -> bool:
    return isinstance(weight_decay, int | float) and weight_decay == 0


def _row(optimizer: str) -> optimizers.Optimizer:
    if optimizer not in optimizers.TABLE:
        raise ValueError(f"optimizer must be one of {sorted(optimizers.TABLE)}, got {optimizer!r}")
    return optimizers.TABLE[optimizer]
