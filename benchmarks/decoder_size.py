"""A decoder's sizes, its parameters and its arithmetic, the same whoever trains it."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Size:
    """A decoder with learned positions, no biases and a readout that is the embedding's table.

    Attributes:
        layers: blocks.
        width: of the residual stream; four times it inside a feed-forward layer.
        heads: of attention.
        context: tokens of a sequence.
        vocabulary: token ids.
    """

    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """The table, the positions, twelve square matrices and two norms a block, and the last norm."""
        blocks = self.layers * (12 * self.width**2 + 2 * self.width)
        return (self.vocabulary + self.context) * self.width + blocks + self.width

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations of an update for every token, 6 N + 12 L W T (Chowdhery et al. 2022, appendix B).

        N are the parameters less the positions, which multiply nothing; the table does, as the readout. Each is
        multiplied and added once forward and twice backward. L layers of width W attend to T positions in two products:
        4 L W T forward, and twice that backward. Positions that a causal mask hides count as well, as is the custom.
        """
        multiplied = self.parameters - self.context * self.width
        return 6 * multiplied + 12 * self.layers * self.width * self.context


SIZES = {
    # GPT-2 small (Radford et al. 2019) without biases, its vocabulary rounded up to a multiple of 64: 124,4 million.
    "124M": Size(layers=12, width=768, heads=12, context=1024, vocabulary=50_304),
    "tiny": Size(layers=2, width=32, heads=2, context=32, vocabulary=128),
}

LEARNING_RATE, B1, B2, EPS, WEIGHT_DECAY = 3e-4, 0.9, 0.95, 1e-8, 0.1
EMBEDDING_STD = 0.02

PEAK_BF16 = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "RTX 4090": 165e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
}
"""Dense operations a second in bfloat16 (V100: float16) by the makers' data sheets, by a part of the device's name."""


def peak_of(device: str) -> float | None:
    """Operations a second that the device could do; ``None``: not known."""
    return next((peak for name, peak in PEAK_BF16.items() if name in device), None)


def draw_tokens(size: Size, steps: int, batch: int) -> np.ndarray:
    """Sequences of one token more than the context, (steps, batch, context + 1), low ids more often than high ones."""
    uniform = np.random.default_rng(0).random((steps, batch, size.context + 1))
    return (size.vocabulary * uniform**4).astype(np.int32)
