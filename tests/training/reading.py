"""Digits whose batches the host reads, and lanes that train on them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.models import MLP
from lrstudy.optimizers import TABLE
from lrstudy.schedules import Constant
from lrstudy.tasks import Digits
from lrstudy.tasks.ahead import WHOLE, Ahead
from lrstudy.tasks.digits import epoch_examples, splits
from lrstudy.training import lanes, loop
from lrstudy.training.layout import Layout
from lrstudy.training.loop import Cadence
from lrstudy.training.program import Hyperparameters, abstract_lanes, stack
from lrstudy.training.sharpness import init_tracker

STEPS = 50
SEEDS = (3, 1, 3)


def model():
    return MLP(outputs=10, width=8, layers=1)


def read(batch_size, seed, step, rows=WHOLE):
    """The same batch as ``Digits.batch`` makes."""
    with jax.default_device(jax.devices("cpu")[0]):
        chosen = np.asarray(epoch_examples(jnp.int32(seed), jnp.int32(step), batch_size))
    return splits()["train_pixels"][chosen[rows]], splits()["train_labels"][chosen[rows]]


class ReadDigits(Digits):
    """Digits whose batches the host reads."""

    def reader(self):
        return functools.partial(read, self.batch_size)

    def batch(self, data, seed, step):
        assert isinstance(data, Ahead)
        return data.at(seed, step)

    def evaluate(self, params, data):
        return super().evaluate(params, data.resident)


ALONE = Layout("map")


def transform(hparams):
    return TABLE["sgd"].build(hparams.schedule)


def trained(task, *, layout=ALONE, sharpness=None, start=0, stop=STEPS, begin=None):
    runs = [Hyperparameters(Constant(0.1), task, {}, None, seed, STEPS) for seed in SEEDS]
    stacked = stack(runs)
    every = sharpness.every if sharpness else 0
    job = lanes.make_job(
        stacked, task, transform, Cadence((STEPS,) * len(runs), 1, 10, every), layout, sharpness=sharpness
    )
    init = functools.partial(init_tracker, sharpness) if sharpness else None
    begin = layout.empty(abstract_lanes(stacked, transform, init)) if begin is None else begin
    chunks = list(loop.train(job, begin, start=start, stop=stop, fresh=start == 0))
    rows = loop.concatenate(chunk.rows for chunk in chunks)
    order = np.lexsort((rows["step"], rows["lane"]))
    return chunks[-1].lanes, {name: column[order] for name, column in rows.items()}, chunks
