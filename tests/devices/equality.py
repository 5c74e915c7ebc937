"""What every way of spreading work over 8 devices gives, beside one device.

python -m tests.devices.equality: prints the tables of equality and of bytes; --json: what the tests read.

Losses are trained by plain SGD: Adam divides a gradient that is too large by its own size, and hides it.
"""

import functools
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.models import Transformer
from lrstudy.training import checkpoint, devices, init_state, lanes, loop, make_train_step
from lrstudy.training.layout import Layout, trimmed
from lrstudy.training.parts import Sharing, accumulated, averaged
from lrstudy.training.program import abstract_lanes, make_window, stack
from tests.training.problems import hparams_and_transform, run_of

COUNTS = (1, 2, 4, 8)
STEPS, BATCH = 10, 16
MODEL = Transformer(vocabulary=32, context=8, width=16, layers=1, heads=2)
RATE = {"learning_rate": jnp.float32(0.3)}


def loss(params: Any, tokens: Any) -> Any:
    """The mean cross-entropy of the next token, and a further mean over positions."""
    logits = MODEL.apply({"params": params}, tokens[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return jnp.mean(losses), {"logit_square": jnp.mean(jnp.square(logits))}


def momentum(hparams: Any) -> optax.GradientTransformation:
    """SGD with a state of the parameters' size, after a norm over all tensors."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(hparams["learning_rate"], momentum=0.5))


STEP = make_train_step(loss, momentum)


def batch(step: int) -> Any:
    """Random tokens, the same for a step."""
    return jax.random.randint(jax.random.key(step), (BATCH, MODEL.context + 1), 0, MODEL.vocabulary)


def begin(own: Any = STEP) -> Any:
    """The state before the first update of a step."""
    params = MODEL.init(jax.random.key(0), batch(0)[:, :-1])["params"]
    return init_state(params, own.make_transform(RATE), jax.random.key(1))


def trained(step: Callable[..., Any], own: Any) -> tuple[Any, np.ndarray]:
    """The state after ``STEPS`` updates, and their losses and further means."""
    state, found = begin(own), []
    for k in range(STEPS):
        state, metrics = step(state, batch(k), RATE)
        found.append([float(metrics["loss"]), float(metrics["logit_square"]), float(metrics["grad_norm_l2"])])
    return state, np.asarray(found)


def apart(left: Any, right: Any) -> float:
    """The largest difference, of arrays that are larger than one relative to their size."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.max(np.abs(a - b) / np.maximum(1, np.abs(a)))) for a, b in pairs)


def own_bytes(tree: Any) -> int:
    """Bytes that the first device holds of arrays."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def collectives(text: str) -> dict[str, list[int]]:
    """Of a compiled text: the elements of what every operation between devices gives."""
    found: dict[str, list[int]] = {"all-reduce": [], "all-gather": [], "reduce-scatter": [], "all-to-all": []}
    for line in text.splitlines():
        for name, sizes in found.items():
            if f" {name}(" in line or f" {name}-start(" in line:
                shape = line.split("[", 1)[1].split("]", 1)[0]
                sizes.append(int(np.prod([int(n) for n in shape.split(",") if n])))
    return found


def compiled_text(step: devices.Sharded, state: Any) -> str:
    """The compiled step."""
    return step.compiled(state).lower(state, batch(0), RATE).compile().as_text()


def bfloat16_rows() -> Iterator[dict[str, Any]]:
    """Parameters and gradients in bfloat16, whose means over devices are sums in float32."""

    def small(step: Callable[..., Any]) -> tuple[Any, np.ndarray]:
        state, found = begin(), []
        state = state._replace(params=jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state.params))
        state = state._replace(opt_state=momentum(RATE).init(state.params))
        for k in range(3):
            state, metrics = step(state, batch(k), RATE)
            found.append(float(metrics["loss"]))
        return jax.device_get(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), state.params)), np.asarray(found)

    expected, losses = small(jax.jit(STEP))
    ways = {
        "pmap": devices.data_parallel(STEP, jax.devices()[:4]),
        "shard": devices.shard(STEP, devices.make_mesh(1, 4), 3),
    }
    for path, step in ways.items():
        params, found = small(step)
        yield {"path": path, "loss": apart(losses, found), "params": apart(expected, params)}


def summed(axis: str) -> Sharing:
    """The wrong reduction: the gradient's sum in place of its mean."""

    def over(means: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any) -> Any:
            found, gradient = means(*args)
            return jax.lax.pmean(found, axis), jax.lax.psum(gradient, axis)

        return wrong

    return Sharing(over, averaged(axis))


def step_rows() -> Iterator[dict[str, Any]]:
    """One row a way and a number of devices, for a step that is called in a loop."""

    @functools.cache
    def alone(own: Any) -> tuple[np.ndarray, Any]:
        state, found = trained(jax.jit(own), own)
        return found, jax.device_get(state.params)

    def row(path: str, count: int, step: Callable[..., Any], stage: int = 0, own: Any = STEP) -> dict[str, Any]:
        state, found = trained(step, own)
        expected, plain = alone(own)
        differences = {"loss": apart(expected, found), "params": apart(plain, jax.device_get(state.params))}
        sizes = {"param_bytes": own_bytes(state.params), "optimizer_bytes": own_bytes(state.opt_state)}
        fact = {"path": path, "devices": count, "stage": stage, **differences, **sizes}
        if isinstance(step, devices.Sharded):
            fact["collectives"] = collectives(compiled_text(step, state))
        return fact

    yield row("micro-batches", 1, jax.jit(STEP.shared(Sharing(accumulated(4), accumulated(4)))))
    for count in COUNTS:
        own = jax.devices()[:count]
        yield row("pmap", count, devices.data_parallel(STEP, own))
        for stage in devices.ZERO_STAGES:
            yield row("shard", count, devices.shard(STEP, devices.make_mesh(1, count), stage), stage)
    # Without clipping, which like Adam would hide it.
    unclipped = make_train_step(loss, lambda hparams: optax.sgd(hparams["learning_rate"], momentum=0.5))
    wrong = jax.pmap(unclipped.shared(summed("data")), axis_name="data", in_axes=(None, 0, None), out_axes=None)

    def wrongly(state: Any, tokens: Any, hparams: Any) -> Any:
        return wrong(state, tokens.reshape(8, -1, tokens.shape[-1]), hparams)

    yield row("sum for mean", 8, wrongly, own=unclipped)


def differentiated_rows() -> Iterator[dict[str, Any]]:
    """One row a way on 4 devices, of a transform that differentiates the loss itself: how far from one device."""

    def bent(params: Any, inputs: Any) -> Any:
        return jnp.mean(jnp.square(jnp.tanh(inputs @ params) - 0.5)), {}

    def curved(hparams: Any) -> optax.GradientTransformation:
        return optax.contrib.sophia(hparams["learning_rate"] / 100, gamma=10.0, update_interval=2)

    def last(step: Callable[..., Any]) -> Any:
        state = init_state(jnp.linspace(-1.0, 1.0, 8), curved(RATE), jax.random.key(1))
        for k in range(STEPS):
            state, _ = step(state, jax.random.normal(jax.random.key(k), (BATCH, 8)), RATE)
        return state.params

    own = make_train_step(bent, curved)
    expected = last(jax.jit(own))
    ways = {
        "pmap": devices.data_parallel(own, jax.devices()[:4]),
        "shard": devices.shard(own, devices.make_mesh(1, 4), 2),
    }
    for path, step in ways.items():
        params = last(step)
        copies = [np.asarray(shard.data) for shard in params.addressable_shards]
        yield {
            "path": path,
            "params": apart(expected, jax.device_get(params)),
            "copies": max(apart(copies[0], copy) for copy in copies),
        }


def called_otherwise() -> dict[str, float]:
    """Losses of two updates: in a loop, within another compiled function, and of a state that went another way."""
    mesh = devices.make_mesh(1, 4)
    sharded, parallel = devices.shard(STEP, mesh, 3), devices.data_parallel(STEP, jax.devices()[:2])

    @jax.jit
    def both(state: Any, first: Any, second: Any) -> Any:
        return sharded(sharded(state, first, RATE)[0], second, RATE)[1]["loss"]

    def after(first: Callable[..., Any], second: Callable[..., Any]) -> float:
        return float(second(first(begin(), batch(0), RATE)[0], batch(1), RATE)[1]["loss"])

    plainly = jax.jit(STEP)
    return {
        "alone": after(plainly, plainly),
        "in jit": float(both(begin(), batch(0), batch(1))),
        "shard, pmap": after(sharded, parallel),
        "pmap, shard": after(parallel, sharded),
    }


def layouts() -> Iterator[tuple[str, Layout]]:
    """Lanes on devices, alone and with batches that are shared."""
    for count in COUNTS[1:]:
        yield "lanes", Layout("map", devices.make_mesh(count, 1))
    yield "lanes, vmap", Layout("vmap", devices.make_mesh(2, 1))
    for rows, shares in ((1, 4), (2, 2), (2, 4)):
        yield "lanes x data", Layout("map", devices.make_mesh(rows, shares))
    for stage in devices.ZERO_STAGES[1:]:
        yield "lanes x data", Layout("map", devices.make_mesh(2, 4), stage)
    yield "lanes x data, vmap", Layout("vmap", devices.make_mesh(2, 4), 3)
    yield "lanes x data, micro-batches", Layout("map", devices.make_mesh(2, 2), accumulate=2)


SIZES = {"vocabulary": 16, "batch_size": 32}
RUNS = [
    run_of("bigram", seed=s, optimizer="sgd", schedule=("Cosine", {"peak": r}), clip_norm=1.0, steps=n, **SIZES)
    for s, r, n in ((0, 1.0, 12), (1, 0.5, 12), (2, 2.0, 9))
]


@functools.cache
def job_of(layout: Layout) -> tuple[loop.Job, Any]:
    """The lanes' program, compiled once a layout, and their shapes."""
    hparams, make_transform = hparams_and_transform(RUNS)
    stacked = stack(hparams)
    cadence = loop.Cadence(tuple(run.config.steps for run in RUNS), 1, 4)
    job = lanes.make_job(stacked, RUNS[0].task, make_transform, cadence, layout)
    return job, abstract_lanes(stacked, make_transform)


def run_lanes(layout: Layout, start: Any = None, at: int = 0, stop: int = 12) -> tuple[Any, Any, Any, Any]:
    """Three lanes, the last of them shorter; 2, 4 and 8 devices have slots that none of them fills."""
    job, abstract = job_of(layout)
    current = layout.empty(abstract) if start is None else layout.lanes(start)
    rows, finals = [], []
    for chunk in loop.train(job, current, start=at, stop=stop, fresh=start is None):
        current = chunk.lanes
        rows.append(chunk.rows)
        finals.append(chunk.finals)
    columns = loop.concatenate(rows)
    order = np.lexsort((columns["step"], columns["lane"]))
    return current, {k: v[order] for k, v in columns.items()}, loop.concatenate(finals), abstract


def plain(trained_lanes: Any) -> Any:
    """Parameters on the host."""
    return jax.device_get(trimmed(trained_lanes, len(RUNS)).state.params)


def same_rows(left: Any, right: Any) -> float:
    """The largest difference of columns; infinite where one has a value that the other lacks."""
    if left.keys() != right.keys() or any(len(left[k]) != len(right[k]) for k in left):
        return float("inf")
    gaps = all(np.array_equal(np.isnan(left[k]), np.isnan(right[k])) for k in left)
    return apart([np.nan_to_num(v) for v in left.values()], [np.nan_to_num(right[k]) for k in left]) if gaps else np.inf


class Compilations(logging.Handler):
    """Counts the programs of lanes that XLA compiles; JAX's own caches also count calls that differ in nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        jax.config.update("jax_log_compiles", True)
        logging.getLogger("jax").addHandler(self)
        logging.getLogger("jax").propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Counts."""
        names = ("mapped", "kept", "program")
        self.count += any(f"Finished XLA compilation of jit({name})" in record.getMessage() for name in names)


def lane_rows() -> Iterator[dict[str, Any]]:
    """One row a layout of lanes."""
    compilations = Compilations()
    alone, rows, finals, _ = run_lanes(Layout("map"))
    expected = plain(alone)
    for path, layout in layouts():
        compilations.count = 0
        found, own, ends, _ = run_lanes(layout)
        yield {
            "path": path,
            "devices": " x ".join(str(n) for n in layout.mesh.shape.values()),
            "stage": layout.zero_stage,
            "loss": max(same_rows(rows, own), same_rows(finals, ends)),
            "params": apart(expected, plain(found)),
            "param_bytes": own_bytes(found.state.params),
            "optimizer_bytes": own_bytes(found.state.opt_state),
            "compilations": compilations.count,
            "spread": [list(leaf.sharding.spec) for leaf in jax.tree.leaves(found.state.params)],
        }


def restored_rows() -> Iterator[dict[str, Any]]:
    """Saved under one layout after 6 updates, restored and trained to the end under another."""
    found = dict(enumerate(layout for _, layout in layouts()))
    chain = [found[place] for place in (0, 2, 9, 6)] + [Layout("map")]
    expected = plain(run_lanes(Layout("map"))[0])
    for before, after in zip(chain, chain[1:] + chain[:1], strict=True):
        half, _, _, abstract = run_lanes(before, stop=6)
        kept = trimmed(half, len(RUNS))
        saved = plain(half)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(Path(folder), 6, kept, {})
            tree = checkpoint.restore(Path(folder), after.abstract(abstract)).tree
        same = apart(saved, jax.device_get(tree.state.params)) == 0  # before the next call consumes it
        done, *_ = run_lanes(after, tree, 6)
        ends = [f"{layout.name} stage {layout.zero_stage}" for layout in (before, after)]
        yield {
            "path": f"saved on {ends[0]}, restored on {ends[1]}",
            "same_bits": same,
            "params": apart(expected, plain(done)),
        }


def lane_collectives() -> dict[str, list[int]]:
    """What the program of lanes on 2 x 4 devices sends, whose batches are shared and nothing else."""
    layout = Layout("map", devices.make_mesh(2, 4))
    job, abstract = job_of(layout)
    window = make_window(0, 4, record_at=[0], fresh=True)
    return collectives(job.program.lower(layout.empty(abstract), job.hparams, job.data, window).compile().as_text())


def donated() -> dict[str, bool]:
    """Whether a step's old state is gone after it."""
    ways = {
        "pmap": devices.data_parallel(STEP),
        "shard": devices.shard(STEP, devices.make_mesh(1, 8), 1),
    }
    found = {}
    for name, step in ways.items():
        state, _ = step(begin(), batch(0), RATE)
        step(state, batch(1), RATE)
        found[name] = all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    return found


def everything() -> dict[str, Any]:
    """All that the tests assert on."""
    return {
        "steps": list(step_rows()),
        "differentiated": list(differentiated_rows()),
        "called": called_otherwise(),
        "lanes": list(lane_rows()),
        "restored": list(restored_rows()),
        "bfloat16": list(bfloat16_rows()),
        "donated": donated(),
        "lane_collectives": lane_collectives(),
        "whole": [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(begin().params)],
    }


def main() -> None:
    """Prints what was found."""
    found = everything()
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    columns = ("path", "devices", "ZeRO", "loss", "parameters", "parameter bytes", "optimizer bytes")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in found["steps"] + found["lanes"]:
        differences = f"{row['loss']:.1e} | {row['params']:.1e}"
        sizes = f"{row['param_bytes']} | {row['optimizer_bytes']}"
        print(f"| {row['path']} | {row['devices']} | {row['stage']} | {differences} | {sizes} |")
    for row in found["restored"]:
        print(f"{row['path']}: bits {'kept' if row['same_bits'] else 'LOST'}, parameters {row['params']:.1e}")


if __name__ == "__main__":
    main()
