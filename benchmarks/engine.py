"""What the engine costs over the bare scanned step, and how often it compiles.

python -m benchmarks.engine [--repeats=5] [--steps=600]
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags, logging

from benchmarks.timing import interleaved, ratios, record, table
from experiments.river_valley import SCALES, parts
from lrstudy.study.config import make_transform, resolve
from lrstudy.study.plan import Group, make_plan
from lrstudy.study.signals import StopRequest
from lrstudy.study.trainer import GroupTrainer, Settings
from lrstudy.study.workdir import Workdir
from lrstudy.tasks.base import INIT_STREAM, stream_key
from lrstudy.training.program import stack

REPEATS = flags.DEFINE_integer("repeats", 5, "interleaved repeats")
STEPS = flags.DEFINE_integer("steps", 600, "steps of the measured runs")
LANES = flags.DEFINE_integer("lanes", 4, "lanes of the measured group")


def text_group(steps: int, lanes: int) -> Group:
    """The text runs of the river valley's cpu preset under cosine, shortened to ``steps``."""
    part = parts(SCALES["cpu"])["text"]
    fixed = {"schedule": "Cosine", "steps": steps, "schedule.peak": 0.003}
    sweeps = {"seed": [{"seed": seed} for seed in range(lanes)]}
    [group] = make_plan({"text": part.overridden(fixed, sweeps)}).groups
    return group


def bare(group: Group) -> Callable[[], Any]:
    """The same lanes as a plain scan of gradient and update: no records, no evaluation, no checks, no files."""
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

        return jax.lax.scan(step, (params, transform.init(params)), jnp.arange(run.config.steps))[0]

    def lanes(hparams: Any, data: Any) -> Any:
        return jax.lax.map(lambda own: lane(own, data), hparams)

    program = jax.jit(lanes)
    jax.block_until_ready(program(hparams, data))
    return lambda: jax.block_until_ready(program(hparams, data))


def engine(group: Group) -> tuple[Callable[[], None], Callable[[], int]]:
    """The engine over the same lanes, records, evaluations, progress and checkpoints included; and its compilations."""
    compiled = []

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder, StopRequest() as stop:
            trainer = GroupTrainer(group, Workdir(Path(folder)), Settings(executor="map"), stop)
            if compiled:
                trainer.job = compiled[0]  # compiled once, as in a study
            trainer.train(_no_trunk, _no_trunk)
            compiled[:] = [trainer.job]

    train()
    return train, compiled[0].program._cache_size


def _no_trunk(*_: Any) -> Any:
    raise AssertionError("a cosine run has no trunk")


def without_evaluations(group: Group) -> Group:
    """The group with its final evaluation alone."""
    runs = tuple(resolve(dataclasses.replace(r.config, evaluate_every=0)) for r in group.runs)
    return dataclasses.replace(group, runs=runs)


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    logging.set_verbosity(logging.WARNING)
    group = text_group(STEPS.value, LANES.value)
    silent_train, silent_count = engine(without_evaluations(group))
    full_train, full_count = engine(group)
    candidates = {"bare": bare(group), "engine": silent_train, "engine, evaluating every 50 steps": full_train}
    seconds = interleaved(candidates, REPEATS.value)
    per_step = STEPS.value * LANES.value / 1000
    rows = []
    for name, values in seconds.items():
        median, low, high = ratios(values, seconds["bare"])
        milliseconds = sorted(v / per_step for v in values)[len(values) // 2]
        rows.append([name, f"{milliseconds:.2f}", f"{median:.3f}", f"{low:.3f} to {high:.3f}"])
    columns = ("what", "ms per lane and step (median)", "over bare (median)", "range")
    title = (
        f"{LANES.value} lanes of the byte-level transformer, {STEPS.value} steps, {REPEATS.value} interleaved repeats"
    )
    counts = f"Compilations of the training program: {silent_count()} and {full_count()} (one a group).\n"
    record("engine", "The engine's own cost", table(title, columns, rows) + "\n" + counts)


if __name__ == "__main__":
    app.run(main)
