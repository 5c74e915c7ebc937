"""What a law says of data it cannot be fitted to, and of questions it was not fitted for."""

from typing import Any, NoReturn


class LawError(ValueError):
    """A curve, a table of runs or an argument that a law cannot use."""


class ExtrapolationWarning(UserWarning):
    """A law was asked far outside of what it was fitted to; its answer may be wrong."""


def fail(owner: str, argument: str, rule: str, value: Any) -> NoReturn:
    """Raises the one form of error of this room.

    Raises:
        LawError: always.
    """
    raise LawError(f"{owner}: {argument} must be {rule}, got {value!r}")
