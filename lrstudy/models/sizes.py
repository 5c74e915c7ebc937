"""Checks of a model's sizes."""


def check_sizes(**sizes: tuple[int, int]) -> None:
    """Refuses a size below its least.

    Args:
        **sizes: field to its value and the least that it may be.

    Raises:
        ValueError: for the first that is too small.
    """
    for name, (value, least) in sizes.items():
        if value < least:
            raise ValueError(f"model.{name} must be an int of at least {least}, got {value!r}")
