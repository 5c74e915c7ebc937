"""Lanes of one program beside a plain jitted loop over the same runs, and beside PyTorch.

python -m benchmarks.lanes [--repeats=5] [--widths=32,64,128,256] [--compiled]

The model is the 2-layer transformer of the text tasks, batch 8 x 64, under AdamW without clipping. The plain loop is
what one writes without this project: a Python loop over the steps of a run, one call of a jitted step each, which draws
the batch, differentiates the loss and updates the state in place; it keeps nothing. Lanes keep metrics every ten steps
beside. A second plain loop trains the same model as flax's own layers and ``jax.nn.dot_product_attention`` make it, as
one without this project would; its numbers are the same up to rounding. PyTorch's loop does what the plain one does,
with fused AdamW, at the better of one thread and all; it is left out where PyTorch is not installed (extra ``peers``),
and ``--compiled`` adds ``torch.compile``. All take turns.
"""

import dataclasses
import functools
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from benchmarks.lanes_flax import FlaxTransformer
from benchmarks.lanes_torch import Loop, calls
from benchmarks.small_transformer import BATCH_SIZE, LANES, text_runs
from benchmarks.timing import interleaved, ratios, record, table
from lrstudy.optimizers import TABLE
from lrstudy.study.config import Run, make_transform
from lrstudy.study.starting import use_host_devices
from lrstudy.tasks import Task
from lrstudy.tasks.base import INIT_STREAM, stream_key
from lrstudy.training.lanes import spread
from lrstudy.training.layout import Executor, layout_of
from lrstudy.training.program import abstract_lanes, make_program, make_window, stack

REPEATS = flags.DEFINE_integer("repeats", 5, "interleaved repeats")
WIDTHS = flags.DEFINE_list("widths", ["32", "64", "128", "256"], "widths of the model")
COMPILED = flags.DEFINE_bool("compiled", False, "PyTorch's compiled model too, which takes minutes to compile")

STEPS, FEW_STEPS, LARGE = 20, 10, 128
"""Steps of a call, and at this width or above, where they take long."""

IN_TURN = 2
"""Runs that are trained for the time of all, where one is trained after the other."""

PLAIN, FLAX = "plain jitted loop", "plain jitted loop, flax's layers"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A way to train the runs.

    Attributes:
        train: trains some further steps of some runs.
        lane_steps: how many, all runs together.
    """

    train: Callable[[], None]
    lane_steps: int

    def milliseconds(self, seconds: Sequence[float]) -> list[float]:
        """Per lane and step."""
        return [1000 * s / self.lane_steps for s in seconds]


def in_flax(task: Task) -> Task:
    """The task with the model as flax's own layers make it."""
    own: Any = task.model
    sizes = {name: getattr(own, name) for name in ("vocabulary", "context", "width", "layers", "heads")}
    return dataclasses.replace(task, model=FlaxTransformer(**sizes))


def plain_step(run: Run, task: Task) -> Callable[..., Any]:
    """``(params, opt_state, data, seed, k) -> (params, opt_state, loss)``, compiled once for all runs of the task."""
    numbers = {**run.hyperparameters.optimizer, **dict(run.static_optimizer)}
    transform = TABLE["adamw"].build(run.schedule, **numbers)

    def step(params: Any, opt_state: Any, data: Any, seed: Any, k: Any) -> Any:
        batch = task.batch(data, seed, k)
        (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch)
        updates, opt_state = transform.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return jax.jit(step, donate_argnums=(0, 1))


class PlainLoop:
    """The first runs, one after the other.

    Attributes:
        held: parameters and state of each.
        losses: the last loss of each.
    """

    def __init__(self, runs: Sequence[Run], task: Task, steps: int) -> None:
        self._runs, self._step = runs[:IN_TURN], plain_step(runs[0], task)
        self._data = jax.device_put(runs[0].task.load())
        numbers = {**runs[0].hyperparameters.optimizer, **dict(runs[0].static_optimizer)}
        init = TABLE["adamw"].build(runs[0].schedule, **numbers).init
        params = [run.task.init(stream_key(run.config.seed, INIT_STREAM)) for run in self._runs]
        self.held = [(own, init(own)) for own in params]
        self.losses = [float("nan")] * len(self._runs)
        self._done, self._steps = 0, steps

    def __call__(self) -> None:
        """Trains some further steps of each run."""
        for i, run in enumerate(self._runs):
            params, opt_state = self.held[i]
            loss = jnp.float32(jnp.nan)
            for k in range(self._done, self._done + self._steps):
                params, opt_state, loss = self._step(params, opt_state, self._data, run.config.seed, k)
            self.held[i] = jax.block_until_ready((params, opt_state))
            self.losses[i] = float(loss)
        self._done += self._steps


class Lanes:
    """All runs as lanes of one program, which goes on where it stopped.

    Attributes:
        losses: of every lane at the last step that was kept.
    """

    def __init__(self, runs: Sequence[Run], executor: Executor, steps: int) -> None:
        transform_of = functools.partial(make_transform, runs[0])
        stacked = stack([run.hyperparameters for run in runs])
        layout = layout_of(executor, len(runs))
        self._program = spread(make_program(transform_of), layout)
        self._hparams, self._data = layout.hparams(stacked), layout.data(runs[0].task.load())
        self._lanes = layout.empty(abstract_lanes(stacked, transform_of))
        self._done, self._steps, self._every = 0, steps, runs[0].config.record_every
        self.losses = np.full(len(runs), np.nan)

    def __call__(self) -> None:
        """Trains some further steps of every lane."""
        stop = self._done + self._steps
        kept = [k for k in range(self._done, stop) if (k + 1) % self._every == 0]
        window = make_window(self._done, stop, record_at=kept, fresh=not self._done)
        self._lanes, rows = jax.block_until_ready(self._program(self._lanes, self._hparams, self._data, window))
        self.losses = np.asarray(rows.train["loss"])[:, len(kept) - 1]
        self._done = stop


def check_same(plain: PlainLoop, other: "PlainLoop | Lanes", name: str) -> None:
    """That another candidate trains what the plain loop does.

    Raises:
        AssertionError: losses after as many steps are not the same up to what rounding makes of them.
    """
    own, others = plain.losses, other.losses[:IN_TURN]
    assert np.allclose(own, others, rtol=2e-3), f"{name} must train the same runs, got losses {others} for {own}"


def torch_candidates(run: Run, steps: int) -> dict[str, Candidate]:
    """PyTorch's loop on one thread and on all, or nothing."""
    params = run.task.init(stream_key(0, INIT_STREAM))
    data = run.task.load()
    heads = run.task.model.heads  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    adamw = {"learning_rate": 0.003, **{k: float(v) for k, v in run.hyperparameters.optimizer.items()}}
    found: dict[str, Candidate] = {}
    for compiled in (False, True)[: 1 + COMPILED.value]:
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            try:
                loop = Loop(params, heads, adamw, data["train"], BATCH_SIZE)
            except ImportError:
                print("PyTorch is not installed: its rows are left out")
                return {}
            batch = run.task.batch(data, jnp.int32(0), jnp.int32(0))
            ours, theirs = float(run.task.loss(params, batch)[0]), loop.loss(batch)
            assert abs(ours - theirs) < 1e-5 * ours, f"PyTorch's loss must be ours, got {theirs} and {ours}"
            kind = "fused AdamW"
            if compiled:
                loop.compile()
                kind = "compiled, fused AdamW"
            name = f"{loop.name}, {kind}, {threads} thread{'s' * (threads > 1)}"
            found[name] = Candidate(calls(loop, steps * IN_TURN, threads), steps * IN_TURN)
    return found


def candidates(width: int) -> dict[str, Candidate]:
    """All ways to train the runs of a width, each called before."""
    runs, steps = text_runs(width), FEW_STEPS if width >= LARGE else STEPS
    plain, flax = (PlainLoop(runs, task, steps) for task in (runs[0].task, in_flax(runs[0].task)))
    plain()
    flax()
    check_same(plain, flax, FLAX)
    found = {FLAX: Candidate(flax, steps * IN_TURN), PLAIN: Candidate(plain, steps * IN_TURN)}
    executors: Sequence[Executor] = ("map", "vmap", "devices")
    for executor in executors:
        lanes = Lanes(runs, executor, steps)
        lanes()
        check_same(plain, lanes, executor)
        name = f"{executor}, {len(jax.devices())} host devices" if executor == "devices" else executor
        found[name] = Candidate(lanes, steps * LANES)
    return found | torch_candidates(runs[0], steps)


def measured(width: int) -> list[list[str]]:
    """One line a candidate: its time, and what the plain loops and PyTorch take over it."""
    found = candidates(width)
    seconds = interleaved({name: own.train for name, own in found.items()}, REPEATS.value)
    times = {name: found[name].milliseconds(values) for name, values in seconds.items()}
    peers = [name for name in times if name.startswith("PyTorch") and "compiled" not in name]
    best = min(peers, key=lambda name: statistics.median(times[name]), default=None)
    rows = []
    for name, own in times.items():
        row = [str(width), name, f"{statistics.median(own):.2f}"]
        for other in (PLAIN, FLAX, best):
            median, low, high = ratios(times[other], own) if other else (float("nan"),) * 3
            row.append(f"{median:.2f} ({low:.2f}-{high:.2f})" if other else "-")
        rows.append(row)
    return rows


def main(argv: Sequence[str]) -> None:
    """Measures and records."""
    del argv
    use_host_devices()
    rows = [row for width in WIDTHS.value for row in measured(int(width))]
    others = ("plain loop over it", "that of flax's layers over it", "PyTorch (better eager) over it")
    columns = ("width", "trained by", "ms per lane and step", *others)
    title = (
        f"{LANES} lanes, batch {BATCH_SIZE} x 64, {REPEATS.value} interleaved repeats: medians, and ranges of ratios"
    )
    record("lanes", "Lanes beside a plain jitted loop and PyTorch", table(title, columns, rows))


if __name__ == "__main__":
    app.run(main)
