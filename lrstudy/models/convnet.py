"""A small convolutional network."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.models.fields import check_sizes
from lrstudy.models.images import as_image


class ConvNet(nn.Module):
    """Two layers of 3 x 3 convolution, ReLU and 2 x 2 mean pooling, and a linear readout of what is left of the image.

    Attributes:
        outputs: size of the last axis of the result.
        width: channels of both layers.
        side: lines and columns of an image that comes as a row of pixels; one that comes as an image has its own.
    """

    of_images: ClassVar[bool] = True
    """Whether images are taken as they are, and not as rows of pixels alone."""

    outputs: int
    width: int = 16
    side: int = 8

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least; pooling twice needs four lines.
        """
        check_sizes(width=(self.width, 1), side=(self.side, 4))
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields)."""
        return (("^readout/kernel$", {"role": "output"}),)

    @nn.compact
    def __call__(self, x: Float[Array, "*pixels"]) -> Float[Array, "*batch outputs"]:
        """Scores of every example, which is a row of pixels or an image.

        Raises:
            ValueError: the pixels of a row are not ``side`` squared.
        """
        x = as_image(x, self.side)
        for layer in range(2):
            x = nn.relu(nn.Conv(self.width, (3, 3), name=f"conv_{layer}")(x))
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = jnp.reshape(x, (*x.shape[:-3], -1))
        return nn.Dense(self.outputs, name="readout")(x)
