import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from lrstudy.models import MLP, ConvNet, ResNet
from lrstudy.tasks import Digits

TRAIN, VALIDATION = 1437, 360


@functools.cache
def data():
    return Digits().load()


def rows(pixels, labels):
    """Every example as one row of whole numbers."""
    return np.column_stack([np.rint(16 * np.asarray(pixels)), labels]).astype(int)


def as_multiset(examples):
    return sorted(map(tuple, examples))


@functools.cache
def numbered():
    """Training data in which an example's first pixel is its place."""
    places = np.zeros((TRAIN, 64), np.float32)
    places[:, 0] = np.arange(TRAIN)
    return {"train_pixels": places, "train_labels": np.arange(TRAIN, dtype=np.int32)}


def epochs(batch_size, seed, first, count):
    """The places of the examples in every batch of some epochs, shape (epochs, batches, batch)."""
    task = Digits(batch_size=batch_size)
    length = TRAIN // batch_size
    steps = jnp.arange(first * length, (first + count) * length)
    drawn = jax.jit(jax.vmap(task.batch, in_axes=(None, None, 0)))
    pixels, labels = drawn(numbered(), jnp.int32(seed), steps)
    places = np.asarray(pixels[..., 0]).astype(int)
    np.testing.assert_array_equal(places, labels)
    return places.reshape(count, length, batch_size)


def test_sizes_and_types():
    assert data()["train_pixels"].shape == (TRAIN, 64)
    assert data()["train_labels"].shape == (TRAIN,)
    assert data()["validation_pixels"].shape == (VALIDATION, 64)
    assert data()["validation_labels"].shape == (VALIDATION,)
    assert {k: v.dtype.name for k, v in data().items()} == {
        "train_pixels": "float32",
        "train_labels": "int32",
        "validation_pixels": "float32",
        "validation_labels": "int32",
    }


def test_the_splits_together_are_the_published_data():
    pixels, labels = load_digits(return_X_y=True)
    # scikit-learn's copy: 1797 images of 64 pixels from 0 to 16, whose sum is 561718.
    assert (pixels.shape, pixels.max(), pixels.sum()) == ((1797, 64), 16, 561_718)
    train = rows(data()["train_pixels"], data()["train_labels"])
    validation = rows(data()["validation_pixels"], data()["validation_labels"])
    assert as_multiset([*train, *validation]) == as_multiset(rows(pixels / 16, labels))
    # No image occurs twice in the data, so nothing that is validated on can have been trained on.
    assert len(np.unique(pixels, axis=0)) == 1797
    assert not set(map(tuple, train)) & set(map(tuple, validation))


def test_every_class_is_in_both_splits():
    for split, size in (("train", TRAIN), ("validation", VALIDATION)):
        counts = np.bincount(data()[f"{split}_labels"], minlength=10)
        # A tenth each, within five standard deviations of a draw.
        assert (np.abs(counts - size / 10) < 5 * np.sqrt(size * 0.09)).all()


def test_the_split_does_not_depend_on_the_seed_of_a_run_or_of_numpy():
    np.random.seed(1)  # noqa: NPY002 - the global state that must not matter
    from lrstudy.tasks.digits import splits

    again = splits.__wrapped__()
    for name, values in data().items():
        np.testing.assert_array_equal(values, again[name])


@pytest.mark.parametrize("batch_size", [1, 64, TRAIN])
def test_an_epoch_is_a_permutation(batch_size):
    epoch = epochs(batch_size, seed=3, first=5, count=1)
    # Every example at most once; what does not fill a batch is left out.
    assert len(np.unique(epoch)) == batch_size * (TRAIN // batch_size)


def test_every_epoch_and_every_seed_has_its_own_order():
    first = epochs(64, seed=0, first=0, count=3)
    other = epochs(64, seed=1, first=0, count=3)
    orders = {tuple(order.ravel()) for order in (*first, *other)}
    assert len(orders) == 6
    # 29 of 1437 are left out, others in every epoch: that one of them is missing from all six has a chance of
    # 1437 (29 / 1437)^6 = 1e-7.
    assert len(np.unique([*first, *other])) == TRAIN


def test_a_batch_holds_examples_with_their_own_labels():
    pixels, labels = jax.jit(Digits(batch_size=300).batch)(jax.device_put(data()), jnp.int32(0), jnp.int32(1))
    known = set(map(tuple, rows(data()["train_pixels"], data()["train_labels"])))
    assert pixels.shape == (300, 64)
    assert set(map(tuple, rows(pixels, labels))) <= known


def test_evaluation_is_over_all_validation_examples():
    task = Digits(model=MLP(outputs=10, layers=0))
    params = {"readout": {"kernel": jnp.zeros((64, 10)), "bias": jnp.zeros(10).at[3].set(1000.0)}}
    measured = jax.jit(task.evaluate)(params, jax.device_put(data()))
    threes = (data()["validation_labels"] == 3).mean()
    # Always three, with certainty: right where it is one, and otherwise 1000 nats wrong. Counts are exact in float32,
    # their quotients to 6e-8.
    assert float(measured["validation_accuracy"]) == pytest.approx(threes, rel=1e-6)
    assert float(measured["validation_loss"]) == pytest.approx(1000 * (1 - threes), rel=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1, TRAIN + 1])
def test_errors(batch_size):
    with pytest.raises(ValueError, match=rf"^task\.batch_size must be in \[1, 1437\], got {batch_size}$"):
        Digits(batch_size=batch_size)


@pytest.mark.parametrize("model", [ConvNet(outputs=10, width=8), ResNet(outputs=10, width=8, layers=1)])
def test_networks_of_images_learn_the_digits(model):
    task = Digits(model=model, batch_size=50)
    data = jax.device_put(task.load())
    params = jax.jit(task.init)(jax.random.key(0))

    adam = optax.adam(1e-2)

    def update(state, step):
        params, moments = state
        batch = task.batch(data, jnp.int32(0), step)
        updates, moments = adam.update(jax.grad(lambda p: task.loss(p, batch)[0])(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    (trained, _), _ = jax.jit(lambda p: jax.lax.scan(update, (p, adam.init(p)), jnp.arange(200)))(params)
    first, last = (jax.jit(task.evaluate)(p, data) for p in (params, trained))
    # Chance is a tenth.
    assert float(last["validation_accuracy"]) > 0.7
    assert float(last["validation_loss"]) < float(first["validation_loss"])


def test_standardised_pixels_are_the_same_images_of_mean_zero_and_deviation_one():
    plain, own = (Digits(standardised=flag).load() for flag in (False, True))
    names = ("train_pixels", "validation_pixels")
    pixels, scaled = (np.concatenate([data[name] for name in names]).astype(np.float64) for data in (plain, own))
    # Float32 keeps 6e-8 of every pixel.
    assert abs(scaled.mean()) < 1e-6
    assert abs(scaled.std() - 1) < 1e-6
    np.testing.assert_allclose(scaled, (pixels - pixels.mean()) / pixels.std(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(own["train_labels"], plain["train_labels"])
