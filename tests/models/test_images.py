"""The two networks that see images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import ConvNet, ResNet
from tests.models import reference
from tests.models.cases import randomized

CASES = {
    "convnet": (ConvNet(outputs=4, width=3), reference.convnet),
    "odd convnet": (ConvNet(outputs=4, width=3, side=7), reference.convnet),
    "resnet": (ResNet(outputs=4, width=3), reference.resnet),
    "scaled resnet": (ResNet(outputs=4, width=3, layers=1, side=5, branch_scale=0.3), reference.resnet),
    "resnet without blocks": (ResNet(outputs=4, width=3, layers=0), reference.resnet),
}


def inputs(model, *lead):
    return np.random.default_rng(1).normal(size=(*lead, model.side**2)).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_equals_plain_numpy_with_any_leading_axes(name):
    model, plain = CASES[name]
    x = inputs(model, 2, 3)
    params = randomized(model, x)
    expected = np.stack([[plain(params, row, model) for row in rows] for rows in x.astype(np.float64)])
    # Float32 keeps 6e-8 of every product; five layers of sums of at most 27 of them, relative to the largest score.
    tolerance = 1e-5 * np.abs(expected).max()
    apply = jax.jit(model.apply)
    scores = apply({"params": params}, x)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(apply({"params": params}, x[1, 2]), expected[1, 2], rtol=0, atol=tolerance)


@pytest.mark.parametrize("row", [ConvNet, ResNet])
def test_an_image_of_one_channel_is_its_row_of_pixels(row):
    model = row(outputs=4, width=3, side=7)
    rows = inputs(model, 5)
    params = randomized(model, rows)
    as_images = jax.jit(row(outputs=4, width=3).apply)({"params": params}, rows.reshape(5, 7, 7, 1))
    np.testing.assert_array_equal(as_images, jax.jit(model.apply)({"params": params}, rows))


@pytest.mark.parametrize("row", [ConvNet, ResNet])
def test_images_have_several_channels_and_sides_of_their_own(row):
    model = row(outputs=4, width=3)
    x = np.random.default_rng(1).normal(size=(2, 5, 11, 11, 3)).astype(np.float32)
    params = randomized(model, x)
    first = params["conv_0" if row is ConvNet else "stem"]["kernel"]
    assert first.shape == (3, 3, 3, 3)
    scores = jax.jit(model.apply)({"params": params}, x)
    assert scores.shape == (2, 5, 4)
    # A channel whose kernels are zero is not seen, and the others are then an image of fewer channels.
    blind = jax.tree.map(np.copy, params)
    blind["conv_0" if row is ConvNet else "stem"]["kernel"][:, :, 1:] = 0
    alone = jax.tree.map(np.copy, params)
    alone["conv_0" if row is ConvNet else "stem"]["kernel"] = first[:, :, :1]
    of_one = jax.jit(model.apply)({"params": alone}, x[..., :1])
    # Sums of 27 products, two thirds of them zero, in another order.
    np.testing.assert_allclose(
        jax.jit(model.apply)({"params": blind}, x), of_one, rtol=0, atol=1e-5 * np.abs(of_one).max()
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # Kernels of 3 x 3, a bias a channel; 2 x 2 pixels are left for the readout.
        (ConvNet(outputs=10, width=16), (9 * 16 + 16) + (9 * 16 * 16 + 16) + (4 * 16 * 10 + 10)),
        # No biases but the readout's; a scale a channel in every norm.
        (ResNet(outputs=10, width=16, layers=2), 9 * 16 + 2 * 2 * (16 + 9 * 16 * 16) + 16 + (16 * 10 + 10)),
    ],
    ids=["convnet", "resnet"],
)
def test_parameter_count(model, expected):
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs(model, 1))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == expected
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("row", [ConvNet, ResNet])
def test_what_cannot_be_is_refused(row):
    with pytest.raises(ValueError, match=r"^model\.width must be an int of at least 1, got 0$"):
        row(outputs=4, width=0)
    least = 4 if row is ConvNet else 1
    with pytest.raises(ValueError, match=rf"^model\.side must be an int of at least {least}, got {least - 1}$"):
        row(outputs=4, side=least - 1)
    with pytest.raises(ValueError, match=r"^model\.side \(8\) squared must be the number of pixels, got 63"):
        jax.eval_shape(row(outputs=4).init, jax.random.key(0), jnp.zeros((1, 63)))
    with pytest.raises(ValueError, match=r"^model\.side \(8\) squared must be the number of pixels, got 3"):
        jax.eval_shape(row(outputs=4).init, jax.random.key(0), jnp.zeros((1, 9, 10, 3)))


def test_layers_are_zero_or_more():
    with pytest.raises(ValueError, match=r"^model\.layers must be an int of at least 0, got -1$"):
        ResNet(outputs=4, layers=-1)


@pytest.mark.parametrize("row", [ConvNet, ResNet])
def test_every_parameter_has_a_gradient_and_convolutions_start_by_their_fan_in(row):
    model = row(outputs=4, width=64)
    x = inputs(model, 5)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    gradients = jax.jit(jax.grad(lambda p, x: jnp.sum(jnp.square(model.apply({"params": p}, x)))))(params, x)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert bool(jnp.any(gradient != 0)), jax.tree_util.keystr(path)
    kernel = (params["conv_1"] if row is ConvNet else params["block_1"]["conv_0"])["kernel"]
    # Nine pixels of 64 channels; five standard errors.
    assert float(jnp.std(kernel)) == pytest.approx((9 * 64) ** -0.5, rel=5 / np.sqrt(2 * kernel.size))
