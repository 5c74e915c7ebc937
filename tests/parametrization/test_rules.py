"""The tables of section 1 of the parametrizations, and the symmetry that ties them together."""

import itertools
import math

import pytest

from lrstudy.parametrization import ParamSpec, Rule, attention_scale, rules
from lrstudy.parametrization.rules import FAMILIES, FORMS, PARAMETRIZATIONS, logit_scale

M = 4.0
INPUT = ParamSpec("input", 1, M)
HIDDEN = ParamSpec("hidden", M, M)
OUTPUT = ParamSpec("output", M, 1)
BIAS = ParamSpec("bias", 1, M)
NORM = ParamSpec("norm", 1, M)
SCALAR = ParamSpec("scalar", 1, 1)
SPECS = (INPUT, HIDDEN, OUTPUT, BIAS, NORM, SCALAR)
# The size of what fan-in initialisation draws, over that of the base model.
OWN_SIZE = {"hidden": M**-0.5, "output": M**-0.5}
WAYS = [(name, form) for name in PARAMETRIZATIONS for form in (FORMS if name == "mup" else ("lib",))]

# Exponents (I, H, O) of the published tables: multiplier m^-a, size m^-b, rate m^-c; those of Everett et al. 2024 and
# of Tensor Programs IV and V.
TABLE = {
    ("sp", "lib"): ((0, 0, 0), (0, 0.5, 0.5), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ("sp_per_layer", "lib"): ((0, 0, 0), (0, 0.5, 0.5), (-0.5, 0.5, 1), (0, 1, 1), (0, 0.5, 0.5)),
    ("ntk", "lib"): ((0, 0.5, 0.5), (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ("ntk_per_layer", "lib"): ((0, 0.5, 0.5), (0, 0, 0), (-0.5, -0.5, 0), (0, 0.5, 0.5), (0, 0.5, 0.5)),
    ("mean_field", "lib"): ((0, 0.5, 1), (0, 0, 0), (-1, -1, -1), (0, 0.5, 0), (0, 0.5, 0)),
    ("mup", "lib"): ((0, 0, 1), (0, 0.5, 0), (-1, 0, -1), (0, 1, 0), (0, 0.5, 0)),
    ("mup", "t3"): ((0, 0, 0), (0, 0.5, 1), (-1, 0, 1), (0, 1, 1), (0, 0.5, 0)),
    ("mup", "t9"): ((-0.5, 0, 0.5), (0.5, 0.5, 0.5), (0, 0, 0), (0.5, 1, 0.5), (0, 0.5, 0)),
}


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_multipliers_sizes_and_rates_are_those_of_the_published_tables(name, form):
    a, b, sgd, adam, adafactor = TABLE[name, form]
    for i, spec in enumerate((INPUT, HIDDEN, OUTPUT)):
        for optimizer, c in (("sgd", sgd), ("adam", adam), ("lion", adam), ("adafactor", adafactor)):
            rule = rules(spec, parametrization=name, form=form, optimizer=optimizer)
            size = rule.init * OWN_SIZE.get(spec.role, 1)
            assert (rule.mult, size, rule.lr) == pytest.approx((M ** -a[i], M ** -b[i], M ** -c[i]), rel=1e-15)


@pytest.mark.parametrize(("name", "form"), WAYS)
@pytest.mark.parametrize("optimizer", FAMILIES)
def test_everything_is_exactly_one_in_the_base_model(name, form, optimizer):
    for spec in SPECS:
        base = spec._replace(m_in=1, m_out=1)
        assert rules(base, parametrization=name, form=form, optimizer=optimizer) == Rule(1, 1, 1, 1, 1)


@pytest.mark.parametrize("optimizer", ["adam", "lion", "muon"])
def test_biases_norms_and_scalars_keep_their_rate_where_the_update_ignores_the_gradients_scale(optimizer):
    for spec, (name, form) in itertools.product((BIAS, NORM, SCALAR), WAYS):
        assert rules(spec, parametrization=name, form=form, optimizer=optimizer).lr == 1


@pytest.mark.parametrize(("name", "rate"), [("mup", M), ("mean_field", M), ("sp_per_layer", M**0.5), ("sp", 1)])
def test_rates_of_vectors_under_sgd(name, rate):
    for spec in (BIAS, NORM):
        assert rules(spec, parametrization=name, optimizer="sgd").lr == rate
    assert rules(SCALAR, parametrization=name, optimizer="sgd").lr == 1


def test_fan_in_and_fan_out_are_told_apart():
    """A feed-forward layer whose ratio grows too: microsoft/mup's rule takes the fan-in, a port the fan-out."""
    down = ParamSpec("hidden", 8, 4)
    assert rules(down, parametrization="mup", optimizer="adam").lr == 1 / 8
    assert rules(down, parametrization="mup", optimizer="sgd").lr == 4 / 8
    assert rules(down, parametrization="mup", optimizer="adam").eps == 1 / 4


def test_epsilon_follows_the_gradients():
    """Per-entry gradients fall as 1/m in muP, as m^-1/2 in the standard class; the readout's as its multiplier."""
    mup = {s.role: rules(s, parametrization="mup", optimizer="adam").eps for s in SPECS}
    assert mup == {"input": 1 / M, "hidden": 1 / M, "output": 1 / M, "bias": 1 / M, "norm": 1 / M, "scalar": 1}
    for name in ("sp", "sp_per_layer"):
        sp = {s.role: rules(s, parametrization=name, optimizer="adam").eps for s in SPECS}
        root = M**-0.5
        assert sp == {"input": root, "hidden": root, "output": 1, "bias": root, "norm": root, "scalar": 1}
    assert rules(OUTPUT, parametrization="mup", form="t3", optimizer="adam").eps == 1


def symmetric(one, other, *, squared):
    """Whether two rules are one, written with another multiplier."""
    theta = other.mult / one.mult
    moved = (one.init / theta, one.lr / theta ** (2 if squared else 1), one.eps * theta)
    return math.prod(map(math.isclose, moved, (other.init, other.lr, other.eps)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("mup", "lib"), ("mup", "t3")),
        (("mup", "lib"), ("mup", "t9")),
        (("mup", "lib"), ("mean_field", "lib")),
        (("sp_per_layer", "lib"), ("ntk_per_layer", "lib")),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lion", "muon"])
def test_there_are_two_classes_of_parametrizations(one, other, optimizer):
    """The abc-symmetry maps one member of a class to another, for sides that grow differently too."""
    for spec in (*SPECS, ParamSpec("hidden", 8, 4), ParamSpec("hidden", 3, 1)):
        found = [rules(spec, parametrization=name, form=form, optimizer=optimizer) for name, form in (one, other)]
        assert symmetric(*found, squared=optimizer == "sgd")


def test_the_two_classes_differ():
    mup, sp = (rules(OUTPUT, parametrization=name, optimizer="adam") for name in ("mup", "sp_per_layer"))
    assert mup.mult * mup.init == M**-1 * M**0.5
    assert sp.mult * sp.init == 1
    assert not symmetric(mup, sp, squared=False)


def test_muon_needs_no_factor_on_hidden_matrices():
    assert rules(HIDDEN, parametrization="mup", optimizer="muon").lr == 1
    assert rules(OUTPUT, parametrization="mup", optimizer="muon").lr == 1
    assert rules(OUTPUT, parametrization="sp_per_layer", optimizer="muon").lr == 1 / M


@pytest.mark.parametrize(
    ("alpha", "lr", "eps"),
    [(1.0, 0.25, 1 / 32), (0.5, 0.0883883, 0.0883883)],
)
def test_complete_p(alpha, lr, eps):
    """Table 1.4 at a width multiplier of 4 and a depth multiplier of 8."""
    depth = {"parametrization": "mup", "optimizer": "adam", "depth_multiplier": 8, "alpha": alpha}
    rule = rules(HIDDEN._replace(in_stack=True), **depth)
    assert (rule.lr, rule.eps) == pytest.approx((lr, eps), abs=5e-8)
    assert rule.lr * rule.wd == 1
    gain = rules(NORM._replace(in_stack=True), **depth)
    assert gain.lr == pytest.approx(8 ** (alpha - 1), abs=5e-7)
    assert rules(HIDDEN, **depth) == rules(HIDDEN, parametrization="mup", optimizer="adam")


def test_complete_p_decays_hidden_tensors_as_its_code_does():
    rule = rules(HIDDEN._replace(in_stack=True), parametrization="mup", optimizer="adam", depth_multiplier=8, alpha=1)
    assert rule.wd == 4


def test_depth_under_sgd():
    rule = rules(SCALAR._replace(in_stack=True), parametrization="mup", optimizer="sgd", depth_multiplier=8, alpha=0.5)
    assert rule.lr == 1
    rule = rules(SCALAR._replace(in_stack=True), parametrization="mup", optimizer="sgd", depth_multiplier=8, alpha=1)
    assert rule.lr == 8


@pytest.mark.parametrize(("name", "scale"), [("mup", 0.0625), ("mean_field", 0.0625), ("sp", 0.125), ("ntk", 0.125)])
def test_attention_scale(name, scale):
    assert attention_scale(64, 16, name) == scale
    assert attention_scale(16, 16, name) == 0.25


@pytest.mark.parametrize(("name", "scale"), [("mup", 0.25), ("mean_field", 0.25), ("sp", 1), ("ntk_per_layer", 0.5)])
def test_logits_of_a_tied_table(name, scale):
    assert logit_scale(4, name) == scale
    assert logit_scale(1, name) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parametrization": "mupp"}, "parametrization must be one of"),
        ({"optimizer": "adamw"}, "optimizer must be one of"),
        ({"form": "t8"}, "form must be one of"),
        ({"form": "t3", "parametrization": "sp"}, "form must be 'lib' for sp, got 't3'"),
        ({"depth_multiplier": 0}, "depth_multiplier must be a finite positive number, got 0"),
        ({"depth_multiplier": math.inf}, "depth_multiplier must be a finite positive number, got inf"),
        ({"alpha": math.nan}, "alpha must be finite, got nan"),
        ({"spec": ParamSpec("hiden", 4, 4)}, "role must be one of .*, got 'hiden'"),
        ({"spec": ParamSpec("hidden", -2, 2)}, "m_in must be a finite positive number, got -2"),
    ],
)
def test_what_is_not_there_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        rules(**{"spec": HIDDEN, "parametrization": "mup", "optimizer": "adam", **changed})
    with pytest.raises(ValueError, match="must be one of"):
        attention_scale(8, 8, "mupp")
    with pytest.raises(ValueError, match="must be one of"):
        logit_scale(8, "mupp")
    with pytest.raises(ValueError, match="head_width must be at least 1, got 0"):
        attention_scale(0, 8, "mup")
