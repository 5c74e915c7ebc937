"""Handwritten digits: the 1797 images of 8 x 8 pixels that scikit-learn carries."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key

TRAIN_EXAMPLES = 1437
CLASSES = 10
SIDE = 8


@functools.cache
def splits() -> dict[str, np.ndarray]:
    """Pixels in [0, 1] and labels, shuffled once by a fixed seed and cut into 1437 and 360 examples."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = (pixels[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    return {
        "train_pixels": pixels[:TRAIN_EXAMPLES],
        "train_labels": labels[:TRAIN_EXAMPLES],
        "validation_pixels": pixels[TRAIN_EXAMPLES:],
        "validation_labels": labels[TRAIN_EXAMPLES:],
    }


@functools.cache
def standardised_splits() -> dict[str, np.ndarray]:
    """The same examples, their pixels of mean 0 and deviation 1 over all images and pixels."""
    found = splits()
    names = ("train_pixels", "validation_pixels")
    pixels = np.concatenate([found[name] for name in names])
    mean, deviation = pixels.mean(dtype=np.float64), pixels.std(dtype=np.float64)
    return found | {name: ((found[name] - mean) / deviation).astype(np.float32) for name in names}


def check_batch_size(batch_size: int) -> None:
    """Refuses a batch that an epoch cannot hold.

    Raises:
        ValueError: it is outside [1, 1437].
    """
    if not 1 <= batch_size <= TRAIN_EXAMPLES:
        raise ValueError(f"task.batch_size must be in [1, {TRAIN_EXAMPLES}], got {batch_size!r}")


def epoch_examples(seed: Int[Array, ""], step: Int[Array, ""], batch_size: int) -> Int[Array, " batch"]:
    """Places of a batch's examples in the training set, each epoch a fresh permutation of it."""
    epoch, position = jnp.divmod(step, TRAIN_EXAMPLES // batch_size)
    key = jax.random.fold_in(stream_key(seed, DATA_STREAM), epoch)
    order = jax.random.permutation(key, TRAIN_EXAMPLES)
    return jax.lax.dynamic_slice_in_dim(order, position * batch_size, batch_size)


class Digits(Task):
    """Ten-way classification, each epoch a fresh permutation of the training set.

    Attributes:
        batch_size: examples a step; an epoch has ``1437 // batch_size`` steps and leaves out the rest.
        standardised: pixels of mean 0 and deviation 1 over all images, and not in [0, 1].
    """

    model_names = ("mlp", "convnet", "resnet", "batch_norm_mlp")
    objective = "validation_loss"
    of_examples = True

    batch_size: int = 64
    standardised: bool = False

    def __post_init__(self) -> None:
        """Checks the batch size.

        Raises:
            ValueError: it is outside [1, 1437].
        """
        check_batch_size(self.batch_size)

    def model_arguments(self) -> Mapping[str, Any]:
        """Ten scores."""
        return {"outputs": CLASSES}

    def facts(self) -> Mapping[str, Any]:
        """Nothing: the data are always the same.

        Raises:
            ValueError: the model normalises ghosts of a size of which a batch is not made.
        """
        module = getattr(self.model, "module", self.model)
        ghost_size = getattr(module, "ghost_size", 0)
        if ghost_size and self.batch_size % ghost_size:
            rule = f"0 or a divisor of task.batch_size ({self.batch_size})"
            raise ValueError(f"model.ghost_size must be {rule}, got {ghost_size!r}")
        return {}

    def load(self) -> Data:
        """Both splits."""
        return standardised_splits() if self.standardised else splits()

    def tokens_per_step(self) -> int:
        """Examples in a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, SIDE**2)))

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(pixels, labels) of shapes (batch, 64) and (batch,)."""
        chosen = epoch_examples(seed, step, self.batch_size)
        return jnp.asarray(data["train_pixels"])[chosen], jnp.asarray(data["train_labels"])[chosen]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the batch, in nats."""
        pixels, labels = batch
        logits = self.apply(params, pixels)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Cross-entropy (nats) and accuracy over the 360 validation examples.

        Batch norms have the statistics of the 1437 training examples.
        """
        logits = self.apply(params, data["validation_pixels"], self.statistics(params, data["train_pixels"]))
        labels = data["validation_labels"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return {
            "validation_loss": jnp.mean(losses),
            "validation_accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == labels),
        }
