"""Stop requests: the first is answered by saving, the second by leaving."""

import os
import signal
import sys
from types import FrameType, TracebackType


class StopRequest:
    """Catches SIGTERM and SIGINT while it is entered.

    Attributes:
        requested: whether a signal has come.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.requested = True
        print("\nstopping: saving first (once more to leave at once)", file=sys.stderr, flush=True)
