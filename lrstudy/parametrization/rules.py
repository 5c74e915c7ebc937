"""The factors of every tensor under a parametrization: init, multiplier, learning rate, epsilon and decay.

Two classes of parametrizations exist, told apart by the readout: its weights are of size m^-1/2 at initialisation
(standard and NTK) or of size 1/m (mean field and muP). Within a class they are one function trained by one trajectory,
written with other constants: for any theta, (multiplier, init, rate) -> (multiplier theta, init / theta, rate / theta)
for an optimizer whose update ignores the gradient's scale, rate / theta^2 for SGD, Adam's epsilon times theta (the
abc-symmetry of Yang & Hu 2021, arXiv 2011.14522). So two tables are written down here, that of the standard
parametrization and that of the ``mup`` library (Yang et al. 2022, arXiv 2203.03466, table 8), and all others follow
from the multiplier that they choose.
"""

from typing import Literal, NamedTuple

from lrstudy.parametrization.specs import ParamSpec

Parametrization = Literal["sp", "sp_per_layer", "ntk", "ntk_per_layer", "mean_field", "mup"]
Form = Literal["lib", "t3", "t9"]
Family = Literal["sgd", "adam", "lion", "adafactor", "muon"]

PARAMETRIZATIONS: tuple[Parametrization, ...] = ("sp", "sp_per_layer", "ntk", "ntk_per_layer", "mean_field", "mup")
FORMS: tuple[Form, ...] = ("lib", "t3", "t9")
FAMILIES: tuple[Family, ...] = ("sgd", "adam", "lion", "adafactor", "muon")

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
        ValueError: an unknown name, a form of another parametrization, or a depth that is not positive.
    """
    _check(parametrization, optimizer, form, depth_multiplier)
    lib = parametrization in FEATURE_LEARNING
    m_in, m_out = float(spec.m_in), float(spec.m_out)
    # Size at initialisation and gradient of the two tables; sizes are relative to the base model's.
    mult, size, grad = _table(spec, m_in, m_out, lib=lib)
    theta = _theta(spec, parametrization, form, m_in, m_out)
    eps = grad * theta
    rate = _rate(spec, optimizer, m_in, m_out, lib=lib)
    mult, size = mult * theta, size / theta
    rate = rate / theta**2 if optimizer == "sgd" else rate / theta
    if optimizer == "adafactor":
        rate /= size
    if parametrization in ONE_RATE:
        rate = 1.0
    if spec.in_stack:
        rate *= depth_multiplier ** ((2 * alpha if optimizer == "sgd" else alpha) - 1)
        eps *= depth_multiplier**-alpha
    return Rule(mult, size / _own_size(spec, m_in), rate, eps, 1 / rate)


def _table(spec: ParamSpec, m_in: float, m_out: float, *, lib: bool) -> tuple[float, float, float]:
    """Multiplier, size at initialisation and size of the gradient, without further multipliers."""
    if spec.role == "output":
        return (1 / m_in, 1.0, 1 / m_in) if lib else (1.0, m_in**-0.5, 1.0)
    size = m_in**-0.5 if spec.role == "hidden" else 1.0
    if spec.role == "scalar":
        return 1.0, size, 1.0
    # What flows back through a readout of size m^-1/2 or 1/m.
    return 1.0, size, 1 / m_out if lib else m_out**-0.5


def _theta(spec: ParamSpec, parametrization: str, form: str, m_in: float, m_out: float) -> float:
    """What the multiplier is chosen to be, over that of the table."""
    if parametrization in ("ntk", "ntk_per_layer"):
        return m_in**-0.5 if spec.role in ("hidden", "output") else 1.0
    if parametrization == "mean_field":
        return m_in**-0.5 if spec.role == "hidden" else 1.0
    if form == "t3" and spec.role == "output":
        return m_in
    if form == "t9":
        return {"input": m_out**0.5, "output": m_in**0.5}.get(spec.role, 1.0)
    return 1.0


def _rate(spec: ParamSpec, optimizer: str, m_in: float, m_out: float, *, lib: bool) -> float:
    """The factor on the rate in the two tables: at it, a layer's output changes as much as the base model's."""
    if spec.role == "scalar":
        return 1.0
    if optimizer == "sgd":
        if spec.role == "output":
            return m_in if lib else 1 / m_in
        return (m_out if lib else m_out**0.5) / m_in
    if spec.role == "hidden":
        # Muon's update of a matrix has a spectral norm that does not grow.
        return 1.0 if optimizer == "muon" else 1 / m_in
    if spec.role == "output":
        return 1.0 if lib else 1 / m_in
    return 1.0


def _own_size(spec: ParamSpec, m_in: float) -> float:
    """Size of what a model's own fan-in initialisation draws, relative to the base model's."""
    return m_in**-0.5 if spec.role in ("hidden", "output") else 1.0


def _check(parametrization: str, optimizer: str, form: str, depth_multiplier: float) -> None:
    for name, value, known in (
        ("parametrization", parametrization, PARAMETRIZATIONS),
        ("optimizer", optimizer, FAMILIES),
        ("form", form, FORMS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
    if form != "lib" and parametrization != "mup":
        raise ValueError(f"form must be 'lib' for {parametrization}, got {form!r}")
    if not depth_multiplier > 0:
        raise ValueError(f"depth_multiplier must be positive, got {depth_multiplier!r}")


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
