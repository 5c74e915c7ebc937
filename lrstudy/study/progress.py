"""What a person sees while a study trains."""

import sys
import time

import numpy as np

from lrstudy.training.loop import Chunk
from lrstudy.training.processes import process

LINE_EVERY_SECONDS = 10.0


class Progress:
    """A bar on a terminal, otherwise a plain line every ten seconds and at the end.

    Args:
        what: the group in a few words.
        start: step that training starts from.
        stop: step that it ends at.
        lanes: runs trained side by side.
    """

    def __init__(self, what: str, start: int, stop: int, lanes: int) -> None:
        from tqdm import tqdm

        self._what, self._stop, self._lanes = what, stop, lanes
        self._loss = float("nan")
        self._began = self._said = time.monotonic()
        self._steps = 0
        self._first = True
        self._bar = None
        self._speaks = process().leads
        if self._speaks and sys.stderr.isatty():
            self._bar = tqdm(total=stop, initial=start, desc=what, unit="step", leave=True, dynamic_ncols=True)

    def update(self, chunk: Chunk) -> None:
        """Counts a chunk."""
        losses = chunk.rows.get("loss", np.empty(0))
        if len(losses):
            self._loss = float(np.mean(losses[chunk.rows["step"] == chunk.rows["step"].max()]))
        self.advance(chunk.start, chunk.stop, self._loss)

    def advance(self, start: int, stop: int, loss: float) -> None:
        """Counts the steps from ``start`` to ``stop``, whose last loss this is."""
        self._loss = loss
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{self._loss:.4g}", refresh=False)
            self._bar.update(stop - start)
            return
        self._steps += stop - start
        now = time.monotonic()
        if self._speaks and (now - self._said >= LINE_EVERY_SECONDS or stop == self._stop):
            self._said = now
            print(
                f"{self._what}: step {stop}/{self._stop}, {self._shown}{self._pace(stop, now)}",
                file=sys.stderr,
                flush=True,
            )
        if self._first:
            # The first call compiles the program, which would make what is left many times too long.
            self._first, self._began, self._steps = False, now, 0

    def _pace(self, stop: int, now: float) -> str:
        """How fast it goes, by the clock: what is measured and saved between calls takes its time too."""
        rate = self._steps / max(now - self._began, 1e-9)
        if not rate or (self._first and stop < self._stop):
            return f"{self._lanes} runs"
        return f"{rate:.3g} steps/s x {self._lanes} runs, {(self._stop - stop) / rate:.0f} s left"

    @property
    def _shown(self) -> str:
        """The loss, once a step was recorded."""
        return "" if np.isnan(self._loss) else f"loss {self._loss:.4g}, "

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
