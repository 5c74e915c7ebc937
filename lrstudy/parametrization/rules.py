"""The factors of every tensor under a parametrization: init, multiplier, learning rate, epsilon and decay.

Two classes of parametrizations exist, told apart by the readout: its weights are of size m^-1/2 at initialisation
(standard and NTK) or of size 1/m (mean field and muP). Within a class they are one function trained by one trajectory,
written with other constants: for any theta, (multiplier, init, rate) -> (multiplier theta, init / theta, rate / theta)
for an optimizer whose update ignores the gradient's scale, rate / theta^2 for SGD, Adam's epsilon times theta (the
abc-symmetry of Yang & Hu 2021, arXiv 2011.14522). So two tables are written down here, that of the standard
parametrization and that of the ``mup`` library (Yang et al. 2022, arXiv 2203.03466, table 8), and all others follow
from the multiplier that they choose.
"""

import math
from typing import NamedTuple

from lrstudy.parametrization.specs import ROLES, ParamSpec

PARAMETRIZATIONS = ("sp", "sp_per_layer", "ntk", "ntk_per_layer", "mean_field", "mup")
FORMS = ("lib", "t3", "t9")
FAMILIES = ("sgd", "adam", "lion", "adafactor", "muon")

FEATURE_LEARNING = ("mean_field", "mup")
ONE_RATE = ("sp", "ntk")


class Rule(NamedTuple):
    """Factors on one tensor; all are 1 where the model is the base model.

    Attributes:
        mult: on the tensor in the forward pass.
        init: on the target model's own fan-in initial value.
        lr: on the learning rate.
        eps: on Adam's epsilon, so that it falls with the gradients.
        wd: on a decay that is multiplied by the tensor's own rate, so that rate times decay is kept.
    """

    mult: float
    init: float
    lr: float
    eps: float
    wd: float


def rules(
    spec: ParamSpec,
    *,
    parametrization: str,
    optimizer: str,
    form: str = "lib",
    depth_multiplier: float = 1.0,
    alpha: float = 0.0,
) -> Rule:
    """The factors of one tensor.

    ``sp`` and ``ntk`` have one global rate, as they are commonly used; ``sp_per_layer`` and ``ntk_per_layer`` have the
    rates at which every layer's contribution to the change of its output keeps its size (Everett et al. 2024, arXiv
    2407.05872, full alignment). Biases and norms are written with multiplier 1 in every form.

    In a residual stack of depth L over the base depth, branches are multiplied by ``depth_multiplier ** -alpha`` (by
    the model), and the tensors inside get the rate times ``depth_multiplier ** (alpha - 1)``, for SGD
    ``** (2 alpha - 1)``: alpha 1/2 is depth-muP (Yang et al. 2023, arXiv 2310.02244), 1 is CompleteP (Dey et al. 2025,
    arXiv 2505.01618).

    Args:
        spec: what the tensor is.
        parametrization: ``sp``, ``sp_per_layer``, ``ntk``, ``ntk_per_layer``, ``mean_field`` or ``mup``.
        optimizer: the kind of update: ``sgd`` (momentum included), ``adam``, ``lion`` (like Adam), ``adafactor`` (whose
            update is multiplied by the tensor's own size), ``muon`` (whose update of a hidden matrix has spectral norm
            ``sqrt(max(1, fan_out / fan_in))``; other tensors take Adam's).
        form: of ``mup`` only: ``lib`` as the library (multiplier on the readout), ``t3`` without multipliers, ``t9``
            with multipliers on input and readout.
        depth_multiplier: depth over base depth.
        alpha: exponent of the depth.

    Returns:
        The factors.

    Raises:
        ValueError: an unknown name, a form of another parametrization, or a number that is none.

    Example:
        >>> hidden = ParamSpec("hidden", m_in=4.0, m_out=4.0)
        >>> rules(hidden, parametrization="mup", optimizer="adam").lr
        0.25
    """
    _check(spec, parametrization, optimizer, form)
    for name, value in (("m_in", spec.m_in), ("m_out", spec.m_out), ("depth_multiplier", depth_multiplier)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a finite positive number, got {value!r}")
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite, got {alpha!r}")
    lib = parametrization in FEATURE_LEARNING
    theta = _theta(spec, parametrization, form)
    mult, size, gradient = _table(spec, lib=lib)
    mult, size = mult.times(theta), size.times(theta, -1.0)
    eps = gradient.times(theta)
    rate = _rate(spec, optimizer, lib=lib).times(theta, -2.0 if optimizer == "sgd" else -1.0)
    if optimizer == "adafactor":
        rate = rate.times(size, -1.0)
    if parametrization in ONE_RATE:
        rate = _ONE
    init = size.times(_own_size(spec), -1.0)
    depth_rate = depth_multiplier ** ((2 * alpha if optimizer == "sgd" else alpha) - 1) if spec.in_stack else 1.0
    depth_eps = depth_multiplier**-alpha if spec.in_stack else 1.0
    lr = rate.of(spec) * depth_rate
    return Rule(mult.of(spec), init.of(spec), lr, eps.of(spec) * depth_eps, 1 / lr)


class _Power(NamedTuple):
    """m_in to one power times m_out to another: as powers, factors that undo each other leave exactly 1."""

    m_in: float = 0.0
    m_out: float = 0.0

    def times(self, other: "_Power", exponent: float = 1.0) -> "_Power":
        """Times another, raised to an exponent."""
        return _Power(self.m_in + exponent * other.m_in, self.m_out + exponent * other.m_out)

    def of(self, spec: ParamSpec) -> float:
        """The number."""
        return float(spec.m_in) ** self.m_in * float(spec.m_out) ** self.m_out


_ONE = _Power()
_FAN_IN, _FAN_OUT = _Power(m_in=1.0), _Power(m_out=1.0)
_ROOT_IN, _ROOT_OUT = _Power(m_in=0.5), _Power(m_out=0.5)


def _table(spec: ParamSpec, *, lib: bool) -> tuple[_Power, _Power, _Power]:
    """Multiplier, size at initialisation and size of the gradient, each over the base model's, in the two tables."""
    inverse = _ONE.times(_FAN_IN, -1.0)
    if spec.role == "output":
        return (inverse, _ONE, inverse) if lib else (_ONE, _own_size(spec), _ONE)
    if spec.role == "scalar":
        return _ONE, _ONE, _ONE
    # What flows back through a readout of size 1/m or m^-1/2.
    return _ONE, _own_size(spec), _ONE.times(_FAN_OUT if lib else _ROOT_OUT, -1.0)


def _own_size(spec: ParamSpec) -> _Power:
    """Size of what a model's own fan-in initialisation draws."""
    return _ONE.times(_ROOT_IN, -1.0) if spec.role in ("hidden", "output") else _ONE


def _theta(spec: ParamSpec, parametrization: str, form: str) -> _Power:
    """By how much the chosen multiplier exceeds that of the table."""
    if parametrization in ("ntk", "ntk_per_layer"):
        return _ONE.times(_ROOT_IN, -1.0) if spec.role in ("hidden", "output") else _ONE
    if parametrization == "mean_field":
        return _ONE.times(_ROOT_IN, -1.0) if spec.role == "hidden" else _ONE
    if form == "t3":
        return _FAN_IN if spec.role == "output" else _ONE
    if form == "t9":
        return {"input": _ROOT_OUT, "output": _ROOT_IN}.get(spec.role, _ONE)
    return _ONE


def _rate(spec: ParamSpec, optimizer: str, *, lib: bool) -> _Power:
    """The factor on the rate in the two tables: at it, a layer's output changes as much as the base model's."""
    if spec.role == "scalar":
        return _ONE
    if optimizer == "sgd":
        if spec.role == "output":
            return _FAN_IN if lib else _ONE.times(_FAN_IN, -1.0)
        return (_FAN_OUT if lib else _ROOT_OUT).times(_FAN_IN, -1.0)
    # Muon's update of a hidden matrix has a spectral norm that does not grow.
    if (spec.role == "hidden" and optimizer != "muon") or (spec.role == "output" and not lib):
        return _ONE.times(_FAN_IN, -1.0)
    return _ONE


def _check(spec: ParamSpec, parametrization: str, optimizer: str, form: str) -> None:
    for name, value, known in (
        ("role", spec.role, ROLES),
        ("parametrization", parametrization, PARAMETRIZATIONS),
        ("optimizer", optimizer, FAMILIES),
        ("form", form, FORMS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
    if form != "lib" and parametrization != "mup":
        raise ValueError(f"form must be 'lib' for {parametrization}, got {form!r}")


def attention_scale(head_width: int, base_head_width: int, parametrization: str) -> float:
    """The factor on a query's product with a key.

    Queries and keys that learn features align, so their product grows like the head's width: mean field and muP divide
    by it, relative to the base model, which keeps ``head_width ** -0.5``.

    Args:
        head_width: of the model.
        base_head_width: of the base model.
        parametrization: one of ``PARAMETRIZATIONS``.

    Raises:
        ValueError: an unknown parametrization, or a width below 1.
    """
    if parametrization not in PARAMETRIZATIONS:
        raise ValueError(f"parametrization must be one of {list(PARAMETRIZATIONS)}, got {parametrization!r}")
    for name, width in (("head_width", head_width), ("base_head_width", base_head_width)):
        if width < 1:
            raise ValueError(f"{name} must be at least 1, got {width!r}")
    if parametrization in FEATURE_LEARNING:
        return base_head_width**-0.5 * (base_head_width / head_width)
    return head_width**-0.5


def logit_scale(width_multiplier: float, parametrization: str) -> float:
    """The factor on logits that are products with a tied embedding table, whose entries keep their size.

    1/m makes the readout that of mean field and muP, m^-1/2 that of the standard class; ``sp`` itself, as most code has
    it, leaves logits alone, and they grow with the width.

    Args:
        width_multiplier: width over base width.
        parametrization: one of ``PARAMETRIZATIONS``.

    Raises:
        ValueError: an unknown parametrization.
    """
    if parametrization not in PARAMETRIZATIONS:
        raise ValueError(f"parametrization must be one of {list(PARAMETRIZATIONS)}, got {parametrization!r}")
    if parametrization in FEATURE_LEARNING:
        return 1 / width_multiplier
    return 1.0 if parametrization == "sp" else width_multiplier**-0.5
