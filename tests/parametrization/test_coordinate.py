"""The coordinate check: what passes, what each of eight wrong rules looks like, and how series are judged."""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP, Transformer
from lrstudy.parametrization import attention_scale, rules
from lrstudy.parametrization.coordinate import TOLERANCE, coordinate_check
from tests.parametrization.mup_problem import BASE_WIDTH, CLASSES, NAMES, batches, recorded
from tests.parametrization.trajectories import cross_entropy, specs_of, transform_module

WIDTHS = (64, 128, 256, 512)
# The ends alone hold nine tenths of the weight of a slope through four widths a doubling apart.
ENDS = (64, 512)
SEEDS = (10, 11, 12)

# A wrong rule: the role that it is about and what is wrong; then the series in which the specification saw it.
MUTANTS = {
    "hidden rate not scaled": ("hidden", lambda spec: {"lr": 1.0}, "|h - h0| hidden_1"),
    "hidden rate by the root": ("hidden", lambda spec: {"lr": spec.m_in**-0.5}, "|h - h0| hidden_1"),
    "no readout multiplier": ("output", lambda spec: {"mult": 1.0}, "|h| readout"),
    "readout multiplier by the root": ("output", lambda spec: {"mult": spec.m_in**-0.5}, "|h| readout"),
    "input rate scaled": ("input", lambda spec: {"lr": 1 / spec.m_out}, "|h - h0| hidden_0"),
    "readout rate scaled twice": ("output", lambda spec: {"lr": 1 / spec.m_in}, "|h| readout"),
    "hidden initialisation not scaled": ("hidden", lambda spec: {"init": spec.m_in**0.5}, "|h| hidden_1"),
}
BIAS = ("bias", lambda spec: {"lr": 1 / spec.m_out})


def mutated(role, change):
    """``rules`` with one thing wrong."""

    def wrong(spec, **settings):
        rule = rules(spec, **settings)
        return rule._replace(**change(spec)) if spec.role == role else rule

    return wrong


def digits(width):
    pixels, labels = batches()
    model = MLP(CLASSES, width)
    batch = (jnp.asarray(pixels[0], jnp.float32), jnp.asarray(labels[0]))
    return model, batch, lambda params, batch: cross_entropy(model.apply({"params": params}, batch[0]), batch[1])


def on_digits(widths, parametrization="mup"):
    # The readout starts at zero: a random one hides the rate that is scaled twice until it has grown past its start.
    return coordinate_check(
        digits,
        widths,
        base_width=BASE_WIDTH,
        parametrization=parametrization,
        optimizer="adam",
        learning_rate=1e-2,
        seeds=SEEDS,
    )


def test_mup_keeps_every_coordinate_and_its_change():
    check = on_digits(WIDTHS)
    assert check.passed, check.failing
    layers = ("hidden_0", "hidden_1", "readout", "output")
    assert set(check.slopes) == {f"{kind} {layer}" for kind in ("|h|", "|h - h0|") for layer in layers}
    assert {len(slopes) for slopes in check.slopes.values()} == {4}
    # The readout starts at zero, and so what lies below it cannot move at the first update.
    assert math.isnan(check.slopes["|h| readout"][0])
    assert math.isnan(check.slopes["|h - h0| hidden_1"][1])
    assert not math.isnan(check.slopes["|h - h0| hidden_1"][2])


def test_the_standard_parametrization_does_not():
    check = on_digits(ENDS, "sp")
    assert {"|h - h0| hidden_1", "|h - h0| readout"} <= set(check.failing)
    assert check.slopes["|h - h0| readout"][-1] > 0.4


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_shows(name, monkeypatch):
    role, change, series = MUTANTS[name]
    monkeypatch.setattr(transform_module, "rules", mutated(role, change))
    check = on_digits(ENDS)
    assert not check.passed
    assert series in check.failing
    assert abs(check.slopes[series][-1]) > 0.2


def test_a_wrong_rate_of_biases_does_not_show_and_the_table_has_it(monkeypatch):
    monkeypatch.setattr(transform_module, "rules", mutated(*BIAS))
    assert on_digits(ENDS).passed
    specs = {name: specs_of(512)[path] for name, path in NAMES.items()}
    for family in ("adam", "sgd"):
        table = recorded()["tables"]["512"][family]
        settings = {"parametrization": "mup", "optimizer": family}
        right, wrong = ({name: rule(spec, **settings).lr for name, spec in specs.items()}
                        for rule in (rules, mutated(*BIAS)))  # fmt: skip
        assert right == {name: rate for name, (rate, _) in table.items()}
        assert {name for name in specs if wrong[name] != right[name]} == {"fc0.bias", "fc1.bias"}


@functools.cache
def pixel_tokens():
    """Sixteen digits as tokens 0..16, the middle four rows of eight pixels, and the pixels that follow each."""
    from sklearn.datasets import load_digits

    rows = load_digits().data[:16, 16:49].astype(np.int32)
    return rows[:, :-1], rows[:, 1:]


@pytest.mark.slow
@pytest.mark.parametrize(("parametrization", "widths"), [("mup", (32, 96, 256)), ("sp", (32, 256))])
def test_a_transformer_with_growing_heads(parametrization, widths):
    base_width, heads = 32, 4

    def make_model(width):
        scale = attention_scale(width // heads, base_width // heads, parametrization)
        model = Transformer(17, 32, width, layers=1, heads=heads, attention_scale=scale)
        return (
            model,
            pixel_tokens(),
            lambda params, batch: cross_entropy(model.apply({"params": params}, batch[0]), batch[1]),
        )

    check = coordinate_check(
        make_model,
        widths,
        base_width=base_width,
        parametrization=parametrization,
        optimizer="adam",
        learning_rate=1e-2,
        seeds=SEEDS,
    )
    tracked = {name.rpartition(" ")[2].rpartition("/")[2] for name in check.slopes}
    assert {"query", "key", "value", "out", "attention_logits", "up", "down", "embedding", "readout"} <= tracked
    if parametrization == "mup":
        assert check.passed, check.failing
    else:
        assert check.slopes["|h - h0| block_0/attention/attention_logits"][-1] > 0.4


class Widened(nn.Module):
    """Its input times a factor, and times a gain that is trained."""

    width: int
    factor: float = 1.0
    inner: str = "grown"

    @nn.compact
    def __call__(self, x):
        gain = self.param("gain", nn.initializers.ones, (self.width,))
        return Grown(self.factor, name=self.inner)(x) * gain


class Grown(nn.Module):
    """Its input times a number."""

    factor: float

    def __call__(self, x):
        return self.factor * x


def grown_by(factor_of, *, as_tuple=True):
    """``make_model`` of a factor for every width."""

    def make_model(width):
        inputs = jnp.ones(())
        batch = (inputs, jnp.zeros(())) if as_tuple else inputs
        return Widened(width, factor_of(width)), batch, lambda params, batch: jnp.mean(params["gain"] ** 2)

    return make_model


def check_small(make_model, widths=(2, 4, 16), **options):
    settings = {"base_width": 2, "parametrization": "mup", "optimizer": "sgd", "learning_rate": 0.1, "steps": 3}
    return coordinate_check(make_model, widths, **settings | {"seeds": (0, 1, 2)} | options)


@pytest.mark.parametrize("as_tuple", [True, False])
@pytest.mark.parametrize("power", [-1.0, -0.16, -0.14, 0.0, 0.14, 0.16, 2.0])
def test_a_power_of_the_width_has_its_own_slope(power, as_tuple):
    check = check_small(grown_by(lambda width: width**power, as_tuple=as_tuple))
    # float32 holds a mean to 6e-8, its logarithm over the three doublings between the widths to less.
    assert check.slopes["|h| grown"] == pytest.approx((power, power, power), abs=1e-6)
    assert check.passed == (abs(power) <= TOLERANCE)
    assert set(check.failing) == (set() if check.passed else {"|h| grown", "|h| output", "|h - h0| output"})


def test_a_module_that_never_moves_does_not_count_and_a_tensor_that_does_not_fails():
    check = check_small(grown_by(lambda width: 1.0))
    assert all(math.isnan(slope) for slope in check.slopes["|h - h0| grown"])
    assert check.passed

    def frozen(width):
        module, batch, _ = grown_by(lambda width: 1.0)(width)
        return module, batch, lambda params, batch: 0 * jnp.sum(params["gain"])

    check = check_small(frozen)
    assert check.failing == ("w gain",)
    assert not check.passed
    assert check_small(frozen, exclude="gain").passed


def test_a_readout_without_a_rate_trains_nothing_and_fails(monkeypatch):
    monkeypatch.setattr(transform_module, "rules", mutated("output", lambda spec: {"lr": 0.0}))
    check = on_digits(ENDS)
    assert {"w readout/kernel", "w hidden_1/kernel", "w hidden_0/kernel"} <= set(check.failing)


def test_what_moves_is_told_from_what_does_not():
    check = check_small(grown_by(lambda width: 1.0))
    assert math.isnan(check.slopes["|h - h0| grown"][1])
    assert math.isfinite(check.slopes["|h - h0| output"][1])
    assert math.isnan(check.slopes["|h - h0| output"][0])


@pytest.mark.parametrize("factor", [math.inf, math.nan, 0.0])
def test_a_series_that_dies_or_explodes_at_some_width_fails(factor):
    check = check_small(grown_by(lambda width: factor if width == 16 else 1.0))
    assert not check.passed
    assert {"|h| grown", "|h| output"} <= set(check.failing)
    assert math.isnan(check.slopes["|h| grown"][-1])


def test_excluded_modules_are_left_out():
    check = check_small(grown_by(float), exclude="^grown$")
    assert set(check.slopes) == {"|h| output", "|h - h0| output"}
    with pytest.raises(ValueError, match=r"exclude must leave something to judge, got '\^\(grown\|output\)\$'"):
        check_small(grown_by(float), exclude="^(grown|output)$")


def test_options_reach_the_rules_of_model_and_optimizer(monkeypatch):
    asked = []

    def listening(spec, **settings):
        asked.append(settings)
        return rules(spec, **settings)

    monkeypatch.setattr(transform_module, "rules", listening)
    options = {"form": "t3", "depth_multiplier": 2.0, "alpha": 1.0}
    check_small(grown_by(lambda width: 1.0), (2, 4), optimizer="plateau", inner="adam", b1=0.5, **options)
    assert asked == [{"parametrization": "mup", "optimizer": "adam", **options}] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (2,)}, r"widths must be at least two and all different, got \(2,\)"),
        ({"widths": (2, 4, 2)}, "widths must be at least two and all different"),
        ({"steps": 2}, "steps must be at least 3 where nothing starts at zero, got 2"),
        ({"seeds": (1, 2)}, r"seeds must be at least 3 and all different, got \(1, 2\)"),
        ({"seeds": (1, 2, 2, 3)}, "seeds must be at least 3 and all different"),
        ({"learning_rate": 0.0}, r"learning_rate must be a finite positive number, got 0\.0"),
        ({"learning_rate": -0.1}, "learning_rate must be a finite positive number"),
        ({"optimizer": "adm"}, "optimizer must be one of .*, got 'adm'"),
        ({"parametrization": "mpu"}, "parametrization must be one of .*, got 'mpu'"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        check_small(grown_by(lambda width: 1.0), **change)


def transformers(width):
    model = Transformer(17, 8, width, layers=1, heads=2)
    tokens = jnp.zeros((1, 8), jnp.int32)
    return model, tokens, lambda params, batch: jnp.mean(model.apply({"params": params}, batch) ** 2)


def test_keys_need_another_step_and_adafactor_no_zero_start():
    settings = {"base_width": 8, "parametrization": "mup", "learning_rate": 0.1}
    with pytest.raises(
        ValueError, match=r"steps must be at least 4 where readout/kernel, block_0/attention/query/kernel"
    ):
        coordinate_check(transformers, (8, 16), optimizer="adam", steps=3, **settings)
    with pytest.raises(ValueError, match=r"zero_readout and zero_query must be false for adafactor, unless multiply"):
        coordinate_check(transformers, (8, 16), optimizer="adafactor", **settings)


def test_widths_of_other_modules():
    def make_model(width):
        _, batch, loss = grown_by(lambda width: 1.0)(width)
        return Widened(width, inner=f"grown_{width}"), batch, loss

    with pytest.raises(ValueError, match=r"make_model must give the same modules at every width, got '.*grown_[24]'"):
        check_small(make_model, (2, 4))
