"""Texts one after the other as one row of tokens, cut into windows side by side."""

import numpy as np
from jaxtyping import Int, Integer

from lrstudy.tasks.tfds.counts import Counts
from lrstudy.tasks.tfds.examples import Examples
from lrstudy.tasks.tfds.tokens import Tokenizer, token_type

_BLOCK = 256


class Windows:
    """The windows of a part: a window's last token is the first that the next one predicts from.

    A window is found without the ones before it, by the number of tokens of every example. They can be pickled.

    Args:
        examples: of the part, in order; each is ended by the tokenizer's ``end``.
        feature: that holds the text.
        tokenizer: of the text.
        counts: tokens of every example.
        context: tokens that a window predicts.
    """

    def __init__(self, examples: Examples, feature: str, tokenizer: Tokenizer, counts: Counts, context: int) -> None:
        self._examples, self._feature, self._tokenizer, self._counts = examples, feature, tokenizer, counts
        self._context = context
        blocks = np.arange(0, len(examples), _BLOCK)
        sums = np.add.reduceat(counts.values, blocks, dtype=np.int64) if len(blocks) else np.zeros(0, np.int64)
        # Of every example it would be eight bytes more each in every process that reads.
        self._block_starts = np.cumsum(sums) - sums
        self.tokens = int(sums.sum())

    def __len__(self) -> int:
        """How many windows there are."""
        return max(0, self.tokens - 1) // self._context

    def read(self, window: int) -> Integer[np.ndarray, " window"]:
        """A window, of ``context + 1`` tokens.

        Raises:
            OSError: a record is damaged.
        """
        start, length = window * self._context, self._context + 1
        first, before = self._example_at(start)
        skipped = start - before
        last, held = first, int(self._counts.values[first]) - skipped
        while held < length:
            last += 1
            held += int(self._counts.values[last])
        return self._encoded(np.arange(first, last + 1))[skipped : skipped + length]

    def rows(self, windows: Int[np.ndarray, " windows"]) -> Integer[np.ndarray, "windows window"]:
        """Several windows."""
        return np.stack([self.read(int(window)) for window in windows])

    def flat(self) -> Integer[np.ndarray, " tokens"]:
        """The tokens of all windows, as one row; window i begins at i times ``context``."""
        size = len(self) * self._context + 1
        found, filled = np.empty(size, token_type(self._tokenizer)), 0
        step = self._examples.batch
        for start in range(0, len(self._examples), step):
            own = self._encoded(np.arange(start, min(start + step, len(self._examples))))[: size - filled]
            found[filled : filled + len(own)] = own
            filled += len(own)
            if filled == size:
                break
        return found

    def _example_at(self, token: int) -> tuple[int, int]:
        """The example that a token belongs to, and the tokens before that example."""
        block = int(np.searchsorted(self._block_starts, token, "right")) - 1
        ends = self._block_starts[block] + np.cumsum(self._counts_of(block))
        inside = int(np.searchsorted(ends, token, "right"))
        return block * _BLOCK + inside, int(ends[inside - 1]) if inside else int(self._block_starts[block])

    def _counts_of(self, block: int) -> Int[np.ndarray, " examples"]:
        return np.asarray(self._counts.values[block * _BLOCK : (block + 1) * _BLOCK], np.int64)

    def _encoded(self, examples: Int[np.ndarray, " examples"]) -> Integer[np.ndarray, " tokens"]:
        read = self._examples.read(examples)
        tokens = self._tokenizer.encode([example[self._feature] for example in read])
        if [len(own) for own in tokens] != self._counts.values[examples].tolist():
            raise OSError(
                f"texts have other tokens than were counted; remove {self._counts.where}, and count them again"
            )
        return np.concatenate(tokens)
