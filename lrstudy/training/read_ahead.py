"""Batches that the host reads while the device trains on earlier ones."""

import functools
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from lrstudy.tasks.ahead import Ahead, Reader, read_block
from lrstudy.tasks.base import Data
from lrstudy.training.layout import Layout

BLOCK_BYTES = 1 << 26
"""A block of batches has no more than this, or one step: three are in memory at a time."""
MOST_STEPS = 64
"""Nor more steps: the first block must be read before training begins."""
_THREADS = 8
_READY = 1  # blocks that wait for the device, beside the one that is being made


class ReadError(OSError):
    """Batches could not be read."""


class ReadAhead:
    """The batches of a run, a block of steps at a time; the next block is read while one is trained on.

    Of several processes each reads the examples that its devices compute.

    Args:
        reader: of a seed's batch at a step.
        resident: what else the program needs of the data, where ``layout`` puts it.
        seeds: of the lanes.
        steps: of the longest lane.
        layout: of the lanes.
        workers: processes that read; 0: threads of this one, which suffice unless reading is mostly Python.

    Attributes:
        slots: steps of a block.
    """

    def __init__(
        self, reader: Reader, resident: Data, seeds: Sequence[int], steps: int, layout: Layout, workers: int = 0
    ) -> None:
        self._reader, self._resident, self._layout, self._workers = reader, resident, layout, workers
        self._seeds, self._steps = tuple(sorted(set(map(int, seeds)))), steps
        batch = jax.tree.leaves(reader(self._seeds[0], 0))
        self._examples = len(batch[0])
        size = sum(leaf.nbytes for leaf in batch) * len(self._seeds)
        self.slots = max(1, min(MOST_STEPS, steps, BLOCK_BYTES // max(1, size)))
        self._producer: _Producer | None = None
        self._held: tuple[int, Data] | None = None

    def first(self, steps: int, seeds: Sequence[int] = ()) -> Data:
        """The batches of the first steps, whole on every device, for what looks at the same ones again and again.

        Args:
            steps: how many.
            seeds: whose; empty: the lanes'.
        """
        block = read_block(None, self._reader, tuple(seeds) or self._seeds, 0, steps)
        return self._layout.data(block)._replace(resident=self._resident)

    def end(self, step: int) -> int:
        """One past the last step of the block that a step is in."""
        return (self._block(step) + 1) * self.slots

    def at(self, step: int) -> Data:
        """What the program is given for a window that begins at this step and ends with its block.

        Raises:
            ReadError: a batch could not be read.
        """
        index = self._block(step)
        if self._held is None or self._held[0] != index:
            self._held = None  # before the next is waited for: no more blocks in memory than need be
            self._held = (index, self._next(index))
        return self._held[1]

    def close(self) -> None:
        """Ends the reading; it begins again when a block is asked for."""
        if self._producer is not None:
            self._producer.close()
        self._producer = self._held = None

    def _block(self, step: int) -> int:
        return min(step, self._steps - 1) // self.slots

    def _next(self, index: int) -> Data:
        if self._producer is None or self._producer.upcoming != index:
            self.close()
            self._producer = _Producer(functools.partial(self._blocks, index), index)
        return self._producer.take()

    def _blocks(self, first: int, closed: threading.Event) -> Iterator[Data]:
        """Blocks on the device, from this one to that of the last step or to the end of reading."""
        import grain

        steps = range(first * self.slots, self._steps)
        reader = functools.partial(self._reader, rows=self._layout.rows(self._examples))
        dataset = grain.MapDataset.source(_Steps(reader, self._seeds, steps))
        options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=2 * _THREADS)
        rows = dataset.to_iter_dataset(options)
        if self._workers:
            _mark_flags_as_parsed()
            options = grain.MultiprocessingOptions(num_workers=self._workers)
            rows = rows.mp_prefetch(options, worker_init_fn=_init_worker)
        gathered: list[Any] = []
        start = steps.start
        for row in rows:
            if closed.is_set():
                return
            gathered.append(row)
            if len(gathered) == self.slots or start + len(gathered) == self._steps:
                # The last block may be short, and the program has one shape: no step looks at what fills it up.
                gathered += gathered[-1:] * (self.slots - len(gathered))
                batches = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *gathered)
                placed = self._layout.batches(batches, self._examples)
                seeds, begin = self._layout.data((np.asarray(self._seeds, np.int32), np.int32(start)))
                yield Ahead(self._resident, seeds, begin, placed)
                start, gathered = start + self.slots, []


def _init_worker(index: int, count: int) -> None:
    """A process that reads has no business on an accelerator, nor without the one that it reads for."""
    del index, count
    jax.config.update("jax_platforms", "cpu")
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process once the one that started it is gone, killed perhaps, with which it shares memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _mark_flags_as_parsed() -> None:
    """Grain's worker processes ask for flags of absl, which a library's user need not have parsed."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


class _Steps:
    """The batches of all seeds, step by step, as a source that grain reads.

    Args:
        reader: of a batch.
        seeds: whose batches.
        steps: in this order.
    """

    def __init__(self, reader: Callable[[int, int], Any], seeds: Sequence[int], steps: range) -> None:
        self._reader, self._seeds, self._steps = reader, seeds, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: Any) -> Any:
        step = self._steps[int(index)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *[self._reader(seed, step) for seed in self._seeds])


class _Producer:
    """A thread that makes blocks, and no more of them than are wanted.

    Args:
        blocks: gives them, in order, until the event is set.
        first: number of the first.

    Attributes:
        upcoming: number of the block that ``take`` gives next.
    """

    def __init__(self, blocks: Callable[[threading.Event], Iterator[Data]], first: int) -> None:
        self.upcoming = first
        self._blocks, self._queue, self._closed = blocks, queue.Queue[Any](_READY), threading.Event()
        self._thread = threading.Thread(target=self._make, name="read ahead", daemon=True)
        self._thread.start()

    def take(self) -> Data:
        """The next block, as soon as it is there.

        Raises:
            ReadError: it could not be made.
        """
        found = self._queue.get()
        if isinstance(found, Exception):
            raise ReadError(f"batches could not be read: {found}") from found
        self.upcoming += 1
        return found

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _make(self) -> None:
        try:
            for block in self._blocks(self._closed):
                self._queue.put(block)
                if self._closed.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread that waits for the block must know
            self._queue.put(error)
