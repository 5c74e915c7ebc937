import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lrstudy.models import TABLE
from lrstudy.tasks import TensorflowDataset
from lrstudy.tasks.ahead import read_block
from lrstudy.tasks.tfds.examples import HELD_OUT, KEPT, Places
from tests.tasks.test_losses import cross_entropies
from tests.tasks.tfds.made import encoded, image_features, image_set, images, prepare


def task(tmp_path, name="made_images", **fields):
    return TensorflowDataset(name=name, data_dir=str(tmp_path), **{"batch_size": 4, **fields})


def with_model(asked, name, **options):
    model = TABLE[name](**asked.model_arguments(), **options)
    return TensorflowDataset(**{**vars(asked), "model": model})


def encoded_set(tmp_path, made, labels, kind, shape=(None, None, 3)):
    image = tfds.features.Image(shape=shape, encoding_format=kind.lower())
    examples = [{"image": encoded(x, kind), "label": int(y)} for x, y in zip(made, labels, strict=True)]
    prepare(tmp_path, "made_images", {**image_features((1, 1, 3)), "image": image}, {"train": examples})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", ["numbers", "PNG"])
def test_images_and_labels_are_those_of_the_set(tmp_path, channels, stored):
    if stored == "numbers":
        made, labels = image_set(tmp_path, channels=channels)
    else:
        made, labels = images(50, channels=channels)
        encoded_set(tmp_path, made, labels, "PNG", (6, 6, channels))
    asked = task(tmp_path, validation_examples=5)
    data = asked.load()
    for part, name in ((KEPT, "train"), (HELD_OUT, "validation")):
        places = Places(50, part)
        chosen = places.of(np.arange(len(places)))
        np.testing.assert_array_equal(data[name][0], made[chosen])
        np.testing.assert_array_equal(data[name][1], labels[chosen])
        assert (data[name][0].dtype, data[name][1].dtype) == (np.uint8, np.int32)
    assert asked.facts()["examples"] == 45
    assert asked.facts()["lines"] == 6


def test_jpegs_of_any_size_and_colour_are_brought_to_one(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(20, 30), (30, 20), (16, 16), (8, 8), (100, 40)] * 4
    made = [np.full((*size, 3), rng.integers(0, 256, 3), np.uint8) for size in sizes]
    made[7] = np.full((30, 20, 1), 90, np.uint8)  # a grey one among coloured ones
    encoded_set(tmp_path, made, np.arange(20) % 4, "JPEG")
    with pytest.raises(ValueError, match=r"^task\.side must be in \[4, 4096\] where images are not all square "):
        task(tmp_path).facts()
    asked = task(tmp_path, side=16, split="train", validation_split="train", validation_examples=20)
    data = asked.load()
    assert data["train"][0].shape == (20, 16, 16, 3)
    for found, image in zip(data["train"][0], made, strict=True):
        # A plain colour stays what it is, up to JPEG's own rounding of brightness and colour.
        assert np.abs(found.astype(int) - image[0, 0].astype(int)).max() <= 4
    np.testing.assert_array_equal(data["train"][1], np.arange(20) % 4)


def test_the_middle_of_an_image_is_what_is_seen(tmp_path):
    # Lines of their own grey: of 12 x 8 the middle 8 lines; halved, 6 x 4, of which the middle 4 lines.
    tall = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[:, None, None], 8, axis=1)
    encoded_set(tmp_path, [tall, tall.transpose(1, 0, 2)] * 6, np.zeros(12, int), "PNG", (None, None, 1))
    found = task(tmp_path, side=8, validation_split="train", validation_examples=2).load()["train"][0]
    np.testing.assert_array_equal(found[0], tall[2:10])
    np.testing.assert_array_equal(found[1], tall[2:10].transpose(1, 0, 2))
    halved = task(tmp_path, side=4, validation_split="train", validation_examples=2).load()["train"][0]
    expected = np.asarray(Image.fromarray(tall[..., 0]).resize((4, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(halved[0, ..., 0], expected[1:5])


def test_memory_and_stream_give_the_same_batches_to_the_bit(tmp_path):
    made, labels = images(64)
    encoded_set(tmp_path, made, labels, "JPEG", (6, 6, 3))
    loaded, streamed = task(tmp_path, input="memory"), task(tmp_path, input="stream")
    data, batch = jax.device_put(loaded.load()), jax.jit(loaded.batch)
    reader = pickle.loads(pickle.dumps(streamed.reader()))
    for seed in (0, 2**31 - 1):
        for step in (0, 13, 14, 99_999):
            images_read, labels_read = reader(seed, step)
            assert (images_read.shape, images_read.dtype, labels_read.dtype) == ((4, 6, 6, 3), np.uint8, np.int32)
            expected = batch(data, jnp.int32(seed), jnp.int32(step))
            np.testing.assert_array_equal(images_read, expected[0])
            np.testing.assert_array_equal(labels_read, expected[1])
    ahead = read_block(streamed.load(), reader, (2, 5), 3, 6)
    one = jax.jit(streamed.batch)(ahead, jnp.int32(5), jnp.int32(4))
    np.testing.assert_array_equal(one[0], batch(data, jnp.int32(5), jnp.int32(4))[0])
    with pytest.raises(ValueError, match=r"^task\.input must be memory where batches are not read ahead"):
        streamed.batch(streamed.load(), jnp.int32(0), jnp.int32(0))


@pytest.mark.parametrize("given", ["memory", "stream"])
def test_abstract_data_are_the_shapes_of_what_is_there(tmp_path, given):
    image_set(tmp_path)
    asked = task(tmp_path, input=given)
    real = asked.load() if given == "memory" else read_block(asked.load(), asked.reader(), (0,), 0, 1)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), (asked.abstract_data(), jax.eval_shape(lambda: real)))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("model", ["convnet", "resnet", "mlp"])
def test_loss_and_evaluation_equal_plain_numpy_for_every_model(tmp_path, model):
    image_set(tmp_path)
    asked = with_model(task(tmp_path), model, width=5)
    data, params = asked.load(), jax.jit(asked.init)(jax.random.key(0))

    def logits(images):
        pixels = np.float32(images) / np.float32(255)
        inputs = pixels.reshape(len(pixels), -1) if model == "mlp" else pixels
        return np.asarray(jax.jit(asked.model.apply)({"params": params}, jnp.asarray(inputs)))

    batch = jax.jit(asked.batch)(data, jnp.int32(1), jnp.int32(2))
    expected = cross_entropies(logits(np.asarray(batch[0])), batch[1]).mean()
    # Float32 keeps 6e-8 of every term.
    assert float(jax.jit(asked.loss)(params, batch)[0]) == pytest.approx(expected, rel=3e-6)
    found = jax.jit(asked.evaluate)(params, data)
    held_out = logits(data["validation"][0])
    losses = cross_entropies(held_out, data["validation"][1])
    assert float(found["validation_loss"]) == pytest.approx(losses.mean(), rel=3e-6)
    assert float(found["validation_accuracy"]) == pytest.approx((held_out.argmax(1) == data["validation"][1]).mean())


def test_training_learns_what_the_images_show(tmp_path):
    image_set(tmp_path, count=200)
    asked = with_model(task(tmp_path, batch_size=20), "resnet", width=8, layers=0)
    data, params = asked.load(), jax.jit(asked.init)(jax.random.key(0))

    @jax.jit
    def descend(params, step):
        batch = asked.batch(data, jnp.int32(0), step)
        gradient = jax.grad(lambda p: asked.loss(p, batch)[0])(params)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)

    evaluate = jax.jit(asked.evaluate)
    first = float(evaluate(params, data)["validation_loss"])
    for step in range(150):
        params = descend(params, jnp.int32(step))
    assert float(evaluate(params, data)["validation_loss"]) < 0.6 * first


def test_evaluation_holds_one_batch_in_memory(tmp_path):
    image_set(tmp_path, count=40, side=16)
    asked = with_model(task(tmp_path), "convnet", width=16)
    params = jax.eval_shape(asked.init, jax.random.key(0))

    def temporary_bytes(count):
        data = {"validation": (np.zeros((count, 16, 16, 3), np.uint8), np.zeros(count, np.int32))}
        return jax.jit(asked.evaluate).lower(params, data).compile().memory_analysis().temp_size_in_bytes

    # Images and labels once more, and a loss and a hit of four bytes each.
    assert temporary_bytes(256) - temporary_bytes(32) <= 224 * (2 * 16 * 16 * 3 + 32)


@pytest.mark.parametrize("field", ["split", "validation_split"])
def test_a_split_without_labels_is_refused(tmp_path, field):
    made = images(20)[0]
    splits = {
        name: [{"image": image, "label": label} for image in made] for name, label in (("train", 0), ("test", -1))
    }
    prepare(tmp_path, "made_images", image_features((6, 6, 3)), splits)
    with pytest.raises(
        ValueError, match=rf"^task\.{field} must be a split whose labels are in \[0, 4\), got 'test' with "
    ):
        task(tmp_path, **{field: "test"}).facts()


def test_a_label_that_is_none_is_an_error_of_its_feature(tmp_path):
    examples = [{"image": image, "label": -1 if i == 7 else 1} for i, image in enumerate(images(20)[0])]
    prepare(tmp_path, "made_images", image_features((6, 6, 3)), {"train": examples})
    with pytest.raises(OSError, match=r"^labels of the feature 'label' must be in \[0, 4\), got \[-1, 1\]$"):
        task(tmp_path, validation_split="train").load()


def test_an_image_that_is_none_is_an_error_of_its_feature(tmp_path):
    examples = [{"image": io.BytesIO(b"no image"), "label": 0} for _ in range(20)]
    features = {**image_features((1, 1, 3)), "image": tfds.features.Image(encoding_format="png")}
    prepare(tmp_path, "made_images", features, {"train": examples})
    with pytest.raises(OSError, match=r"^an image of the feature 'image' cannot be decoded: "):
        task(tmp_path, side=8).load()


def test_a_set_of_the_catalogue_that_was_prepared(tmp_path):
    """MNIST as TFDS would have prepared it, of mocked images."""
    with tfds.testing.mock_data(num_examples=24):
        mocked = list(tfds.data_source("mnist", split="train"))

    def examples(count):
        return [{"image": encoded(example["image"]), "label": int(example["label"])} for example in mocked[:count]]

    splits = {"train": examples(24), "test": examples(5)}
    prepare(tmp_path, "mnist", {}, splits, version="3.0.1", base=tfds.builder_cls("mnist"))
    asked = task(tmp_path, "mnist", validation_split="test")
    assert asked.facts()["dataset"] == "mnist/3.0.1"
    assert asked.model_arguments() == {"outputs": 10}
    data = asked.load()
    # TFDS stores them in an order of its own.
    for name, count in (("train", 24), ("validation", 5)):
        found = sorted((image.tobytes(), int(label)) for image, label in zip(*data[name], strict=True))
        assert found == sorted((each["image"].tobytes(), int(each["label"])) for each in mocked[:count])
