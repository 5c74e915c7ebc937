"""The drops of the rate before each logged step, in blocks whose length grows with how long ago they were."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lrstudy.laws.rate_path import NOTHING, RatePath

FINE = 32
"""Blocks an octave of a prediction; losses under a smooth fall to a tenth then err by some 5e-7."""

COARSE = 4
"""Blocks an octave while a law is fitted: such losses err by some 3e-5, where seeds change them by 7e-4."""

WIDTH = 16
"""Blocks in a strip."""


class Drops(NamedTuple):
    """Blocks of drops, those of a logged step in strips of sixteen; a step has as many strips as it needs.

    Attributes:
        row: shape (strips,), int: which logged step a strip is of; it rises.
        drop: shape (strips, 16): sum of the drops of a block; 0 in unused ones.
        rate: the rate after the drop, the mean over the block weighted by the sizes of its drops; 1 in unused blocks.
        place: the sum of the rates up to and with the update of the drop, likewise weighted; 1 in unused blocks.
        since: the sum of the rates after that update, up to and with the logged step; 0 in unused blocks.
    """

    row: Any
    drop: Any
    rate: Any
    place: Any
    since: Any

    def sum_by_row(self, values: Any, count: int) -> Any:
        """Values of all blocks, shape (strips, 16), summed for each logged step: shape (count,)."""
        strips = values.sum(axis=-1)
        if isinstance(values, np.ndarray):
            return np.bincount(self.row, strips, minlength=count)
        return jax.ops.segment_sum(strips, self.row, count, indices_are_sorted=True)


def drop_blocks(path: RatePath, steps: np.ndarray, per_octave: int) -> Drops:
    """The drops before each step.

    A sum over drops ``sum_k drop_k g(k)``, with g smooth in the logarithms of the time since k and of the rate, is
    nearly a sum over blocks with g taken at the block's mean, weighted by the sizes of its drops: the last few steps
    and all of a sudden drop are exact, and the error falls with the square of the blocks' length. No block holds both
    falls and rises, or rates farther apart than its lengths in time are; where rates jump about, a block is a step.

    Args:
        path: the rates.
        steps: shape (n,), rising.
        per_octave: blocks between a time ago, or a rate, and twice that.
    """
    total, weights = path.sums, np.abs(path.drops)
    ago = steps[:, None] + 1 - _block_ends(len(path.rates), per_octave)
    edges = np.concatenate([ago, np.minimum(_stretches(path, per_octave), steps[:, None] + 1)], axis=1)
    edges = np.sort(edges.clip(0), axis=1)
    lower, upper = edges[:, :-1], edges[:, 1:]
    # Counted in whole drops: differences of sums of floats leave dust where there is no drop at all.
    counts = np.concatenate([[0], np.cumsum(weights > 0)])
    row, block = np.nonzero(counts[upper] > counts[lower])
    upper, lower = upper[row, block], lower[row, block]

    def block_sums(values: np.ndarray) -> np.ndarray:
        prefix = np.concatenate([[0.0], np.cumsum(values)])
        return prefix[upper] - prefix[lower]

    weight = block_sums(weights)
    place = block_sums(weights * total) / weight
    # Of a block at the end the two are one number, rounded twice.
    since = np.clip(total[steps[row]] - place, 0, None)
    rate = block_sums(weights * path.rates) / weight
    return _in_strips(Drops(row, block_sums(path.drops), rate, place, since))


def block_count(path: RatePath, per_octave: int) -> int:
    """How many blocks a step may have, before those without a drop are left out."""
    return len(_block_ends(len(path.rates), per_octave)) + len(_stretches(path, per_octave))


def _stretches(path: RatePath, per_octave: int) -> np.ndarray:
    """First steps of stretches that only fall or only rise, through rates that are one block apart at most."""
    floor = NOTHING * path.rates.max()
    level = np.floor(per_octave * np.log2(np.maximum(path.rates, floor))).astype(int)
    kind = 3 * level + np.sign(path.drops).astype(int)
    return np.flatnonzero(np.diff(kind, prepend=kind[0] - 1) != 0)


def drops_before_end(rates: Any, warmup_steps: int) -> Drops:
    """Every drop between warmup and the last update, one block each: for derivatives by the rates.

    Args:
        rates: shape (T,), NumPy's or JAX's.
        warmup_steps: updates whose rise is no drop.
    """
    xp = rates.__array_namespace__()
    place = xp.cumsum(rates)
    after = slice(warmup_steps + 1, None)
    drop = rates[warmup_steps:-1] - rates[after]
    strip = (drop, rates[after], place[after], place[-1] - place[after])
    return Drops(xp.zeros(1, int), *(column[None] for column in strip))


def _block_ends(length: int, per_octave: int) -> np.ndarray:
    """0, 1, 2, ... and then whole numbers in constant ratio, beyond ``length``."""
    octaves = int(np.ceil(np.log2(max(length, 2)))) + 1
    ratios = 2 ** (np.arange(octaves * per_octave + 1) / per_octave)
    return np.unique(np.concatenate([[0], np.floor(ratios)])).astype(int)


def _in_strips(blocks: Drops) -> Drops:
    """Blocks in a row, shape (blocks,), as strips."""
    rows, first, counts = np.unique(blocks.row, return_index=True, return_counts=True)
    strips = -(-counts // WIDTH)
    before = np.cumsum(strips) - strips
    nth = np.arange(len(blocks.row)) - np.repeat(first, counts)
    place = np.repeat(before, counts) + nth // WIDTH, nth % WIDTH

    def strip(values: np.ndarray, filling: float) -> np.ndarray:
        filled = np.full((int(strips.sum()), WIDTH), filling)
        filled[place] = values
        return filled

    row = np.repeat(rows, strips)
    return Drops(row, *(strip(v, f) for v, f in zip(blocks[1:], (0.0, 1.0, 1.0, 0.0), strict=True)))


def joined_drops(each: Sequence[Drops], rows: Sequence[int]) -> Drops:
    """The strips of several runs, of so many rows each, as those of their rows in a row."""
    before = np.cumsum([0, *rows[:-1]])
    row = np.concatenate([one.row + more for one, more in zip(each, before, strict=True)])
    return Drops(row, *(np.concatenate(columns) for columns in zip(*(one[1:] for one in each), strict=True)))


def padded_drops(drops: Drops, strips: int, row: int) -> Drops:
    """As many strips, those that are added empty and of the given row."""
    more = strips - len(drops.row)
    rows = np.concatenate([drops.row, np.full(more, row)]).astype(np.int32)
    fillings = (0.0, 1.0, 1.0, 0.0)
    padded = [
        np.concatenate([column, np.full((more, WIDTH), filling)])
        for column, filling in zip(drops[1:], fillings, strict=True)
    ]
    return Drops(rows, *padded)
