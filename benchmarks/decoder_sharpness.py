"""The sharpness of a decoder at its initialisation: seconds a product, in gradients, and memory.

python -m benchmarks.decoder_sharpness [--size=124M] [--batch_size=4] [--modes=linearize,fwdrev]
    [--precisions=highest,default]

In float32, whose products a GPU rounds to ten bits unless ``highest`` is asked for.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks.decoder_jax import model_of, next_token_loss
from benchmarks.decoder_size import SIZES, draw_tokens
from benchmarks.timing import record, table
from lrstudy.curvature import Status, hessian, top_eigs

SIZE = flags.DEFINE_enum("size", "124M", list(SIZES), "of the decoder")
BATCH = flags.DEFINE_integer(
    "batch_size", 4, "sequences of the loss; halved where memory does not suffice", lower_bound=1
)
MODES = flags.DEFINE_list("modes", ["linearize", "fwdrev"], "how products are made, see lrstudy.curvature.hessian")
PRECISIONS = flags.DEFINE_list("precisions", ["highest", "default"], "of JAX's matrix products, one or more")
REPEATS = flags.DEFINE_integer("repeats", 3, "solves and gradients that are timed", lower_bound=1)
TOL = flags.DEFINE_float("tol", 1e-3, "residual of the eigenvalue, relative to it")


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the first call, the median of the others, and what the last one gave."""
    seconds, found = [], None
    for _ in range(REPEATS.value + 1):
        began = time.perf_counter()
        found = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return seconds[0], statistics.median(seconds[1:]), found


def peak_bytes() -> int | None:
    """The most bytes that were in use so far; ``None`` where the device does not count them."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def measured(batch: int, mode: Any, precision: str) -> dict[str, Any]:
    """A solve and a gradient on one batch."""
    size = SIZES[SIZE.value]
    model = model_of(size, dtype="float32")
    loss = functools.partial(next_token_loss, model)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, size.context), jnp.int32))["params"]
    tokens = jax.device_put(draw_tokens(size, 1, batch)[0])
    with jax.default_matmul_precision(precision):
        gradient = jax.jit(jax.grad(loss))
        _, gradient_seconds, _ = timed(lambda: gradient(params, tokens))
        operator = hessian(loss, params, tokens, mode=mode)
        first, seconds, found = timed(lambda: top_eigs(operator, jax.random.key(1), tol=TOL.value))
    products = int(found.matvecs)
    return {
        "mode": mode,
        "precision": precision,
        "batch_size": batch,
        "sharpness": float(found.values[0]),
        "residual": float(found.residuals[0]),
        "status": Status(int(found.status)).name,
        "products": products,
        "seconds_per_product": seconds / products,
        "gradients_per_product": seconds / products / gradient_seconds,
        "seconds_per_gradient": gradient_seconds,
        "compile_seconds": first - seconds,
        "peak_bytes": peak_bytes(),
    }


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    found, batch = [], BATCH.value
    for precision in PRECISIONS.value:
        for mode in MODES.value:
            while True:
                try:
                    found.append(measured(batch, mode, precision))
                    break
                except jax.errors.JaxRuntimeError as error:
                    if batch == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                        raise
                batch //= 2
                print(f"out of memory with {mode}, {batch} sequences instead")
            # After every one, so that what was measured is there if the time runs out.
            recorded(found)


def recorded(found: list[dict[str, Any]]) -> None:
    """Prints and keeps what was measured so far."""
    size = SIZES[SIZE.value]
    rows = [
        [
            f"{one['mode']}, {one['precision']}",
            str(one["batch_size"]),
            f"{one['sharpness']:.5g} ({one['status'].lower()}, residual {one['residual']:.1e})",
            str(one["products"]),
            f"{one['seconds_per_product']:.3f}",
            f"{one['gradients_per_product']:.2f}",
            f"{one['peak_bytes'] / 2**30:.1f}" if one["peak_bytes"] else "not counted",
            f"{one['compile_seconds']:.0f}",
        ]
        for one in found
    ]
    columns = (
        "products",
        "sequences",
        "sharpness",
        "products made",
        "s a product",
        "in gradients",
        "peak GiB so far",
        "compiled in s",
    )
    title = f"{size.parameters:,} parameters at initialisation, sequences of {size.context} tokens"
    record("decoder_sharpness", "Sharpness of a decoder", table(title, columns, rows), {"measured": found})


if __name__ == "__main__":
    app.run(main)
