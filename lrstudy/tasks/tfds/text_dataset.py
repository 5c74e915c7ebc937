"""Next-token prediction over the texts of a TFDS data set."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer

from lrstudy.tasks.ahead import Ahead, Reader
from lrstudy.tasks.base import Batch, Data, Metrics, Params
from lrstudy.tasks.shuffling import check_items, epoch_items
from lrstudy.tasks.tfds.catalogue import Located
from lrstudy.tasks.tfds.counts import counts_of
from lrstudy.tasks.tfds.examples import Examples
from lrstudy.tasks.tfds.feeding import AUTO, BatchReader, abstract_ahead, check_input, check_loaded, in_memory, resident
from lrstudy.tasks.tfds.packing import Windows
from lrstudy.tasks.tfds.parts import Part, Parts, Source
from lrstudy.tasks.tfds.tokens import BYTES, token_type, tokenizer_of
from lrstudy.tasks.windows import TokenWindows

_MOST_TOKENS = 2**31 - 1


class _Cut(NamedTuple):
    """A prepared data set, cut into windows."""

    parts: Parts
    train: Windows
    validation: Windows


class TextDataset(TokenWindows):
    """Predicts the next token in windows that lie side by side in the texts, in another order every epoch.

    Attributes:
        source: the data set.
        tokenizer: ``bytes``, or the path of a SentencePiece model.
        input: ``memory``: the training tokens are loaded; ``stream``: batches are read ahead; ``auto``: by their size.
    """

    source: Source = Source()
    tokenizer: str = BYTES
    input: str = AUTO

    def __post_init__(self) -> None:
        """Checks the sizes and the tokenizer.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        check_input(self.input)
        tokenizer_of(self.tokenizer)

    def vocabulary(self) -> int:
        """The tokenizer's."""
        return tokenizer_of(self.tokenizer).vocabulary

    def facts(self) -> Mapping[str, Any]:
        """Which data set it is, and how many windows it has; whether it is not prepared.

        Raises:
            ValueError: a file of it is missing or damaged, or it is too small.
        """
        located, tokenizer = self.source.located(), tokenizer_of(self.tokenizer)
        known = {"dataset": located.full_name, "tokenizer_sha256": tokenizer.sha256}
        if not located.prepared:
            return {**known, "prepared": False}
        cut = self._cut()
        sizes = {"examples": len(cut.parts.train.places), "tokens": cut.train.tokens, "windows": len(cut.train)}
        return {**known, "sha256": cut.parts.identity, **sizes}

    def check_ready(self) -> None:
        """Refuses a data set that is not prepared.

        Raises:
            ValueError: it is not; the message says how that is done.
        """
        self.source.ready()

    def load(self) -> Data:
        """Validation windows, of shape (windows, context + 1), and, in memory, the training tokens as one row.

        Raises:
            ValueError: the data set is not prepared, is damaged or is too small.
        """
        cut = self._cut()
        places = np.linspace(0, len(cut.validation) - 1, self._validation_count(cut)).astype(np.int64)
        loaded = {"validation": cut.validation.rows(places)}
        if self._in_memory(cut):
            plain = TextDataset(context=self.context, batch_size=1, source=self.source, tokenizer=self.tokenizer)
            loaded["train"] = _training_tokens(plain, cut.parts.identity)
        return loaded

    def abstract_data(self) -> Data:
        """Shapes of what is loaded, and of batches that are read ahead where the training tokens are not."""
        kind, window = token_type(tokenizer_of(self.tokenizer)), self.context + 1
        located = self.source.located()
        cut = self._cut() if located.prepared else None
        count = self._validation_count(cut) if cut else self.validation_windows
        loaded = {"validation": jax.ShapeDtypeStruct((count, window), kind)}
        if cut and self._in_memory(cut):
            return loaded | {"train": jax.ShapeDtypeStruct((len(cut.train) * self.context + 1,), kind)}
        return abstract_ahead(loaded, jax.ShapeDtypeStruct((self.batch_size, window), kind))

    def reader(self) -> Reader | None:
        """Reads windows by their places, unless the training tokens are loaded.

        Raises:
            ValueError: as ``load``.
        """
        cut = self._cut()
        return None if self._in_memory(cut) else BatchReader(cut.train, len(cut.train), self.batch_size)

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of tokens, of shape (batch, context + 1).

        Raises:
            ValueError: the training tokens are not loaded, nor is the batch read ahead.
        """
        if isinstance(data, Ahead):
            return data.at(seed, step)
        check_loaded(data)
        train = jnp.asarray(data["train"])
        windows = epoch_items(seed, step, (train.size - 1) // self.context, self.batch_size)
        return self.windows_at(train, windows.astype(jnp.int32) * self.context)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean cross-entropy over the validation windows, in nats, and their ``logit_metrics``."""
        windows = jnp.asarray(resident(data)["validation"])
        return {
            "validation_loss": jnp.mean(self.window_losses(params, windows)),
            **self.logit_metrics(params, windows),
        }

    def training_windows(self) -> Windows:
        """The windows of the training part.

        Raises:
            ValueError: as ``load``.
        """
        return self._cut().train

    def _cut(self) -> _Cut:
        """The windows of both parts.

        Raises:
            ValueError: the data set is not prepared, is damaged or is too small.
        """
        located = self.source.ready()
        parts = self.source.parts(located)
        train, validation = (self._windows(located, parts, part) for part in (parts.train, parts.validation))
        if not len(validation):
            rule = f"below the {validation.tokens} tokens of the validation part"
            raise ValueError(f"task.context must be {rule}, got {self.context!r}")
        check_items(len(train), self.batch_size, f"which the windows of {located.full_name} {self.source.split} are")
        return _Cut(parts, train, validation)

    def _windows(self, located: Located, parts: Parts, part: Part) -> Windows:
        feature, tokenizer = self.source.content().feature, tokenizer_of(self.tokenizer)
        examples = Examples(located, part.split, part.places, [feature])
        counts = counts_of(examples, feature, tokenizer, parts.key(part), f"{located.full_name} {part.split}")
        return Windows(examples, feature, tokenizer, counts, self.context)

    def _validation_count(self, cut: _Cut) -> int:
        return min(self.validation_windows, len(cut.validation))

    def _in_memory(self, cut: _Cut) -> bool:
        """Whether the training tokens are loaded.

        Raises:
            ValueError: they are to be, and are too many.
        """
        tokens = len(cut.train) * self.context + 1
        loaded = in_memory(self.input, tokens * token_type(tokenizer_of(self.tokenizer))().itemsize)
        if loaded and tokens > _MOST_TOKENS:
            raise ValueError(
                f"task.input must be stream for more than {_MOST_TOKENS} tokens, got {self.input!r} of {tokens}"
            )
        return loaded


@functools.lru_cache(maxsize=2)
def _training_tokens(task: TextDataset, identity: str) -> Integer[np.ndarray, " tokens"]:
    """The training tokens, which every group of a study loads anew."""
    del identity  # of a data set that was prepared again since
    tokens = task.training_windows().flat()
    tokens.setflags(write=False)
    return tokens
