"""What every optimizer of the table promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE
from lrstudy.schedules import Cosine
from lrstudy.training import checkpoint
from tests.optimizers.surroundings import surroundings

ROWS = list(TABLE)
SHAPES = {
    "blocks": {"kernel": (2, 3, 4), "scale": (2, 3)},
    "matrix": (4, 3),
    "more": {"kernel": (2, 3, 2), "scalar": ()},
    "readout": {"kernel": (3, 2)},
    "vector": (5,),
}
IS_MATRIX = {
    "blocks": {"kernel": True, "scale": False},
    "matrix": True,
    "more": {"kernel": True, "scalar": False},
    "readout": {"kernel": True},
    "vector": False,
}
STEPS, LAYERS = 3, 2
SCHEDULE = Cosine(0.1, 10)

# What estimates its rate begins with steps of a millionth, and a step of LARS is a thousandth of its tensor: what
# three updates of bfloat16 do not show.
BEGUN = {
    "dadapt_adamw": {"initial_rate": 0.1},
    "dog": {"initial_distance": 0.1},
    "dowg": {"initial_distance": 0.4},
    "lars": {"coefficient": 0.1},
    "mechanic": {"initial_scale": 0.1},
    "prodigy": {"initial_rate": 0.1},
}
SETTINGS = {name: {**row.defaults, **BEGUN.get(name, {})} for name, row in TABLE.items()}
NUMBERS = {name: [k for k, v in row.defaults.items() if type(v) is float] for name, row in TABLE.items()}
STATIC = {name: [k for k, v in row.defaults.items() if type(v) is not float] for name, row in TABLE.items()}

# Where an argument shows within three steps: settings that differ from the defaults, and another value than one half.
ALONG = {"momentum": {"inner": "momentum"}, "b1": {"inner": "adam"}, "b2": {"inner": "adam"}, "eps": {"inner": "adam"}}
SOON = {"accumulation": 1, "patience": 1}
SHOWN_AT = {
    "ademamix": {"": {"b3": 0.9}, "warmup_steps": {"b3": 0.99, "warmup_steps": 2}},
    "dog": {"eps": {"initial_distance": 0.5}},
    "fedhyper": {"": {"beta": 0.01}, "momentum": {"kind": "GM"}},
    "frugal_adamw": {"reset": {"gap": 1}},
    "hypergradient": {"": {"beta": 0.01}, "beta": {"beta": 0.01}, **ALONG},
    "lisa_adamw": {"period": {"gamma": 1}, "draws": {"gamma": 1, "period": 1}, "state": {"gamma": 1, "period": 1}},
    "mechanic": {"num_betas": {"initial_scale": 0.5}},
    "nap": ALONG,
    "plateau": {"": SOON, **{argument: {**SOON, **settings} for argument, settings in ALONG.items()}},
    "reset_adamw": {"which": {"every": 1}},
    "prodigy": {"coefficient": {"coefficient": 100.0}, "safeguard_warmup": {"coefficient": 100.0}},
    "sam": ALONG,
    "sophia": {"update_interval": {"gamma": 100.0}},
}
OTHER = {
    ("adafactor", "min_dim_size_to_factor"): 2,
    ("ademamix", "warmup_steps"): 5,
    ("frugal_adamw", "density_percent"): 50, ("frugal_adamw", "gap"): 1, ("frugal_adamw", "free"): "none",
    ("frugal_adamw", "kind"): "rows",
    ("galore", "rank"): 1, ("galore", "gap"): 1,
    ("lisa_adamw", "gamma"): 1, ("lisa_adamw", "period"): 1, ("lisa_adamw", "state"): "keep",
    ("lisa_adamw", "draws"): 0.25,
    ("mechanic", "num_betas"): 1,
    ("nadamw", "rule"): "algoperf",
    ("fedhyper", "kind"): "GM", ("fedhyper", "product"): "cosine",
    ("hypergradient", "inner"): "momentum", ("hypergradient", "kind"): "mul", ("hypergradient", "high"): 0.05,
    ("muon", "ns_steps"): 4,
    ("nap", "inner"): "momentum",
    ("plateau", "inner"): "momentum", ("plateau", "patience"): 2, ("plateau", "cooldown"): 1,
    ("plateau", "accumulation"): 2,
    ("reset_adamw", "every"): 1, ("reset_adamw", "which"): "first",
    ("sam", "inner"): "momentum",
    ("sophia", "update_interval"): 1,
}  # fmt: skip


def tree(seed, dtype=jnp.float32, steps=()):
    rng = np.random.default_rng(seed)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda x: isinstance(x, tuple))
    return structure.unflatten([jnp.asarray(rng.normal(size=(*steps, *shape)), dtype) for shape in shapes])


def gradients():
    """Of every update: they agree a little, as they do along a slope, so that an estimate of the rate can grow."""
    return jax.tree.map(lambda slope, noise: slope / 2 + noise, tree(1), tree(2, steps=(STEPS,)))


def build(name, learning_rate, **changed):
    return TABLE[name].build(learning_rate, **{**SETTINGS[name], **changed})


def updater(transform):
    """``update`` for a loss that stays at one."""
    inner = optax.with_extra_args_support(transform)
    return lambda grads, state, params: inner.update(grads, state, params, **surroundings(grads, params))


def train(transform, params, grads):
    """Parameters and state after one update for every gradient of a stack."""

    def step(carry, grad):
        params, state = carry
        updates, state = updater(transform)(grad, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, transform.init(params)), grads)[0]


def shapes_of(values):
    return jax.tree.map(lambda x: (x.shape, x.dtype.name), values)


def assert_bitwise(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def assert_close(first, second):
    """Equal but for a few roundings of float32 in numbers of size one.

    Two programs may fuse products and sums in other places; three updates of some ten operations each.
    """
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3 * 10 * 6e-8)


@pytest.mark.parametrize("name", ROWS)
def test_defaults_are_plain_values_and_build(name):
    row = TABLE[name]
    for argument, default in row.defaults.items():
        assert type(default) in (int, float, bool, str), argument
        assert (type(default) is str) == (argument in row.choices), argument
    assert set(row.bounds) | set(row.choices) <= set(row.defaults)
    for learning_rate in (0.1, jnp.float32(0.1), SCHEDULE):
        built = build(name, learning_rate)
        assert isinstance(built, optax.GradientTransformation)


@pytest.mark.parametrize("name", ROWS)
def test_an_argument_outside_of_the_table_is_refused(name):
    with pytest.raises(TypeError, match="learning_speed"):
        build(name, 0.1, learning_speed=1.0)


@functools.cache
def trained_with_defaults(name):
    return jax.jit(lambda p, g: train(build(name, SCHEDULE), p, g))(tree(0), gradients())


class Program:
    """``(peak, numbers) -> parameters and state`` after a few updates; numbers are traced.

    Attributes:
        run: the function itself.
        compiled: the same, compiled.
        traced: one entry for every time that it was.
    """

    def __init__(self, name, static):
        self.name, self.static, self.traced = name, static, []
        self.compiled = jax.jit(self.counted)

    def run(self, peak, numbers):
        transform = build(self.name, Cosine(peak, 10), **numbers, **self.static)
        return train(transform, tree(0), gradients())

    def counted(self, peak, numbers):
        self.traced.append(peak)
        return self.run(peak, numbers)

    def __call__(self, peak, numbers):
        return self.compiled(jnp.float32(peak), {k: jnp.float32(v) for k, v in numbers.items()})


@functools.cache
def cached_program(name, static):
    return Program(name, dict(static))


def program(name, settings):
    """The program of all settings with these names and flags."""
    return cached_program(name, tuple((k, settings[k]) for k in STATIC[name]))


def numbers_of(name, settings):
    return {k: settings[k] for k in NUMBERS[name]}


def trained(name, settings):
    """Parameters after a few updates."""
    return program(name, settings)(SCHEDULE.peak, numbers_of(name, settings))[0]


@functools.cache
def first_step(name):
    """A transform and its update, as it is and compiled: what several tests start with."""
    transform = build(name, SCHEDULE)

    def step(grads, state, params):
        updates, state = updater(transform)(grads, state, params)
        return optax.apply_updates(params, updates), state, updates

    return transform, step, jax.jit(step)


@pytest.mark.parametrize(("name", "argument"), [(n, a) for n, row in TABLE.items() for a in row.defaults])
def test_every_hyperparameter_has_an_effect(name, argument):
    shown = SHOWN_AT.get(name, {})
    settings = {**SETTINGS[name], **shown.get(argument, shown.get("", {}))}
    before = settings[argument]
    after = OTHER.get((name, argument), not before if type(before) is bool else 0.5)
    assert type(after) is type(before)
    assert after != before
    one, other = trained(name, {**settings, argument: after}), trained(name, settings)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)
    assert max(jax.tree.leaves(moved)) > 1e-4


@pytest.mark.parametrize(("name", "argument"), [(n, a) for n, row in TABLE.items() for a in row.choices])
def test_every_named_choice_builds_and_another_is_refused(name, argument):
    for choice in TABLE[name].choices[argument]:
        assert np.isfinite(optax.tree.norm(trained(name, {**SETTINGS[name], argument: choice})))
    with pytest.raises(ValueError, match=f"^{argument} must be one of .*got 'other'$"):
        build(name, SCHEDULE, **{argument: "other"})


PLAIN = {
    "adam": optax.adam(SCHEDULE, b1=0.9, b2=0.999, eps=1e-8),
    "adamw": optax.adamw(SCHEDULE, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4, mask=IS_MATRIX),
    "ademamix": optax.contrib.ademamix(SCHEDULE, mask=IS_MATRIX),
    "nadamw": optax.nadamw(SCHEDULE, mask=IS_MATRIX),
    "lion": optax.lion(SCHEDULE, b1=0.9, b2=0.99, weight_decay=0.0, mask=IS_MATRIX),
    "momentum": optax.sgd(SCHEDULE, momentum=0.9),
    "sgd": optax.sgd(SCHEDULE),
}


@pytest.mark.parametrize("name", PLAIN)
def test_defaults_are_those_of_plain_optax(name):
    plain = jax.jit(lambda p, g: train(PLAIN[name], p, g))(tree(0), gradients())
    assert_bitwise(trained_with_defaults(name), plain)


@pytest.mark.parametrize("name", ROWS)
def test_lanes_of_numbers_are_the_numbers_alone(name):
    alone = program(name, SETTINGS[name])
    # The default, and two values below it that are valid for decays, offsets and coefficients alike.
    numbers = {k: v * jnp.float32([1, 0.5, 0.9]) for k, v in numbers_of(name, SETTINGS[name]).items()}
    peaks = jnp.float32([0.1, 0.2, 0.003])
    together = jax.jit(jax.vmap(alone.run))(peaks, numbers)
    for lane in range(len(peaks)):
        one = alone(*jax.tree.map(lambda x, lane=lane: x[lane], (peaks, numbers)))
        assert_close(jax.tree.map(lambda x, lane=lane: x[lane], together), one)
    # One program served all numbers.
    assert len(alone.traced) == 1


@pytest.mark.parametrize("name", ROWS)
def test_parameters_keep_their_type_and_state_is_float32(name):
    def step(params, grads, rate, changed):
        transform = build(name, Cosine(rate, 10), **changed)
        before = transform.init(params)
        updates, after = updater(transform)(grads, before, params)
        return optax.apply_updates(params, updates), before, after

    params = tree(0, "bfloat16")
    moved, before, after = jax.jit(step)(params, tree(1, "bfloat16"), 0.1, numbers_of(name, SETTINGS[name]))
    # Traced hyperparameters must not change the state's type, or no loop could carry it.
    assert shapes_of(before) == shapes_of(after)
    assert not {"bfloat16"} & {str(leaf.dtype) for leaf in jax.tree.leaves(before)}
    for new, old in ((moved, params), (trained_with_defaults(name)[0], tree(0))):
        assert shapes_of(new) == shapes_of(old)
        for one, other in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
            assert np.isfinite(np.asarray(one, np.float32)).all()
            assert (np.asarray(one) != np.asarray(other)).any()


@pytest.mark.parametrize("name", ROWS)
def test_shapes_are_known_without_computing_and_do_not_change(name):
    params = jax.eval_shape(lambda: tree(0))

    def update(rate, changed, grads, params):
        transform = build(name, Cosine(rate, 10), **changed)
        state = transform.init(params)
        return state, *updater(transform)(grads, state, params)

    numbers = {k: jnp.float32(0.5) for k in NUMBERS[name]}
    first, updates, second = jax.eval_shape(update, jnp.float32(0.1), numbers, params, params)
    assert shapes_of(updates) == shapes_of(params)
    # A loop carries the state, so an update must give back what it took; traced numbers are of a strong type.
    assert shapes_of(second) == shapes_of(first)
    assert shapes_of(jax.eval_shape(build(name, SCHEDULE).init, params)) == shapes_of(first)
    assert shapes_of(first) == shapes_of(build(name, SCHEDULE).init(tree(0)))


@pytest.mark.parametrize("name", ROWS)
def test_state_and_parameters_can_be_donated_right_after_init(name):
    transform, step, compiled = first_step(name)
    params, grads = tree(0), tree(1)
    state = transform.init(params)
    expected = compiled(grads, state, params)
    # A buffer that two leaves share cannot be donated twice, and one that is not used raises a warning, here an error.
    assert_bitwise(jax.jit(step, donate_argnums=(1, 2))(grads, state, params), expected)
    # A number that an update overwrites without reading it, such as the rate or ratios it applied, is left alone.
    assert all(x.is_deleted() for x in jax.tree.leaves((state, params)) if x.size > LAYERS)


@pytest.mark.parametrize("name", ROWS)
def test_a_zero_first_gradient_gives_finite_updates(name):
    transform, _, step = first_step(name)
    zeros = jax.tree.map(jnp.zeros_like, tree(0))
    _, state, still = step(zeros, transform.init(zeros), zeros)
    # Nothing pulls at parameters of zero: neither a gradient nor a decay.
    assert_bitwise(jax.tree.map(jnp.abs, still), zeros)
    for grads in (zeros, tree(1)):
        _, state, updates = step(grads, state, tree(0))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(updates))
        # The best loss of an optimizer that has not looked yet is infinite.
        assert not any(np.isnan(x).any() for x in jax.tree.leaves(state))


def test_a_checkpoint_brings_every_state_back_bit_for_bit(tmp_path):
    """One checkpoint for all rows, of few tensors: what takes time is the number of arrays."""
    few = {"blocks": {"kernel": jnp.ones((2, 3, 4))}, "vector": jnp.ones(5)}
    states = {name: build(name, SCHEDULE).init(few) for name in ROWS}
    rng = np.random.default_rng(0)
    saved = jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=9, size=x.shape)).astype(x.dtype), states)
    checkpoint.save(tmp_path, 1, saved, {})
    assert_bitwise(checkpoint.restore(tmp_path, jax.eval_shape(lambda: saved)).tree, saved)


@pytest.mark.parametrize("name", ROWS)
def test_evaluated_parameters_are_like_those_that_are_trained(name):
    params, state = trained_with_defaults(name)
    evaluated = jax.jit(TABLE[name].eval_params)(state, params)
    assert shapes_of(evaluated) == shapes_of(params)
    if name in PLAIN:  # those that do not average
        assert_bitwise(evaluated, params)


WRAPPED = [name for name in ROWS if TABLE[name].scaled]


def first_step_of(transform):
    return lambda grads, params: updater(transform)(grads, transform.init(params), params)


def first_updates(name, around, **changed):
    """The first updates of a gradient and of none, which is the decay alone, whatever is around the direction."""
    transform = build(name, SCHEDULE, around=around, **changed)
    first = jax.jit(lambda p, g: updater(transform)(g, transform.init(p), p)[0])
    return first(tree(0), tree(1)), first(tree(0), jax.tree.map(jnp.zeros_like, tree(1)))


@pytest.mark.parametrize("name", WRAPPED)
def test_nothing_around_a_direction_changes_nothing(name):
    asked = []

    def around(pure):
        asked.append(pure)
        return pure

    transform = build(name, SCHEDULE, around=around)
    assert len(asked) == 1
    assert isinstance(asked[0], optax.GradientTransformation)
    # The same program to the letter, so the same numbers.
    wrapped, plain = (
        str(jax.make_jaxpr(first_step_of(tx))(tree(1), tree(0))) for tx in (transform, build(name, SCHEDULE))
    )
    assert wrapped == plain


@pytest.mark.parametrize("name", WRAPPED)
def test_a_factor_around_a_direction_is_on_every_first_step_but_not_on_the_decay(name):
    factors = jax.tree.map(lambda power: 2.0**power, {**IS_MATRIX, "readout": {"kernel": 3}})

    def around(pure):
        scaled = optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors))
        return optax.chain(pure, scaled)

    decays = {"weight_decay": 0.5} if "weight_decay" in TABLE[name].defaults else {}
    plain, decay = first_updates(name, None, **decays)
    scaled, _ = first_updates(name, around, **decays)
    if name == "nap":  # what is projected afterwards is longer by other factors
        factors = jax.tree.map(lambda factor, matrix: np.nan if matrix else factor, factors, IS_MATRIX)
    for factor, one, more, still in zip(*map(jax.tree.leaves, (factors, plain, scaled, decay)), strict=True):
        if np.isfinite(factor):
            # Sums of a few numbers of at most size ten; factors and their products are exact.
            np.testing.assert_allclose(more - still, factor * (one - still), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ROWS if not TABLE[name].scaled])
def test_what_cannot_be_scaled_tensor_by_tensor_refuses_it(name):
    with pytest.raises(ValueError, match=f"^around must be None for {name}: "):
        build(name, 1.0, around=lambda pure: pure)
