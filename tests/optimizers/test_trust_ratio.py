"""The trust ratios of LARS and LAMB against published steps and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import decay_mask, scale_by_trust_ratio
from tests.optimizers.promises import check_promises, run, tree, unstacked

W = jnp.float32([3, 4])
G = jnp.float32([0.6, 0])


def lamb(learning_rate, weight_decay, mask=None, **settings):
    ratio = scale_by_trust_ratio("lamb", weight_decay=weight_decay, mask=mask, **settings)
    return optax.chain(optax.scale_by_adam(eps=1e-6), ratio, optax.scale_by_learning_rate(learning_rate))


def scaled(transform, direction, weights):
    """The step, and the ratios of the state."""
    steps, state = jax.jit(transform.update)(direction, transform.init(weights), weights)
    return steps, state.ratio


def test_lamb_takes_the_published_steps():
    found = run(lamb(0.01, 0.1), W, [G, -G])
    for (params, _), expected in zip(found, ([2.952211055, 3.985295690], [2.926423008, 3.942930731]), strict=True):
        # Numbers of size four in float32; a step of 0.05 is good to 5e-5 of itself, as Adam's ratio is.
        np.testing.assert_allclose(params, expected, rtol=0, atol=2 * (5e-7 + 0.05 * 5e-5))
    with jax.enable_x64(True):
        double = run(lamb(0.01, 0.1), jnp.asarray([3.0, 4.0]), [jnp.asarray([0.6, 0]), jnp.asarray([-0.6, 0])])
    np.testing.assert_allclose(double[0][0], [2.952211055, 3.985295690], rtol=0, atol=1e-9)
    np.testing.assert_allclose(double[1][0], [2.926423008, 3.942930731], rtol=0, atol=1e-9)


def test_the_ratio_of_lars_is_the_papers_and_optaxs_is_another():
    steps, ratio = scaled(scale_by_trust_ratio("lars", weight_decay=0.1), G, W)
    # One quotient and a few products.
    np.testing.assert_allclose(ratio, 0.00454545454, rtol=4 * 6e-8 * 2)
    np.testing.assert_allclose(steps, 0.00454545454 * np.asarray([0.9, 0.4]), rtol=4 * 6e-8 * 2)
    steps, ratio = scaled(scale_by_trust_ratio("lamb", weight_decay=0.1, coefficient=0.001), G, W)
    np.testing.assert_allclose(ratio, 0.00507673, rtol=2e-6)
    np.testing.assert_allclose(-steps, [-0.004569057743, -0.002030692330], rtol=4 * 6e-8 * 2)
    plain = optax.lars(1.0, weight_decay=0.1, momentum=0.0)
    np.testing.assert_allclose(plain.update(G, plain.init(W), W)[0], -steps, rtol=4 * 6e-8 * 2)


def test_lamb_is_that_of_optax():
    params, grads = unstacked(tree(0)), [unstacked(tree(seed)) for seed in (1, 2, 3)]
    # optax's mask is of the decay alone.
    ours, theirs = run(lamb(0.1, 0.3), params, grads), run(optax.lamb(0.1, weight_decay=0.3), params, grads)
    for one, other in zip(*map(jax.tree.leaves, (ours[-1][0], theirs[-1][0])), strict=True):
        # Three steps of a tenth of numbers of at most size four, each good to a few roundings.
        np.testing.assert_allclose(one, other, rtol=0, atol=3 * 4 * 4 * 6e-8)


@pytest.mark.parametrize("kind", ["lars", "lamb"])
def test_every_layer_of_a_stack_has_a_ratio_of_its_own(kind):
    transform = scale_by_trust_ratio(kind, weight_decay=0.1)
    sizes = jnp.float32([1, 10, 100])[:, None, None]
    params = tree(0)
    params["blocks"]["kernel"] *= sizes
    stacked, ratios = scaled(transform, tree(1), params)
    single, alone = scaled(transform, unstacked(tree(1)), unstacked(params))
    for one, other in zip(*map(jax.tree.leaves, (unstacked(stacked), single)), strict=True):
        # Norms of 20 numbers summed in another order.
        np.testing.assert_allclose(one, other, rtol=20 * 6e-8)
    assert ratios["blocks"]["kernel"].shape == ratios["blocks"]["norm"]["scale"].shape == (3,)
    assert ratios["hidden"]["kernel"].shape == ()
    for layer in range(3):
        np.testing.assert_allclose(ratios["blocks"]["kernel"][layer], alone[f"block_{layer}"]["kernel"], rtol=20 * 6e-8)
    assert ratios["blocks"]["kernel"][2] > 5 * ratios["blocks"]["kernel"][0]


def test_layers_may_be_counted_by_hand():
    weights = jnp.float32([[3, 4], [30, 40]])
    direction = jnp.float32([[1, 0], [0, 1]])
    for layer_axes in (1, {"a": 1}):
        transform = scale_by_trust_ratio("lamb", layer_axes=layer_axes)
        _, ratio = scaled(transform, {"a": direction}, {"a": weights})
        np.testing.assert_allclose(ratio["a"], [5, 50], rtol=2e-7)
    _, ratio = scaled(scale_by_trust_ratio("lamb", layer_axes=0), {"blocks": {"a": direction}},
                      {"blocks": {"a": weights}})  # fmt: skip
    np.testing.assert_allclose(ratio["blocks"]["a"], np.sqrt(2525 / 2), rtol=2e-7)


@pytest.mark.parametrize("kind", ["lars", "lamb"])
def test_where_there_is_nothing_to_compare_the_ratio_is_one(kind):
    for decay in (0.0, 0.1):
        transform = scale_by_trust_ratio(kind, weight_decay=decay, phi_min=0.5)
        steps, ratio = scaled(transform, G, jnp.zeros(2))
        np.testing.assert_array_equal(steps, G)
        assert ratio == 1
    steps, ratio = scaled(scale_by_trust_ratio(kind), 0 * G, W)
    assert ratio == 1
    np.testing.assert_array_equal(steps, 0)


def test_the_norm_of_the_weights_is_clipped():
    for settings, size in (({"phi_max": 2.0}, 2), ({"phi_min": 8}, 8), ({"phi_min": 1.0, "phi_max": 10}, 5)):
        _, ratio = scaled(scale_by_trust_ratio("lamb", coefficient=0.5, **settings), G, W)
        np.testing.assert_allclose(ratio, 0.5 * size / 0.6, rtol=4 * 6e-8)
    _, ratio = scaled(scale_by_trust_ratio("lamb", eps=0.4), G, W)
    np.testing.assert_allclose(ratio, 5 / (0.6 + 0.4), rtol=4 * 6e-8)


def test_what_the_mask_leaves_out_keeps_its_direction():
    transform = scale_by_trust_ratio("lamb", weight_decay=0.5, mask=decay_mask)
    steps, ratio = scaled(transform, tree(1), tree(0))
    np.testing.assert_array_equal(steps["hidden"]["bias"], tree(1)["hidden"]["bias"])
    np.testing.assert_array_equal(steps["blocks"]["norm"]["scale"], tree(1)["blocks"]["norm"]["scale"])
    assert ratio["hidden"]["bias"] is None
    assert ratio["blocks"]["norm"]["scale"] is None
    assert (ratio["embedding"]["embedding"] != 1).all()
    given = scale_by_trust_ratio("lamb", weight_decay=0.5, mask=decay_mask(tree(0)))
    jax.tree.map(np.testing.assert_array_equal, scaled(given, tree(1), tree(0)), (steps, ratio))


@pytest.mark.parametrize("kind", ["lars", "lamb"])
def test_promises(kind):
    def build(**numbers):
        return scale_by_trust_ratio(kind, **numbers)

    check_promises(build, {"weight_decay": 0.1, "coefficient": 0.01, "phi_min": 0.5, "phi_max": 10.0, "eps": 1e-6})


def test_bad_calls():
    with pytest.raises(ValueError, match=r"^kind must be one of \['lars', 'lamb'\], got 'adam'$"):
        scale_by_trust_ratio("adam")
    transform = scale_by_trust_ratio("lars")
    with pytest.raises(ValueError, match="params must be given"):
        transform.update(G, transform.init(W))
