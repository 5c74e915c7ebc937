"""What lanes on four devices come to whose batches are read ahead: ``python -m tests.devices.reading``."""

import json

import jax
import numpy as np

from lrstudy.tasks import Digits
from lrstudy.training import devices, read_ahead
from lrstudy.training.layout import Layout, trimmed
from tests.training.reading import SEEDS, ReadDigits, model, trained

LAYOUTS = {
    "lanes": Layout("map", devices.make_mesh(4, 1)),
    "data": Layout("map", devices.make_mesh(1, 4), 3),
    "lanes x data": Layout("vmap", devices.make_mesh(2, 2), 1),
}


def main() -> None:
    """Prints the largest difference of parameters from those of one device with the data in memory, a layout each."""
    read_ahead.MOST_STEPS = 7
    expected = jax.device_get(trained(Digits(batch_size=16, model=model()))[0].state.params)
    found = {}
    for name, layout in LAYOUTS.items():
        lanes, _, _ = trained(ReadDigits(batch_size=16, model=model()), layout=layout)
        own = jax.device_get(trimmed(lanes, len(SEEDS)).state.params)
        apart = jax.tree.map(lambda left, right: float(np.max(np.abs(left - right))), own, expected)
        found[name] = max(jax.tree.leaves(apart))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
