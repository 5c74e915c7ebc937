"""The training run on which this project and microsoft/mup are compared, in NumPy alone.

A ReLU network 64 -> n -> n -> 10 on the standardised digits, from the weights that torch 2 draws under seed 1. They are
drawn again here, so that nothing large is stored and the comparison needs no torch.
"""

import functools
import json
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "mup.json"
WIDTHS = (64, 256, 512)
BASE_WIDTH = 64
FEATURES, CLASSES = 64, 10
STEPS, BATCH = 20, 64
SEED = 1
RULES = {
    "adam": {"learning_rate": 0.01, "weight_decay": 0.0},
    "adamw": {"learning_rate": 0.01, "weight_decay": 0.1},
    "sgd": {"learning_rate": 0.1, "weight_decay": 0.0},
}
# torch's name of a tensor to ours; torch keeps kernels as (out, in).
NAMES = {
    "fc0.weight": "hidden_0/kernel", "fc0.bias": "hidden_0/bias",
    "fc1.weight": "hidden_1/kernel", "fc1.bias": "hidden_1/bias",
    "out.weight": "readout/kernel", "out.bias": "readout/bias",
}  # fmt: skip


@functools.cache
def batches() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (steps, batch, 64), float64 of mean 0 and deviation 1 over all images, and labels (steps, batch)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean()) / pixels.std()
    order = np.random.RandomState(0).permutation(len(labels))
    rows = np.stack([order[BATCH * step % 1024 :][:BATCH] for step in range(STEPS)])
    return pixels[rows], labels[rows].astype(np.int32)


def torch_weights(width: int) -> dict[str, np.ndarray]:
    """What ``torch.nn.Linear`` holds after ``torch.manual_seed(1)``: float32 values as float64, by torch's names.

    Every tensor is uniform in 1/sqrt(fan-in) either side of zero, made of the lowest 24 bits of a draw of MT19937 by
    one fused multiply-add in float32.
    """
    generator = np.random.MT19937()
    generator._legacy_seeding(SEED)
    tensors = {}
    for layer, fan_in, fan_out in (("fc0", FEATURES, width), ("fc1", width, width), ("out", width, CLASSES)):
        bound = np.float64(np.float32(fan_in**-0.5))
        for name, shape in ((f"{layer}.weight", (fan_out, fan_in)), (f"{layer}.bias", (fan_out,))):
            bits = generator.random_raw(int(np.prod(shape))) & 0xFFFFFF
            # The product of two numbers of 24 bits is exact in float64, so only the last cast rounds.
            values = (bits.astype(np.float64) * 2.0**-24 * (2 * bound) - bound).astype(np.float32)
            tensors[name] = values.reshape(shape).astype(np.float64)
    return tensors


def recorded() -> dict:
    """What ``record_mup`` wrote."""
    return json.loads(FIXTURE.read_text())
