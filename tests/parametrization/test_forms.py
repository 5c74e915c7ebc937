"""One function, one trajectory: parametrizations that are the same, written with other constants."""

import functools

import numpy as np
import pytest

from lrstudy.parametrization import rules_of
from tests.parametrization.trajectories import effective_start, losses_from, specs_of

# Three times the base width: no factor is a power of two, under which float64 would scale without rounding.
WIDTH = 192
RATES = {"sgd": 0.1, "momentum": 0.01, "adam": 0.01, "adamw": 0.01, "lion": 1e-3, "adafactor": 0.01, "muon": 0.01}
MUP = ("mup", "lib")
SAME = [(MUP, ("mup", "t3")), (MUP, ("mup", "t9")), (MUP, ("mean_field", "lib")),
        (("sp_per_layer", "lib"), ("ntk_per_layer", "lib"))]  # fmt: skip


@functools.cache
def losses(optimizer, which, of, options=()):
    """Twenty losses under a parametrization and form, from effective tensors of the sizes that ``of`` asks for."""
    parametrization, form = which
    settings = {"parametrization": parametrization, "form": form, **dict(options)}
    return losses_from(effective_start(WIDTH, of), WIDTH, optimizer, RATES[optimizer], **settings)


def apart(optimizer, pair, options=()):
    """The largest difference of two runs' losses, in nats."""
    one, other = (losses(optimizer, which, pair[0][0], options) for which in pair)
    assert one[-1] < one[0] - 0.1
    return np.abs(one - other).max()


@pytest.mark.parametrize("pair", SAME, ids=lambda pair: "-".join(pair[1]))
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lion", "adafactor", "muon"])
def test_equal_parametrizations_give_one_trajectory(optimizer, pair):
    # Twenty float64 steps of sums over at most 192 terms: rounding alone is some 1e-15.
    assert apart(optimizer, pair) < 1e-12


@pytest.mark.parametrize("optimizer", ["momentum", "adamw", "lion"])
def test_with_coupled_decay_too(optimizer):
    assert apart(optimizer, SAME[1], (("weight_decay", 0.1),)) < 1e-12


@pytest.mark.parametrize("pair", [SAME[1], SAME[3]], ids=lambda pair: "-".join(pair[1]))
def test_an_epsilon_that_matters_has_to_be_scaled(pair):
    large = ("eps", 1e-3)
    assert apart("adam", pair, (large,)) < 1e-12
    assert apart("adam", pair, (large, ("scale_eps", False))) > 1e-3


def test_muon_divides_by_a_norm_with_an_epsilon_too():
    assert apart("muon", SAME[3], (("eps", 1e-3), ("scale_eps", False))) > 1e-3


def test_two_classes_are_told_apart_by_the_readouts_first_size():
    def starts(parametrization, form="lib"):
        found = rules_of("adam", specs_of(WIDTH), parametrization=parametrization, form=form)
        return {path: rule.mult * rule.init for path, rule in found.items()}

    for parametrization in ("sp_per_layer", "ntk", "ntk_per_layer"):
        assert starts(parametrization) == pytest.approx(starts("sp"), rel=1e-15)
    for which in (("mup", "t3"), ("mup", "t9"), ("mean_field", "lib")):
        assert starts(*which) == pytest.approx(starts("mup"), rel=1e-15)
    ratios = {path: size / starts("sp")[path] for path, size in starts("mup").items()}
    assert ratios == pytest.approx(dict.fromkeys(ratios, 1.0) | {"readout/kernel": 3**-0.5}, rel=1e-15)


@pytest.mark.parametrize(("scaled_by_size", "same"), [(True, False), (False, True)])
def test_adafactor_moves_a_zero_readout_by_a_floor_that_no_rule_scales(scaled_by_size, same):
    # A tensor's own size enters as at least 1e-3, whatever the form; without it the update is like Adam's.
    start = effective_start(WIDTH, "mup")
    start["readout"]["kernel"] = np.zeros_like(start["readout"]["kernel"])
    one, other = (losses_from(start, WIDTH, "adafactor", 0.01, parametrization="mup", form=form,
                              multiply_by_parameter_scale=scaled_by_size) for form in ("lib", "t3"))  # fmt: skip
    difference = np.abs(one - other).max()
    assert difference < 1e-12 if same else difference > 1e-3
