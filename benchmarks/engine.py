"""What the engine costs over the bare scanned step, and how often it compiles.

python -m benchmarks.engine [--repeats=5] [--steps=600]
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags, logging

from benchmarks.timing import ratios, record, table
from experiments.river_valley import SCALES, parts
from lrstudy.study.config import make_transform
from lrstudy.study.plan import Group, make_plan
from lrstudy.study.signals import StopRequest
from lrstudy.study.trainer import GroupTrainer, Settings
from lrstudy.study.workdir import Workdir
from lrstudy.tasks.base import INIT_STREAM, stream_key
from lrstudy.training.loop import Job
from lrstudy.training.program import stack

REPEATS = flags.DEFINE_integer("repeats", 5, "runs of the engine")
STEPS = flags.DEFINE_integer("steps", 600, "steps of the measured runs")
LANES = flags.DEFINE_integer("lanes", 4, "lanes of the measured group")

TURN_SECONDS, TURN_STEPS = 2.0, 50


def text_group(steps: int, lanes: int) -> Group:
    """The cpu preset's text runs under cosine, shortened to ``steps``, one window evaluated at the end."""
    part = parts(SCALES["cpu"])["text"]
    fixed = {"schedule": "Cosine", "steps": steps, "schedule.peak": 0.003}
    fixed |= {"evaluate_every": 0, "task.validation_windows": 1}
    sweeps = {"seed": [{"seed": seed} for seed in range(lanes)]}
    [group] = make_plan({"text": part.overridden(fixed, sweeps)}).groups
    return group


def bare(group: Group, steps: int) -> Callable[[], Any]:
    """``steps`` of the same lanes as a plain scan of gradient and update: no records, evaluation, checks or files."""
    run = group.runs[0]
    hparams = stack([r.hyperparameters for r in group.runs])
    data = jax.device_put(run.task.load())
    transform_of = functools.partial(make_transform, run)

    def lane(hparams: Any, data: Any) -> Any:
        task, transform = hparams.task, transform_of(hparams)
        params = task.init(stream_key(hparams.seed, INIT_STREAM))

        def step(carry: Any, k: Any) -> Any:
            params, opt_state = carry
            batch = task.batch(data, hparams.seed, k)
            (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch)
            updates, opt_state = transform.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        return jax.lax.scan(step, (params, transform.init(params)), jnp.arange(steps))[0]

    def lanes(hparams: Any, data: Any) -> Any:
        return jax.lax.map(lambda own: lane(own, data), hparams)

    program = jax.jit(lanes)
    jax.block_until_ready(program(hparams, data))
    return lambda: jax.block_until_ready(program(hparams, data))


class Turns(StopRequest):
    """A stop request that never comes; being asked, it lets the bare steps take their turn.

    The engine asks after every call of its program, so both see the same machine, whose speed changes within seconds.

    Attributes:
        seconds: that the bare steps took.
        calls: of the bare steps.
    """

    def __init__(self, alternative: Callable[[], Any]) -> None:
        super().__init__()
        self._alternative = alternative
        self._since = time.perf_counter()
        self.seconds, self.calls = 0.0, 0

    @property
    def requested(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Always false."""
        began = time.perf_counter()
        if began - self._since > TURN_SECONDS:
            self._alternative()
            self._since = time.perf_counter()
            self.seconds += self._since - began
            self.calls += 1
        return False

    @requested.setter
    def requested(self, value: bool) -> None:
        del value


def engine(group: Group, alternative: Callable[[], Any]) -> tuple[Callable[[], tuple[float, float]], Callable[[], int]]:
    """The engine over the same lanes, records, progress and checkpoints included.

    Returns:
        A call that trains and gives the seconds a step of the engine and of the alternative, and the number of
        compilations so far.
    """
    compiled: list[Job] = []

    def train() -> tuple[float, float]:
        turns = Turns(alternative)
        with tempfile.TemporaryDirectory() as folder:
            trainer = GroupTrainer(group, Workdir(Path(folder)), Settings(executor="map"), turns)
            if compiled:
                trainer.job = compiled[0]  # compiled once, as in a study
            began = time.perf_counter()
            trainer.train(_no_trunk, _no_trunk)
            seconds = time.perf_counter() - began - turns.seconds
            compiled[:] = [trainer.job]
        return seconds / group.stop, turns.seconds / (TURN_STEPS * max(turns.calls, 1))

    train()
    return train, compiled[0].program._cache_size  # pyright: ignore[reportFunctionMemberAccess]


def _no_trunk(*_: Any) -> Any:
    raise AssertionError("a cosine run has no trunk")


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    logging.set_verbosity(logging.WARNING)
    group = text_group(STEPS.value, LANES.value)
    train, compilations = engine(group, bare(group, TURN_STEPS))
    pairs = [train() for _ in range(REPEATS.value)]
    own, other = ([1000 * seconds / LANES.value for seconds in column] for column in zip(*pairs, strict=True))
    median, low, high = ratios(own, other)
    cost = [f"{statistics.median(own):.2f}", f"{statistics.median(other):.2f}"]
    columns = ("ms per lane and step", "bare scan, in turns with it", "ratio (median)", "range")
    title = f"{LANES.value} lanes of the byte-level transformer, {STEPS.value} steps, {REPEATS.value} repeats"
    body = table(title, columns, [[*cost, f"{median:.3f}", f"{low:.3f} to {high:.3f}"]])
    count = f"Compilations of the training program: {compilations()} (one a group).\n"
    record("engine", "The engine's own cost: records, progress, checkpoints", body + "\n" + count)


if __name__ == "__main__":
    app.run(main)
