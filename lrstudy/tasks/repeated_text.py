"""A text of which a run sees so many windows, and one part of them again and again."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lrstudy.tasks import corpus
from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, stream_key
from lrstudy.tasks.windows import ByteWindows

MAX_WINDOWS = 2**16
_STRIDES = 512
_SUBSET_STREAM = 2**31 - 1


class RepeatedText(ByteWindows):
    """Predicts the next byte of windows that lie side by side in a text, of which a run may visit few, often.

    A run has a set of ``unique`` windows, which it visits in passes, each window once a pass; where ``every`` is not
    0, every so many-th window that it sees comes from a slice of ``repeated`` others instead (Hernandez et al. 2022,
    arXiv 2205.10487: 90% of the tokens are seen once, the rest are few and seen often). All three are numbers, so that
    one epoch and many are lanes of one program. A window's last byte is the first that the next one predicts from.

    Attributes:
        path: a file, a folder, or a text that comes with Python (see ``corpus.read``).
        unique: windows of the set, in passes; if the text has fewer, all that the slice leaves.
        repeated: windows of the slice.
        every: the slice gives the first of every so many windows; 0: none.
        data_seed: which windows belong to the set and to the slice; a run's seed is that of the order.
    """

    lane_fields = ("unique", "repeated", "every", "data_seed")

    path: str = corpus.STANDARD_LIBRARY
    unique: int = MAX_WINDOWS
    repeated: int = 1
    every: int = 0
    data_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        self.check_least(unique=1, repeated=1, every=0, data_seed=0)

    def corpus(self) -> corpus.Corpus:
        """The text.

        Raises:
            ValueError: it is unreadable, or too short for one window in each part.
        """
        return self.read(self.path, "task.path")

    def facts(self) -> Mapping[str, Any]:
        """The text's digest and size.

        Raises:
            ValueError: the text has too few windows for the slice.
        """
        text = self.corpus()
        count = _count(text, self.context)
        if self.every and self.repeated >= count:
            raise ValueError(f"task.repeated must be below the text's {count} windows, got {self.repeated!r}")
        return {"sha256": text.sha256, "bytes": text.size, "windows": count}

    def load(self) -> Data:
        """Windows of the training and of the validation part, both of shape (windows, context + 1).

        Of a long text the training windows are 65,536 evenly spaced ones.
        """
        text = self.corpus()
        whole = (text.train.size - 1) // self.context
        places = np.linspace(0, whole - 1, _count(text, self.context)).astype(np.int64)
        starts = places[:, None] * self.context
        return {
            "train": text.train[starts + np.arange(self.context + 1)],
            "validation": self.spaced_windows(text.validation, self.validation_count(text)),
        }

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of bytes, uint8 of shape (batch, context + 1)."""
        train = jnp.asarray(data["train"])
        return train[self.places(len(train), seed, step)]

    def places(self, windows: int, seed: Int[Array, ""], step: Int[Array, ""]) -> Int[Array, " batch"]:
        """Which of the text's windows the batch of ``(seed, step)`` holds.

        Args:
            windows: of the text.
            seed: of the run.
            step: of the run.
        """
        seen = step * self.batch_size + jnp.arange(self.batch_size)
        unique, repeated, every = (jnp.asarray(x, jnp.int32) for x in (self.unique, self.repeated, self.every))
        sliced, every = every > 0, jnp.maximum(every, 1)
        unique = jnp.minimum(unique, windows - jnp.where(sliced, repeated, 0))
        in_slice = sliced & (seen % every == 0)
        visits_before = jnp.where(sliced, (seen + every - 1) // every, 0)
        size = jnp.where(in_slice, repeated, unique)
        visit = jnp.where(in_slice, visits_before, seen - visits_before)
        key = jax.random.fold_in(stream_key(seed, DATA_STREAM), 0)
        rank = jax.vmap(functools.partial(_strode, key))(visit // size, visit % size, size)
        chosen = rank + jnp.where(in_slice, unique, 0)
        subset = jax.random.fold_in(stream_key(jnp.asarray(self.data_seed, jnp.int32), DATA_STREAM), _SUBSET_STREAM)
        # The slice's windows follow those of the set in the one order in which the text is dealt out.
        return jax.vmap(lambda place: _strode(subset, 0, place, windows))(chosen)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean cross-entropy over the validation windows, in nats, and their ``logit_metrics``."""
        windows = jnp.asarray(data["validation"])
        return {
            "validation_loss": jnp.mean(self.window_losses(params, windows)),
            **self.logit_metrics(params, windows),
        }


def _count(text: corpus.Corpus, context: int) -> int:
    """Training windows of a text."""
    return min(MAX_WINDOWS, (text.train.size - 1) // context)


@functools.cache
def _primes() -> np.ndarray:
    """The first primes above ``MAX_WINDOWS``: none of them divides a size, so each is a stride that misses nothing."""
    found: list[int] = []
    number = MAX_WINDOWS + 1
    while len(found) < _STRIDES:
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            found.append(number)
        number += 1
    return np.asarray(found, np.uint32)


def _strode(key: Array, turn: Any, place: Any, size: Any) -> Int[Array, ""]:
    """A permutation of ``range(size)``, another one every turn: steps of a random stride from a random start.

    Sorting a window's worth of random numbers would cost more than an update of a small model. A stride below 2^16
    times a place below 2^16 is exact in uint32.
    """
    stride_key, start_key = jax.random.split(jax.random.fold_in(key, turn))
    size = jnp.asarray(size, jnp.uint32)
    stride = jnp.asarray(_primes())[jax.random.randint(stride_key, (), 0, _STRIDES)] % size
    start = jax.random.bits(start_key, dtype=jnp.uint32) % size
    place = (stride * jnp.asarray(place, jnp.uint32)) % size
    return ((place + start) % size).astype(jnp.int32)
