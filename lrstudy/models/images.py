"""Square images, which come as such or as rows of pixels."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def as_image(x: Float[Array, "*pixels"], side: int) -> Float[Array, "*batch side side channels"]:
    """Images, those that come as rows of pixels put together.

    Args:
        x: pixels of one channel, line after line: (*batch, side * side); or square images of any side: (*batch, lines,
            columns, channels).
        side: lines of an image that comes as a row, and pixels of a line.

    Raises:
        ValueError: it is neither.
    """
    if x.shape[-1] == side**2:
        return jnp.reshape(x, (*x.shape[:-1], side, side, 1))
    if x.ndim >= 3 and x.shape[-3] == x.shape[-2]:
        return x
    raise ValueError(f"model.side ({side}) squared must be the number of pixels, got {x.shape[-1]}")
