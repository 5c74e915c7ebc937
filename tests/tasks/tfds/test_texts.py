import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from lrstudy.models import Transformer
from lrstudy.tasks import TensorflowDataset
from lrstudy.tasks.ahead import read_block
from lrstudy.tasks.shuffling import epoch_items_on_host
from tests.tasks.tfds.made import prepare, text_set, texts

END = 256


def task(tmp_path, **fields):
    given = {"name": "made_texts", "data_dir": str(tmp_path), "context": 5, "batch_size": 4, **fields}
    return TensorflowDataset(**given)


def packed(made):
    """The tokens of texts one after the other, the plain way."""
    return [token for text in made for token in (*text, END)]


def windows(tokens, context):
    count = (len(tokens) - 1) // context
    cut = [tokens[start : start + context + 1] for start in range(0, count * context, context)]
    return np.asarray(cut).reshape(count, context + 1)


@pytest.mark.parametrize("context", [1, 5, 64])
def test_windows_are_the_texts_with_ends_side_by_side(tmp_path, context):
    made, held_out = texts(700, seed=1, longest=12), texts(40, seed=2)
    features = {"text": tfds.features.Text(), "url": tfds.features.Text()}
    splits = {name: [{"text": t, "url": b"?"} for t in part] for name, part in (("train", made), ("test", held_out))}
    prepare(tmp_path, "made_texts", features, splits)
    asked = task(tmp_path, context=context, validation_split="test", validation_windows=7)
    expected = windows(packed(made), context)
    data = asked.load()
    assert data["train"].dtype == data["validation"].dtype == np.uint16
    np.testing.assert_array_equal(windows(data["train"].tolist(), context), expected)
    reading = asked.own().training_windows()
    assert len(reading) == len(expected) == asked.facts()["windows"]
    assert asked.facts()["tokens"] == len(packed(made))
    some = np.unique(np.r_[0, len(expected) - 1, np.random.default_rng(0).integers(0, len(expected), 200)])
    np.testing.assert_array_equal(reading.rows(some), expected[some])
    validation = windows(packed(held_out), context)
    places = np.linspace(0, len(validation) - 1, min(7, len(validation))).astype(int)
    np.testing.assert_array_equal(data["validation"], validation[places])


def test_a_tenth_of_the_texts_is_held_out_and_never_trained_on(tmp_path):
    # Every text says its number, so that windows of any part tell which it is.
    made = [b"%06d" % number for number in range(1000)]
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": [{"text": text} for text in made]})
    asked = task(tmp_path, context=7, validation_windows=100)
    data = asked.load()
    train = {bytes(row[:6].astype(np.uint8)) for row in data["train"][:-1].reshape(-1, 7)}
    validation = [bytes(row[:6].astype(np.uint8)) for row in data["validation"]]
    assert len(train) == 899  # the last one lacks the token behind its end
    assert len(set(validation)) == 99
    assert not train & set(validation)
    places = np.asarray([int(text) for text in validation])
    # One of every ten, at no place in particular.
    np.testing.assert_array_equal(places // 10, np.arange(99))
    assert len(set(places % 10)) == 10
    order = [int(bytes(row[:6].astype(np.uint8))) for row in data["train"][:-1].reshape(-1, 7)]
    assert order == sorted(order)


def test_what_is_left_over_of_tens_is_trained_on(tmp_path):
    made = [b"%06d" % number for number in range(19)]
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": [{"text": text} for text in made]})
    tokens = packed([text for text in made if text not in (made[held_out_of(19)],)])
    np.testing.assert_array_equal(task(tmp_path, context=6).load()["train"], tokens[: (len(tokens) - 1) // 6 * 6 + 1])


def held_out_of(size):
    from lrstudy.tasks.tfds.examples import HELD_OUT, Places

    (place,) = Places(size, HELD_OUT).of(np.arange(1))
    return int(place)


def test_memory_and_stream_give_the_same_batches_to_the_bit_in_any_order_of_asking(tmp_path):
    text_set(tmp_path, count=300)
    loaded, streamed = task(tmp_path, input="memory"), task(tmp_path, input="stream")
    assert loaded.reader() is None
    assert set(streamed.load()) == {"validation"}
    data, batch = jax.device_put(loaded.load()), jax.jit(loaded.batch)
    reader = streamed.reader()
    epoch = len(streamed.own().training_windows()) // 4
    asked = [(seed, step) for seed in (0, 7, 2**31 - 1) for step in (0, 1, epoch - 1, epoch, 123_456)]
    found = {pair: reader(*pair) for pair in asked}
    again = pickle.loads(pickle.dumps(reader))
    for seed, step in reversed(asked):
        expected = np.asarray(batch(data, jnp.int32(seed), jnp.int32(step)))
        for read in (found[seed, step], again(seed, step)):
            assert (read.dtype, read.shape) == (np.uint16, (4, 6))
            np.testing.assert_array_equal(read, expected)


def test_a_program_finds_what_was_read_ahead(tmp_path):
    text_set(tmp_path, count=300)
    model = Transformer(vocabulary=257, context=5, width=8, layers=1, heads=2)
    loaded, streamed = (task(tmp_path, input=name, model=model) for name in ("memory", "stream"))
    data = loaded.load()
    ahead = read_block(streamed.load(), streamed.reader(), (3, 1), 20, 24)
    for seed in (1, 3):
        for step in range(20, 24):
            pair = jnp.int32(seed), jnp.int32(step)
            np.testing.assert_array_equal(jax.jit(streamed.batch)(ahead, *pair), jax.jit(loaded.batch)(data, *pair))
    params = jax.jit(loaded.init)(jax.random.key(0))
    assert jax.jit(streamed.evaluate)(params, ahead) == jax.jit(loaded.evaluate)(params, data)
    shapes = jax.eval_shape(lambda: ahead)
    abstract = jax.tree.map(lambda x: (x.shape, x.dtype), streamed.abstract_data().resident)
    assert abstract == jax.tree.map(lambda x: (x.shape, x.dtype), shapes.resident)


def test_what_does_not_read_ahead_says_what_to_do(tmp_path):
    text_set(tmp_path, count=100)
    streamed = task(tmp_path, input="stream")
    with pytest.raises(ValueError, match=r"^task\.input must be memory where batches are not read ahead, got "):
        streamed.batch(streamed.load(), jnp.int32(0), jnp.int32(0))


def test_small_data_are_loaded_unless_asked_otherwise(tmp_path, monkeypatch):
    text_set(tmp_path, count=100)
    assert task(tmp_path).reader() is None
    monkeypatch.setattr("lrstudy.tasks.tfds.feeding.MEMORY_BYTES", 1000)
    assert task(tmp_path).reader() is not None
    assert task(tmp_path, input="memory").reader() is None


@pytest.mark.parametrize("given", ["memory", "stream"])
def test_abstract_data_are_the_shapes_of_what_is_there(tmp_path, given):
    text_set(tmp_path, count=100)
    asked = task(tmp_path, input=given)
    real = asked.load() if given == "memory" else read_block(asked.load(), asked.reader(), (0,), 0, 1)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), (asked.abstract_data(), jax.eval_shape(lambda: real)))
    assert shapes[0] == shapes[1]


def test_an_epoch_sees_every_window_once(tmp_path):
    text_set(tmp_path, count=100)
    asked = task(tmp_path, batch_size=3)
    reading = asked.own().training_windows()
    steps = len(reading) // 3
    seen = np.concatenate([epoch_items_on_host(5, 2 * steps + step, len(reading), 3) for step in range(steps)])
    reader = dataclasses.replace(asked, input="stream").reader()
    batches = np.concatenate([reader(5, 2 * steps + step) for step in range(steps)])
    np.testing.assert_array_equal(batches, reading.rows(seen.astype(int)))
    assert len(set(seen.tolist())) == 3 * steps


def test_training_lowers_the_loss(tmp_path):
    # A text of one word: what follows is certain but for the first letters.
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": [{"text": b"abcdefg"}] * 200})
    model = Transformer(vocabulary=257, context=5, width=16, layers=0)
    asked = task(tmp_path, batch_size=16, model=model)
    evaluate, data, params = jax.jit(asked.evaluate), asked.load(), jax.jit(asked.init)(jax.random.key(0))

    @jax.jit
    def descend(params, step):
        batch = asked.batch(data, jnp.int32(0), step)
        gradient = jax.grad(lambda p: asked.loss(p, batch)[0])(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)

    first = evaluate(params, data)["validation_loss"]
    for step in range(100):
        params = descend(params, jnp.int32(step))
    assert float(first) > 4
    assert float(evaluate(params, data)["validation_loss"]) < 1
