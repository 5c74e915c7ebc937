"""A small residual network without batch statistics."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.models.fields import check_sizes
from lrstudy.models.images import as_image


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each of a normed and rectified input, added to the block's (He et al. 2016, 1603.05027).

    Attributes:
        branch_scale: factor on the residual branch.
    """

    branch_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "*batch side side width"]) -> Float[Array, "*batch side side width"]:
        """Applies the residual branch."""
        h = x
        for layer in range(2):
            h = nn.relu(nn.LayerNorm(use_bias=False, name=f"norm_{layer}")(h))
            h = nn.Conv(x.shape[-1], (3, 3), use_bias=False, name=f"conv_{layer}")(h)
        return x + self.branch_scale * h


class ResNet(nn.Module):
    """A 3 x 3 convolution, residual blocks, the mean over the image and a linear readout.

    Norms are over the channels of every pixel: an example's scores depend on no other example.

    Attributes:
        outputs: size of the last axis of the result.
        width: channels everywhere.
        layers: residual blocks.
        side: lines and columns of an image that comes as a row of pixels; one that comes as an image has its own.
        branch_scale: factor on every residual branch; for a parametrization to decide.
    """

    of_images: ClassVar[bool] = True
    """Whether images are taken as they are, and not as rows of pixels alone."""

    outputs: int
    width: int = 16
    layers: int = 2
    side: int = 8
    branch_scale: float = 1.0

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0), side=(self.side, 1))
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields)."""
        stack = (("^block_", {"in_stack": True}),) if self.layers else ()
        return (("^readout/kernel$", {"role": "output"}), *stack)

    @nn.compact
    def __call__(self, x: Float[Array, "*pixels"]) -> Float[Array, "*batch outputs"]:
        """Scores of every example, which is a row of pixels or an image.

        Raises:
            ValueError: the pixels of a row are not ``side`` squared.
        """
        x = nn.Conv(self.width, (3, 3), use_bias=False, name="stem")(as_image(x, self.side))
        for block in range(self.layers):
            x = ResidualBlock(self.branch_scale, name=f"block_{block}")(x)
        x = nn.relu(nn.LayerNorm(use_bias=False, name="final_norm")(x))
        return nn.Dense(self.outputs, name="readout")(jnp.mean(x, axis=(-3, -2)))
