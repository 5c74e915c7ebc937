"""Byte-level next-token prediction over any text."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lrstudy.tasks import corpus
from lrstudy.tasks.base import Batch, Data, Metrics, Params, data_key
from lrstudy.tasks.windows import ByteWindows


class Text(ByteWindows):
    """Predicts the next byte at every position of windows drawn uniformly from the training part.

    Attributes:
        path: a file, a folder, or a text that comes with Python (see ``corpus.read``).
    """

    path: str = corpus.STANDARD_LIBRARY

    def corpus(self) -> corpus.Corpus:
        """The text.

        Raises:
            ValueError: it is unreadable, or too short for one window in each part.
        """
        return self.read(self.path, "task.path")

    def facts(self) -> Mapping[str, Any]:
        """The text's digest and size."""
        text = self.corpus()
        return {"sha256": text.sha256, "bytes": text.size}

    def load(self) -> Data:
        """Training bytes, and the validation windows of shape (windows, context + 1)."""
        text = self.corpus()
        return {
            "train": text.train,
            "validation": self.spaced_windows(text.validation, self.validation_count(text)),
        }

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of bytes, uint8 of shape (batch, context + 1)."""
        train = jnp.asarray(data["train"])
        starts = jax.random.randint(data_key(seed, step), (self.batch_size,), 0, train.size - self.context)
        return self.windows_at(train, starts)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean cross-entropy over the validation windows, in nats, and their ``logit_metrics``."""
        windows = jnp.asarray(data["validation"])
        return {
            "validation_loss": jnp.mean(self.window_losses(params, windows)),
            **self.logit_metrics(params, windows),
        }
