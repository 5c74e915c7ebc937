"""Square images that come as rows of pixels."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def as_image(x: Float[Array, "*batch pixels"], side: int) -> Float[Array, "*batch side side 1"]:
    """The image of one channel that a row of pixels is.

    Args:
        x: pixels, line after line.
        side: lines of the image, and pixels of a line.

    Raises:
        ValueError: there are not side * side pixels.
    """
    if x.shape[-1] != side**2:
        raise ValueError(f"model.side ({side}) squared must be the number of pixels, got {x.shape[-1]}")
    return jnp.reshape(x, (*x.shape[:-1], side, side, 1))
