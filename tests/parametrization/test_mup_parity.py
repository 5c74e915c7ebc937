"""Against microsoft/mup: live where it and torch are installed (extra ``peers``), and against what it did, recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.parametrization import rules_of, transform
from tests.parametrization import record_mup
from tests.parametrization.mup_problem import BASE_WIDTH, NAMES, RULES, WIDTHS, recorded, torch_weights
from tests.parametrization.trajectories import model_of, specs_of, train

MUP = {"parametrization": "mup"}
# Section 7.2 of the specification, which measured the same runs: first and last loss.
FIRST = {64: 2.351496, 256: 2.336937, 512: 2.300278}
LAST = {
    "adam": {64: 0.286199, 256: 0.264705, 512: 0.269590},
    "adamw": {64: 0.287078, 256: 0.268911, 512: 0.273707},
    "sgd": {64: 2.128992, 256: 2.085917, 512: 2.062974},
}


@pytest.fixture(scope="module", params=["recorded", "live"])
def theirs(request):
    if request.param == "recorded":
        return recorded()
    pytest.importorskip("mup", reason="the extra `peers` is not installed: no mup")
    pytest.importorskip("torch", reason="the extra `peers` is not installed: no torch")
    return record_mup.record()


def start(width):
    """The parameters that mup trains, by its recipe: torch's own, the kernels times ``Rule.init``.

    torch draws biases of size 1/sqrt(fan-in), which ``set_base_shapes`` undoes for a fan-in that grows. Ours start at
    zero, so no rule says it.
    """
    initial = {path: factor for path, _, factor in model_of(width, "adam", **MUP).factors}
    tree = {}
    for name, value in torch_weights(width).items():
        layer, leaf = NAMES[name].split("/")
        grown = width / BASE_WIDTH if layer != "hidden_0" else 1.0
        factor = initial[NAMES[name]] if leaf == "kernel" else grown**0.5
        tree.setdefault(layer, {})[leaf] = jnp.asarray(factor * value.T)
    return tree


def sizes(params):
    """torch's name to root mean square."""
    root = {name: params[path.split("/")[0]][path.split("/")[1]] for name, path in NAMES.items()}
    return {name: float(jnp.sqrt(jnp.mean(value**2))) for name, value in root.items()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps_are_those_of_mup(theirs, rule, width):
    settings = RULES[rule]
    with jax.enable_x64(True):
        params = start(width)
        # torch decays biases too, and mup leaves Adam's epsilon alone.
        update = transform(rule, specs_of(width), settings["learning_rate"], **MUP, scale_eps=False, decay_mask="all",
                           weight_decay=settings["weight_decay"])  # fmt: skip
        losses, last = train(model_of(width, rule, **MUP), update, params)
        run = theirs["runs"][rule][str(width)]
        # Twenty float64 steps of sums over at most 512 terms: rounding alone is some 1e-15.
        np.testing.assert_allclose(losses, run["losses"], rtol=0, atol=1e-12)
        assert sizes(params) == pytest.approx(run["start"], rel=1e-12)
        assert sizes(last) == pytest.approx(run["end"], rel=1e-12)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("family", ["adam", "sgd"])
def test_every_factor_is_that_of_mup(theirs, family, width):
    rules = rules_of(family, specs_of(width), **MUP)
    table = theirs["tables"][str(width)]
    assert {name: [rules[path].lr, rules[path].wd] for name, path in NAMES.items()} == table[family]
    forward = {name: table["forward"].get(name, 1.0) for name in NAMES}
    assert {name: rules[path].mult for name, path in NAMES.items()} == forward


def test_the_runs_are_those_of_the_specification(theirs):
    runs = {rule: {int(width): run["losses"] for width, run in runs.items()} for rule, runs in theirs["runs"].items()}
    # Printed with six decimals.
    for rule, widths in runs.items():
        assert {width: losses[0] for width, losses in widths.items()} == pytest.approx(FIRST, abs=5e-7)
        assert {width: losses[-1] for width, losses in widths.items()} == pytest.approx(LAST[rule], abs=5e-7)


# Section 7.1: (rate, decay) at n = 256 and 512, of which everything else is 1.
PRINTED = {
    "adam": {"fc1.weight": [(0.25, 4), (0.125, 8)]},
    "sgd": {name: [(4, 0.25), (8, 0.125)] for name in ("fc0.weight", "out.weight", "fc0.bias", "fc1.bias")},
}


@pytest.mark.parametrize("family", PRINTED)
def test_the_factors_are_those_of_the_specification(family):
    for place, width in enumerate((256, 512)):
        rules = rules_of(family, specs_of(width), **MUP)
        expected = {name: PRINTED[family].get(name, [(1, 1)] * 2)[place] for name in NAMES}
        assert {name: (rules[path].lr, rules[path].wd) for name, path in NAMES.items()} == expected
        assert rules["readout/kernel"].mult == BASE_WIDTH / width


def test_the_weights_are_those_that_torch_draws():
    torch = pytest.importorskip("torch", reason="the extra `peers` is not installed: no torch")
    torch.manual_seed(1)
    for layer, fan_in, fan_out in (("fc0", 64, 256), ("fc1", 256, 256), ("out", 256, 10)):
        theirs, ours = torch.nn.Linear(fan_in, fan_out), torch_weights(256)
        for leaf in ("weight", "bias"):
            # A processor without a fused multiply-add rounds once more.
            np.testing.assert_allclose(getattr(theirs, leaf).detach(), ours[f"{layer}.{leaf}"], rtol=0, atol=1e-8)
