"""Units of what tasks measure; a landscape's or a regression's loss has none."""

from collections.abc import Iterable

_LOSS_UNITS = {
    "bigram": "nats",
    "continual_digits": "nats",
    "digits": "nats",
    "federated_digits": "nats",
    "mixed_text": "nats/byte",
    "modular_arithmetic": "nats",
    "noisy_digits": "nats",
    "repeated_text": "nats/byte",
    "text": "nats/byte",
    "tfds": "nats",
}
_CROSS_ENTROPIES = ("loss", "excess")


def in_words(metric: str, tasks: Iterable[str]) -> str:
    """A metric's name as an axis has it, with its unit where all these tasks measure it in the same.

    Args:
        metric: column of the metric rows.
        tasks: names of the tasks whose runs are shown.
    """
    words = metric.replace("_", " ")
    units = {_LOSS_UNITS.get(task, "") for task in tasks} if words.endswith(_CROSS_ENTROPIES) else set()
    unit = units.pop() if len(units) == 1 else ""
    return f"{words} ({unit})" if unit else words
