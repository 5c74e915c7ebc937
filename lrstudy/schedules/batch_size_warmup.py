"""A batch that grows with the tokens seen."""

from collections.abc import Callable

from lrstudy.schedules.checks import STEP_LIMIT, Range, fail, plain_int, tokens_in

_OWNER = "batch_size_warmup"


def batch_size_warmup(b0: int, b1: int, ramp_tokens: float, multiple: int) -> Callable[[float], int]:
    """A batch size that rises in a line from `b0` to `b1` over `ramp_tokens`, rounded down to a `multiple`.

    Args:
        b0: sequences of the first batch, a multiple of `multiple`.
        b1: sequences of the batches from `ramp_tokens` on, a multiple of `multiple` and at least `b0`.
        ramp_tokens: whole number of tokens over which the batch grows, at least 1.
        multiple: what every batch is a multiple of, such as the number of devices times the batch of each.

    Returns:
        The function from the tokens seen so far, a whole number, to the sequences of the next batch; exact at any size.

    Raises:
        ScheduleError: for a bad argument, here and in the function.

    Example:
        >>> batch = batch_size_warmup(32, 512, ramp_tokens=4e9, multiple=32)
        >>> batch(0), batch(1e9), batch(4e9)
        (32, 128, 512)
    """
    multiple = plain_int(_OWNER, "multiple", multiple, Range(1, STEP_LIMIT, "a positive int"))
    rule = "a positive multiple of multiple"
    b0 = plain_int(_OWNER, "b0", b0, Range(1, STEP_LIMIT, rule))
    b1 = plain_int(_OWNER, "b1", b1, Range(b0, STEP_LIMIT, "at least b0"))
    for name, value in (("b0", b0), ("b1", b1)):
        if value % multiple:
            fail(_OWNER, name, rule, value)
    ramp = tokens_in(_OWNER, "ramp_tokens", ramp_tokens, 1)

    def batch_size(tokens: float) -> int:
        """Sequences of the batch that follows so many tokens."""
        seen = min(tokens_in(_OWNER, "tokens", tokens, 0), ramp)
        return (b0 * ramp + (b1 - b0) * seen) // (ramp * multiple) * multiple

    return batch_size
