"""Windows of tokens or bytes: how they are cut from texts, and the loss of predicting every next one in them."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Integer, Key, UInt8

from lrstudy.tasks import corpus
from lrstudy.tasks.base import Batch, Metrics, Params, Task

VOCABULARY = 256


class TokenWindows(Task):
    """Base of the tasks that predict the next token at every position of windows of text.

    Attributes:
        context: positions of a window.
        batch_size: windows a step.
        validation_windows: windows, evenly spaced over a validation part, that a validation loss averages over.
        z_loss: factor of the mean of log(Z)^2 in the trained loss, Z being the sum of the exponentials of a position's
            logits (Chowdhery et al. 2022, arXiv 2204.02311); validation losses are without.
        diagnostics: whether an evaluation measures the logits too, see ``logit_metrics``.
    """

    model_names = ("transformer",)
    objective = "validation_loss"
    of_examples = True

    context: int = 64
    batch_size: int = 16
    validation_windows: int = 256
    z_loss: float = 0.0
    diagnostics: bool = False

    def __post_init__(self) -> None:
        """Checks the sizes and the factor.

        Raises:
            ValueError: a size is below one, or the factor negative or not finite.
        """
        for name in ("context", "batch_size", "validation_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be a positive int, got {getattr(self, name)!r}")
        if not 0 <= self.z_loss < math.inf:
            raise ValueError(f"task.z_loss must be a finite number of at least 0, got {self.z_loss!r}")

    def vocabulary(self) -> int:
        """How many tokens there are."""
        raise NotImplementedError

    def model_arguments(self) -> Mapping[str, Any]:
        """All tokens, and the window's length."""
        return {"vocabulary": self.vocabulary(), "context": self.context}

    def tokens_per_step(self) -> int:
        """Predicted tokens of a batch."""
        return self.batch_size * self.context

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, self.context), jnp.int32))

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the next token, in nats, and ``z_loss`` times the mean of log(Z)^2."""
        tokens = batch.astype(jnp.int32)
        logits = self.apply(params, tokens[:, :-1])
        loss = _cross_entropy(logits, tokens)
        if self.z_loss:
            loss = loss + self.z_loss * jnp.mean(jnp.square(jax.nn.logsumexp(logits, axis=-1)))
        return loss, {}

    def window_losses(self, params: Params, windows: Integer[Array, "windows window"]) -> Float[Array, " windows"]:
        """Mean cross-entropy of every window, in nats; a batch of them at a time is held in memory."""

        def one(window: Batch) -> Float[Array, ""]:
            tokens = window[None].astype(jnp.int32)
            return _cross_entropy(self.apply(params, tokens[:, :-1]), tokens)

        return jax.lax.map(one, windows, batch_size=self.batch_size)

    def logit_metrics(self, params: Params, windows: Integer[Array, "windows window"]) -> Metrics:
        """What is known to grow before training at a high rate fails (Wortsman et al. 2024, arXiv 2309.14322).

        A batch of windows at a time is held in memory.

        Returns:
            nothing unless ``diagnostics`` is set; else ``max_attention_logit``, the largest magnitude over blocks,
            heads and visible positions, 0 without blocks; ``log_z``, the mean of log(Z); ``logit_rms``, the root mean
            square of all logits.
        """
        if not self.diagnostics:
            return {}

        def one(window: Batch) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
            tokens = window[None, :-1].astype(jnp.int32)
            # The validation loss, which is measured first, refuses a task without a model.
            apply = self.model.apply  # pyright: ignore[reportOptionalMemberAccess]
            logits, kept = apply({"params": params}, tokens, mutable=["intermediates"])
            log_z = jax.nn.logsumexp(logits, axis=-1)
            return _largest_attention_logit(kept), jnp.mean(log_z), jnp.mean(jnp.square(logits))

        largest, log_z, squares = jax.lax.map(one, windows, batch_size=self.batch_size)
        rms = jnp.sqrt(jnp.mean(squares))
        return {"max_attention_logit": jnp.max(largest), "log_z": jnp.mean(log_z), "logit_rms": rms}

    def windows_at(self, part: Integer[Array, " part"], starts: Int[Array, " batch"]) -> Integer[Array, "batch window"]:
        """The windows that begin at these places."""
        return part[starts[:, None] + jnp.arange(self.context + 1)]


class ByteWindows(TokenWindows):
    """Base of the tasks whose tokens are the bytes of a text that is kept whole."""

    def vocabulary(self) -> int:
        """All bytes."""
        return VOCABULARY

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


def _cross_entropy(
    logits: Float[Array, "batch seq vocabulary"], tokens: Int[Array, "batch window"]
) -> Float[Array, ""]:
    """Mean cross-entropy of every window's tokens after the first."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]))


def _largest_attention_logit(kept: Mapping[str, Any]) -> Float[Array, ""]:
    """The largest of what the blocks kept as ``attention_logits_max``."""
    found = [
        jnp.max(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(kept)
        if jax.tree_util.DictKey("attention_logits_max") in path
    ]
    return jnp.max(jnp.stack([jnp.zeros(()), *found]))
