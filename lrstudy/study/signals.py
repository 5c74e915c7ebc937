"""Stop requests: the first is answered by saving, the second by leaving at once."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

from lrstudy.training.processes import any_process

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Catches SIGTERM and SIGINT while it is entered, in the main thread.

    A handler written in Python runs only between two steps of Python code, so a second signal would wait for a compiled
    program to end. The interpreter writes every signal to a pipe the moment it comes; a thread that reads the pipe
    leaves the process at the second one, whatever the main thread is doing. Checkpoints are whole at every instant.

    Args:
        said: what the first signal is answered with.
        time_limit: also catch SIGUSR1, by which a scheduler says that time is nearly up.

    Attributes:
        time_is_up: SIGUSR1 came, and nobody asked to stop for another reason.
    """

    def __init__(self, said: str = "saving first", *, time_limit: bool = False) -> None:
        self._came, self.time_is_up = False, False
        self._said, self._time_limit = said, time_limit
        self._previous: dict[int, object] = {}
        self._source, self._sink, self._previous_fd = -1, -1, -1

    @property
    def requested(self) -> bool:
        """Whether a signal has come, to any of the processes that train together; all must ask."""
        return any_process(self._came)

    def __enter__(self) -> "StopRequest":
        self._source, self._sink = os.pipe()
        os.set_blocking(self._sink, False)
        self._previous_fd = signal.set_wakeup_fd(self._sink, warn_on_full_buffer=False)
        threading.Thread(target=_leave_at_the_second, args=(self._source,), daemon=True).start()
        for number in (*_SIGNALS, *([signal.SIGUSR1] if self._time_limit else [])):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._sink)  # the thread reads the end of the pipe and ends

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.time_is_up = number == signal.SIGUSR1 and (self.time_is_up or not self._came)
        if not self._came:
            self._came = True
            print(f"\nstopping: {self._said} (once more to leave at once)", file=sys.stderr, flush=True)


def _leave_at_the_second(source: int) -> None:
    """Counts signals until the pipe is closed."""
    came = 0
    with os.fdopen(source, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            if number[0] in _SIGNALS:
                came += 1
            if came > 1:
                os._exit(128 + number[0])
