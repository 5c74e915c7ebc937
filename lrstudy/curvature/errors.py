"""What a curvature outside of a compiled program raises."""

import contextlib
from collections.abc import Iterator


class CurvatureError(ArithmeticError):
    """A curvature that means nothing."""


class NonFiniteCurvature(CurvatureError):  # noqa: N818  the name is part of the interface
    """A product with the operator was not finite: the loss, its gradient or the parameters are not."""


class AsymmetricCurvatureError(CurvatureError):
    """Products contradict each other: the loss is not the same function at every call."""


@contextlib.contextmanager
def explaining_custom_vjp() -> Iterator[None]:
    """Says what to do about a loss without forward mode.

    JAX raises when the product is made or, inside of a compiled function, when that is compiled; a solve within a
    larger compiled function gets JAX's own message, as that is compiled elsewhere.

    Raises:
        TypeError: with the modes to use, in place of JAX's.
    """
    try:
        yield
    except TypeError as error:
        if "custom_vjp" not in str(error) and "forward-mode" not in str(error):
            raise
        raise TypeError(
            "the loss has a custom_vjp, which has no forward mode: use mode='revrev', or 'fd' where it can be "
            "differentiated once only"
        ) from error
