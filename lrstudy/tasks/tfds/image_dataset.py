"""Classification of the labelled images of a TFDS data set."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from lrstudy.tasks.ahead import Ahead, Reader
from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task
from lrstudy.tasks.shuffling import check_items, epoch_items
from lrstudy.tasks.tfds.catalogue import Located
from lrstudy.tasks.tfds.content import ImageContent
from lrstudy.tasks.tfds.examples import Examples
from lrstudy.tasks.tfds.feeding import AUTO, BatchReader, abstract_ahead, check_input, check_loaded, in_memory, resident
from lrstudy.tasks.tfds.parts import Part, Parts, Source
from lrstudy.tasks.tfds.pixels import LEAST_SIDE, MOST_SIDE, Images, encoded_features, side_of


class _Cut(NamedTuple):
    """A prepared data set in two parts."""

    parts: Parts
    train: Images
    validation: Images


class ImageDataset(Task):
    """Scores the classes of images whose pixels are in [0, 1], every epoch in another order.

    Attributes:
        source: the data set.
        batch_size: images a step.
        validation_examples: images, evenly spaced over the validation part, that an evaluation averages over.
        side: lines and columns that images are brought to, the shorter side resized and the middle cut out; 0: their
            own, where all are square and of one size.
        input: ``memory``: the training images are loaded; ``stream``: batches are read ahead; ``auto``: by their size.
    """

    model_names = ("convnet", "resnet", "mlp")
    objective = "validation_loss"
    of_examples = True

    source: Source = Source()
    batch_size: int = 64
    validation_examples: int = 1000
    side: int = 0
    input: str = AUTO

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(batch_size=1, validation_examples=1)
        if self.side and not LEAST_SIDE <= self.side <= MOST_SIDE:
            raise ValueError(f"task.side must be 0 or an int in [{LEAST_SIDE}, {MOST_SIDE}], got {self.side!r}")
        check_input(self.input)

    def model_arguments(self) -> Mapping[str, Any]:
        """A score a class."""
        return {"outputs": self._content().classes}

    def facts(self) -> Mapping[str, Any]:
        """Which data set it is, and how many images are trained on; whether it is not prepared.

        Raises:
            ValueError: a file of it is missing or damaged, it is too small, or its images have no one size.
        """
        located = self.source.located()
        side = self._side()
        if side < LEAST_SIDE:
            raise ValueError(
                f"task.side must be at least {LEAST_SIDE} where images are of {side} lines, got {self.side!r}"
            )
        known = {"dataset": located.full_name, "lines": side}
        if not located.prepared:
            return {**known, "prepared": False}
        cut = self._cut()
        return {**known, "sha256": cut.parts.identity, "examples": len(cut.train.examples)}

    def check_ready(self) -> None:
        """Refuses a data set that is not prepared.

        Raises:
            ValueError: it is not; the message says how that is done.
        """
        self.source.ready()

    def load(self) -> Data:
        """Validation images and labels, and, in memory, those that are trained on.

        Images are uint8 of shape (examples, side, side, channels).

        Raises:
            ValueError: the data set is not prepared, is damaged or is too small.
        """
        cut = self._cut()
        count = len(cut.validation.examples)
        places = np.linspace(0, count - 1, min(self.validation_examples, count)).astype(np.int64)
        loaded = {"validation": cut.validation.rows(places)}
        if self._in_memory(cut):
            plain = ImageDataset(source=self.source, batch_size=1, side=self.side)
            loaded["train"] = _training_images(plain, cut.parts.identity)
        return loaded

    def abstract_data(self) -> Data:
        """Shapes of what is loaded, and of batches that are read ahead where the training images are not."""
        shape = (self._side(), self._side(), self._content().shape[2])
        cut = self._cut() if self.source.located().prepared else None
        count = min(self.validation_examples, len(cut.validation.examples)) if cut else self.validation_examples
        loaded = {"validation": _abstract(count, shape)}
        if cut and self._in_memory(cut):
            return loaded | {"train": _abstract(len(cut.train.examples), shape)}
        return abstract_ahead(loaded, _abstract(self.batch_size, shape))

    def reader(self) -> Reader | None:
        """Reads images by their places, unless the training images are loaded.

        Raises:
            ValueError: as ``load``.
        """
        cut = self._cut()
        return None if self._in_memory(cut) else BatchReader(cut.train, len(cut.train.examples), self.batch_size)

    def tokens_per_step(self) -> int:
        """Images of a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        shape = (1, self._side(), self._side(), self._content().shape[2])
        return self.init_model(key, self._inputs(jnp.zeros(shape, jnp.uint8)))

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(images, labels) of shapes (batch, side, side, channels), uint8, and (batch,), int32.

        Raises:
            ValueError: the training images are not loaded, nor is the batch read ahead.
        """
        if isinstance(data, Ahead):
            return data.at(seed, step)
        check_loaded(data)
        images, labels = (jnp.asarray(part) for part in data["train"])
        chosen = epoch_items(seed, step, len(labels), self.batch_size).astype(jnp.int32)
        return images[chosen], labels[chosen]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the batch, in nats."""
        images, labels = batch
        logits = self.apply(params, self._inputs(images))
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Cross-entropy (nats) and accuracy over the validation images; a batch of them at a time is held in memory."""

        def one(example: tuple[Array, Array]) -> tuple[Float[Array, ""], Float[Array, ""]]:
            image, label = example
            logits = self.apply(params, self._inputs(image[None]))[0]
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, label)
            return loss, (jnp.argmax(logits) == label).astype(jnp.float32)

        examples = jax.tree.map(jnp.asarray, resident(data)["validation"])
        losses, right = jax.lax.map(one, tuple(examples), batch_size=self.batch_size)
        return {"validation_loss": jnp.mean(losses), "validation_accuracy": jnp.mean(right)}

    def training_images(self) -> Images:
        """The images of the training part.

        Raises:
            ValueError: as ``load``.
        """
        return self._cut().train

    def _inputs(self, images: UInt8[Array, "batch side side channels"]) -> Float[Array, "*pixels"]:
        """Pixels in [0, 1], as images for a model of images and in a row for any other."""
        pixels = images.astype(jnp.float32) / 255
        module = getattr(self.model, "module", self.model)
        return pixels if getattr(module, "of_images", False) else pixels.reshape(len(pixels), -1)

    def _content(self) -> ImageContent:
        found = self.source.content()
        if not isinstance(found, ImageContent):
            raise TypeError(f"the feature {found.feature!r} is no image")
        return found

    def _side(self) -> int:
        return side_of(self._content(), self.side)

    def _cut(self) -> _Cut:
        """The images of both parts.

        Raises:
            ValueError: the data set is not prepared, is damaged or is too small.
        """
        located = self.source.ready()
        parts = self.source.parts(located)
        train, validation = (self._images(located, part) for part in (parts.train, parts.validation))
        check_items(
            len(train.examples), self.batch_size, f"which the images of {located.full_name} {self.source.split} are"
        )
        train.check_labels(parts.train.split, "split")
        validation.check_labels(parts.validation.split, "validation_split" if self.source.validation_split else "split")
        return _Cut(parts, train, validation)

    def _images(self, located: Located, part: Part) -> Images:
        content = self._content()
        features = [content.feature, content.label]
        examples = Examples(located, part.split, part.places, features, encoded_features(content))
        return Images(examples, content, self._side())

    def _in_memory(self, cut: _Cut) -> bool:
        return in_memory(self.input, len(cut.train.examples) * int(np.prod(cut.train.shape)))


def _abstract(count: int, shape: tuple[int, int, int]) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    return jax.ShapeDtypeStruct((count, *shape), jnp.uint8), jax.ShapeDtypeStruct((count,), jnp.int32)


@functools.lru_cache(maxsize=2)
def _training_images(task: ImageDataset, identity: str) -> tuple[np.ndarray, np.ndarray]:
    """The training images and labels, which every group of a study loads anew."""
    del identity  # of a data set that was prepared again since
    images, labels = task.training_images().all()
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels
