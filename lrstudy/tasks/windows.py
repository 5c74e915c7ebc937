"""Windows of bytes: how they are cut from texts, and the loss of predicting every next byte in them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from lrstudy.tasks import corpus
from lrstudy.tasks.base import Batch, Metrics, Params, Task

VOCABULARY = 256


class ByteWindows(Task):
    """Base of the tasks that predict the next byte at every position of windows of text.

    Attributes:
        context: positions of a window.
        batch_size: windows a step.
        validation_windows: windows, evenly spaced over a validation part, that a validation loss averages over.
    """

    model_names = ("transformer",)
    objective = "validation_loss"

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

    def tokens_per_step(self) -> int:
        """Predicted bytes of a batch."""
        return self.batch_size * self.context

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, self.context), jnp.int32))

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the next byte, in nats."""
        tokens = batch.astype(jnp.int32)
        logits = self.apply(params, tokens[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return jnp.mean(losses), {}

    def window_losses(self, params: Params, windows: UInt8[Array, "windows window"]) -> Float[Array, " windows"]:
        """Mean cross-entropy of every window, in nats; a batch of them at a time is held in memory."""

        def one(window: Batch) -> Float[Array, ""]:
            return self.loss(params, window[None])[0]

        return jax.lax.map(one, windows, batch_size=self.batch_size)

    def read(self, path: str, field: str) -> corpus.Corpus:
        """A text that has at least one window in each part.

        Args:
            path: see ``corpus.read``.
            field: what an error calls the path.

        Raises:
            ValueError: it is unreadable, or too short.
        """
        text, window = corpus.read(path, field), self.context + 1
        if min(text.train.size, text.validation.size) < window:
            rule = f"a text whose validation part, a tenth, has at least {window} bytes at context {self.context}"
            raise ValueError(f"{field} must be {rule}, got {path!r} with {text.validation.size}")
        return text

    def validation_count(self, text: corpus.Corpus) -> int:
        """Windows that are asked for, or as many as the validation part holds side by side."""
        return min(self.validation_windows, text.validation.size // (self.context + 1))

    def spaced_windows(self, part: UInt8[np.ndarray, " part"], count: int) -> UInt8[np.ndarray, "count window"]:
        """Windows that are evenly spaced over a part, from its first byte to its last."""
        window = self.context + 1
        starts = np.linspace(0, part.size - window, count).astype(np.int64)
        return part[starts[:, None] + np.arange(window)]

    def windows_at(self, part: UInt8[Array, " part"], starts: Int[Array, " batch"]) -> UInt8[Array, "batch window"]:
        """The windows that begin at these places."""
        return part[starts[:, None] + jnp.arange(self.context + 1)]
