"""Byte-level next-token prediction over any text."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks import corpus
from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task, data_key

VOCABULARY = 256


class Text(Task):
    """Predicts the next byte at every position of windows drawn uniformly from the training part.

    Attributes:
        path: a file, a folder, or ``stdlib`` (see ``corpus.read``).
        context: positions of a window.
        batch_size: windows a step.
        validation_windows: windows, evenly spaced over the validation part, that ``validation_loss`` averages over.
    """

    model_names = ("transformer",)
    objective = "validation_loss"

    path: str = corpus.STANDARD_LIBRARY
    context: int = 64
    batch_size: int = 16
    validation_windows: int = 256

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below one.
        """
        for name in ("context", "batch_size", "validation_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be a positive int, got {getattr(self, name)!r}")

    def model_arguments(self) -> Mapping[str, Any]:
        """All bytes, and the window's length."""
        return {"vocabulary": VOCABULARY, "context": self.context}

    def corpus(self) -> corpus.Corpus:
        """The text.

        Raises:
            ValueError: it is unreadable, or too short for one window in each part.
        """
        text, window = corpus.read(self.path), self.context + 1
        if min(text.train.size, text.validation.size) < window:
            rule = f"a text whose validation part, a tenth, has at least {window} bytes at context {self.context}"
            raise ValueError(f"task.path must be {rule}, got {self.path!r} with {text.validation.size}")
        return text

    def facts(self) -> Mapping[str, Any]:
        """The text's digest and size."""
        text = self.corpus()
        return {"sha256": text.sha256, "bytes": text.size}

    def load(self) -> Data:
        """Training bytes, and the validation windows of shape (windows, context + 1)."""
        text, window = self.corpus(), self.context + 1
        count = min(self.validation_windows, text.validation.size // window)
        starts = np.linspace(0, text.validation.size - window, count).astype(np.int64)
        return {"train": text.train, "validation": text.validation[starts[:, None] + np.arange(window)]}

    def tokens_per_step(self) -> int:
        """Predicted bytes of a batch."""
        return self.batch_size * self.context

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, self.context), jnp.int32))

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of bytes, uint8 of shape (batch, context + 1)."""
        train = jnp.asarray(data["train"])
        window = self.context + 1
        starts = jax.random.randint(data_key(seed, step), (self.batch_size,), 0, train.size - window + 1)
        return train[starts[:, None] + jnp.arange(window)]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the next byte, in nats."""
        tokens = batch.astype(jnp.int32)
        logits = self.apply(params, tokens[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return jnp.mean(losses), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean cross-entropy over the validation windows, in nats; a batch of them at a time is held in memory."""

        def one(window: Batch) -> Float[Array, ""]:
            return self.loss(params, window[None])[0]

        return {
            "validation_loss": jnp.mean(jax.lax.map(one, jnp.asarray(data["validation"]), batch_size=self.batch_size))
        }
