"""Where the time of a step goes, and how far it is from what a core can do.

python -m benchmarks.step_parts [--widths=32,64,128,256] [--repeats=9]

One lane on one core, to which the process is bound, as that is what a lane on one of several host devices is: the
2-layer transformer of the text tasks, batch 8 x 64, AdamW. Times of whole steps are CPU times, medians of interleaved
repeats; those of parts are of the operations that XLA compiled, medians over steps, each counted where its last
operation comes from. Products are counted as they are computed, those of attention over hidden positions included, and
bytes as operations read and write them, most of which caches hold.

The roofline is the time that the step's products take at the rate of the core's best product, or that AdamW takes for
the least that it can move, 28 bytes a parameter, at the bandwidth of a pass over as many bytes as parameters, gradients
and moments have; whichever is longer. Two cores that each train a lane have half of it a lane.

What a step is above the roofline is, at small widths, many small operations that move little at far below the caches'
bandwidth: norms, the softmax, GELU. At large widths it is the gradients of kernels, which XLA on a CPU does not give to
its fast products; that of a kernel with more inputs than outputs, the feed-forward layer's second, is computed at a
third of their rate. Batches, embedding, AdamW and the loop are little at any width.
"""

import dataclasses
import functools
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from benchmarks.core import copy_rate, kernel_gradient_rate, product_rate
from benchmarks.small_transformer import BATCH_SIZE, text_runs
from benchmarks.timing import record, table
from benchmarks.traces import Operation, operations
from lrstudy.study.config import Run, make_transform
from lrstudy.training.program import Lane, abstract_lanes, empty_lanes, make_program, make_window, stack

WIDTHS = flags.DEFINE_list("widths", ["32", "64", "128", "256"], "widths of the model")
REPEATS = flags.DEFINE_integer("repeats", 9, "interleaved repeats")

STEPS = 10
LAYERS, CONTEXT, VOCABULARY, EXPANSION = 2, 64, 256, 4
TOKENS = BATCH_SIZE * CONTEXT
STATE_BYTES, ADAMW_BYTES = 16, 28
"""A parameter: of itself, its gradient and both moments; what an update reads and writes of them."""

# What a scope is part of; the first that is found.
PARTS: Mapping[str, str] = {
    "batch": r"/batch/",
    "AdamW": r"/update/",
    "embedding and positions": r"embedding|positions",
    "layer norms": r"_norm",
    "attention: its four products": r"attention/(query|key|value|out)",
    "attention: scores, softmax, mixing": r"/attention/",
    "feed-forward: its two products": r"/(up|down)/",
    "feed-forward: GELU, and sums of branches": r"block_\d",
    "readout": r"readout",
    "cross-entropy over 256 bytes": r"/gradient/",
    "the loop": r"",
}


def products(width: int) -> Mapping[str, float]:
    """Floating-point operations of a forward pass; a backward pass has twice as many."""
    return {
        "attention: its four products": LAYERS * 4 * 2 * TOKENS * width**2,
        "attention: scores, softmax, mixing": LAYERS * 2 * 2 * TOKENS * CONTEXT * width,
        "feed-forward: its two products": LAYERS * 2 * 2 * TOKENS * width * EXPANSION * width,
        "readout": 2 * TOKENS * width * VOCABULARY,
    }


@dataclasses.dataclass(frozen=True)
class Bare:
    """Steps of a run as a loop without records, evaluation or checks, and pieces of such a step.

    Attributes:
        run: what is trained.
        data: of its task.
        params: initial ones.
    """

    run: Run
    data: Any
    params: Any

    @functools.cached_property
    def transform(self) -> optax.GradientTransformation:
        """The run's AdamW."""
        return make_transform(self.run, self.run.hyperparameters)

    def batch(self, data: Any, k: Any) -> Any:
        """Of step k."""
        with jax.named_scope("batch"):
            return self.run.task.batch(data, jnp.int32(0), k)

    def gradient(self, params: Any, batch: Any) -> Any:
        """Of the loss."""
        with jax.named_scope("gradient"):
            return jax.value_and_grad(self.run.task.loss, has_aux=True)(params, batch)[1]

    def updated(self, params: Any, opt_state: Any, grads: Any) -> tuple[Any, Any]:
        """Parameters and state after an update."""
        with jax.named_scope("update"):
            updates, opt_state = self.transform.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

    def step(self, data: Any, params: Any, opt_state: Any, k: Any) -> tuple[Any, Any]:
        """A whole one."""
        batch = self.batch(data, k)
        return self.updated(params, opt_state, self.gradient(params, batch))

    def steps(self, data: Any, params: Any, opt_state: Any) -> tuple[Any, Any]:
        """``STEPS`` whole ones."""
        return jax.lax.fori_loop(0, STEPS, lambda k, kept: self.step(data, kept[0], kept[1], k), (params, opt_state))


def bare(width: int) -> Bare:
    """The first of the runs that ``benchmarks.lanes`` trains."""
    run = text_runs(width)[0]
    return Bare(run, jax.device_put(run.task.load()), run.task.init(jax.random.key(0)))


def held(function: Callable[..., Any], *state: Any) -> Callable[[], None]:
    """A call of a jitted function of its own last result, which it donates."""
    compiled = jax.jit(function, donate_argnums=tuple(range(len(state))))
    kept = [jax.tree.map(jnp.copy, state)]

    def call() -> None:
        kept[0] = jax.block_until_ready(compiled(*kept[0]))

    return call


def engine(own: Bare, *, keeps: bool) -> Callable[[], None]:
    """The project's program of one lane, with or without metrics of every step."""
    transform_of = functools.partial(make_transform, own.run)
    stacked = stack([own.run.hyperparameters])
    program = jax.jit(make_program(transform_of), donate_argnums=0)
    lanes: list[Lane] = [jax.tree.map(lambda leaf: leaf[0], empty_lanes(abstract_lanes(stacked, transform_of)))]
    done = [0]

    def call() -> None:
        steps = range(done[0], done[0] + STEPS)
        window = make_window(steps.start, steps.stop, record_at=steps if keeps else (), fresh=not done[0])
        lanes[0], _ = jax.block_until_ready(program(lanes[0], own.run.hyperparameters, own.data, window))
        done[0] += STEPS

    return call


def ablations(own: Bare) -> dict[str, Callable[[], None]]:
    """Calls of ``STEPS`` steps, or of parts of them."""
    data, params, opt_state = own.data, own.params, own.transform.init(own.params)
    batch = own.batch(data, 0)
    one = jax.jit(own.step, donate_argnums=(1, 2))
    kept = [jax.tree.map(jnp.copy, (params, opt_state))]

    def one_by_one() -> None:
        for k in range(STEPS):
            kept[0] = one(data, *kept[0], k)
        jax.block_until_ready(kept[0])

    def loop(body: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda carry: jax.lax.fori_loop(0, STEPS, lambda _, inner: body(inner), carry)

    def fed(carry: Any, value: Any) -> Any:
        # What a step computes must reach the next, or the compiler leaves it out or computes it once.
        return jax.tree.map(lambda leaf, other: leaf + 1e-30 * other, carry, value)

    def forward(inner: Any) -> Any:
        loss, _ = own.run.task.loss(inner, batch)
        return fed(inner, jax.tree.map(lambda leaf: loss * jnp.ones_like(leaf), inner))

    return {
        "lane's program, metrics of every step": engine(own, keeps=True),
        "lane's program": engine(own, keeps=False),
        "one jitted step a call": one_by_one,
        "steps in a loop": held(lambda p, s: own.steps(data, p, s), params, opt_state),
        "without AdamW: gradient added to the parameters": _once(
            loop(lambda p: fed(p, own.gradient(p, batch))), params
        ),
        "loss alone": _once(loop(forward), params),
        "AdamW alone": held(
            lambda p, s: loop(lambda kept: own.updated(kept[0], kept[1], kept[0]))((p, s)), params, opt_state
        ),
    }


def _once(function: Callable[[Any], Any], state: Any) -> Callable[[], None]:
    return held(lambda inner: (function(inner),), state)


def cpu_milliseconds(calls: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Median CPU time of a step of each, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(REPEATS.value + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if repeat:
                taken[name].append(time.process_time() - began)
    return {name: 1000 * statistics.median(values) / STEPS for name, values in taken.items()}


def part_of(scope: str) -> str:
    """The part that an operation's scope names."""
    return next(part for part, pattern in PARTS.items() if re.search(pattern, scope))


def profile(own: Bare) -> list[Operation]:
    """The operations of ``STEPS`` steps in a loop."""
    state = own.params, own.transform.init(own.params)
    compiled = jax.jit(own.steps).lower(own.data, *state).compile()
    return operations(compiled, lambda: jax.block_until_ready(compiled(own.data, *state)), REPEATS.value)


def parts_table(width: int, found: Sequence[Operation]) -> str:
    """Time, operations, products and bytes of every part."""
    per_step = {part: [o for o in found if part_of(o.scope) == part] for part in PARTS}
    whole = sum(o.seconds * o.count for o in found) / STEPS
    counted, rows = products(width), list[list[str]]()
    for part, each in per_step.items():
        seconds = sum(o.seconds * o.count for o in each) / STEPS
        backward = sum(o.seconds * o.count for o in each if "transpose(" in o.scope) / STEPS
        moved = sum(o.bytes * o.count for o in each) / STEPS
        flops = 3 * counted.get(part, 0.0)
        rows.append(
            [
                part,
                f"{1e6 * seconds:.0f}",
                f"{1e6 * backward:.0f}" if backward else "-",
                f"{seconds / whole:.2f}",
                f"{sum(o.count for o in each) / STEPS:.0f}",
                f"{1e-6 * flops:.1f}" if flops else "-",
                f"{1e-9 * flops / seconds:.0f}" if flops else "-",
                "-" if part in ("batch", "the loop") else f"{1e-6 * moved:.2f}",
            ]
        )
    rows.append(["all", f"{1e6 * whole:.0f}", "", "1.00", f"{sum(o.count for o in found) / STEPS:.0f}", "", "", ""])
    heads = ("part", "us", "of these backward", "share", "operations", "MFLOP", "GFLOP/s", "MB moved")
    return table(f"Width {width}: the operations of a step", heads, rows)


def core_table(widths: Sequence[int]) -> tuple[str, float]:
    """What the core does, and its best product."""
    repeats, rows, best = REPEATS.value, list[list[str]](), 0.0
    sizes = [(TOKENS, width, EXPANSION * width) for width in widths]
    for rows_, inner, columns in [*sizes, (1024, 1024, 1024), (2048, 2048, 2048)]:
        found = product_rate(rows_, inner, columns, repeats)
        best = max(best, found)
        rows.append([f"product {rows_} x {inner} x {columns}", f"{1e-9 * found:.0f} GFLOP/s"])
    for tokens, inner, columns in sizes:
        forms = {
            f"{inner} x {tokens} x {columns}": (inner, columns),
            f"{columns} x {tokens} x {inner}": (columns, inner),
        }
        for name, (inputs, outputs) in forms.items():
            found = kernel_gradient_rate(tokens, inputs, outputs, repeats)
            rows.append([f"gradient of a kernel, {name}", f"{1e-9 * found:.0f} GFLOP/s"])
    for megabytes in (0.25, 8, 256):
        rows.append([f"scaling {megabytes:g} MiB", f"{1e-9 * copy_rate(int(megabytes * 2**20), repeats):.0f} GB/s"])
    return table("One core", ("what", "rate"), rows), best


def main(argv: Sequence[str]) -> None:
    """Measures and records."""
    del argv
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    widths = [int(width) for width in WIDTHS.value]
    core, best = core_table(widths)
    whole, parts, roofline = dict[int, dict[str, float]](), list[str](), list[list[str]]()
    for width in widths:
        own = bare(width)
        whole[width] = cpu_milliseconds(ablations(own))
        parts.append(parts_table(width, profile(own)))
        count = sum(leaf.size for leaf in jax.tree.leaves(own.params))
        flops = 3 * sum(products(width).values())
        bandwidth = copy_rate(STATE_BYTES * count, REPEATS.value)
        bounds = 1000 * flops / best, 1000 * ADAMW_BYTES * count / bandwidth
        measured = whole[width]["steps in a loop"]
        least = [f"{1e-6 * flops:.0f}", f"{1e-6 * count:.2f}", *(f"{bound:.2f}" for bound in bounds)]
        share = f"{max(bounds) / measured:.2f}"
        roofline.append([str(width), *least, f"{max(bounds) / 2:.2f}", f"{measured:.2f}", share])
    names = next(iter(whole.values()))
    rows = [[name, *(f"{whole[width][name]:.2f}" for width in widths)] for name in names]
    heads = ("width", "MFLOP of products", "million parameters", "ms at the best product", "ms of AdamW at bandwidth")
    heads = (*heads, "roofline of two cores, ms a lane", "measured on one core, ms", "roofline of one core over it")
    body = [
        table("ms of CPU time a step", ("what", *(f"width {width}" for width in widths)), rows),
        table("The roofline of a step", heads, roofline),
        core,
        *parts,
    ]
    record("step_parts", "Where the time of a step goes", "\n".join(body))


if __name__ == "__main__":
    app.run(main)
