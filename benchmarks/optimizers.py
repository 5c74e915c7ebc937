"""What an update of every optimizer of the table costs: memory and traffic as XLA counts them, and time.

python -m benchmarks.optimizers [--millions=1,10] [--repeats=9] [--only=adamw,lion]
python -m benchmarks.optimizers --counts

The second prints the counts of a million parameters alone, as JSON; ``tests/optimizers/test_costs.py`` limits them.

Counts are of the compiled update of parameters and state, both donated, in float32: what it needs beside its arguments
(``temp``, in copies of the parameters), and the bytes it reads and writes a parameter. The least that an update can
move is 12 bytes a parameter (read it and its gradient, write it) and 8 a parameter of state. Times are medians of
interleaved repeats, in turns with a plain copy of the same number of bytes: their ratio says how far an update is from
the machine's bandwidth. The loss is a bowl, which ``sam`` and ``sophia`` pay for too. optax's own transforms stand
beside those that the table wraps, PyTorch's AdamW where the extra ``peers`` is installed.

XLA on a CPU writes one tensor a pass, so moments and parameters are passes of their own, each of which reads what it
needs again: AdamW moves 40 bytes where 28 would do, Lion 28 and not 20 or 24, and LAMB 56, as the norm of a direction
is a pass over both moments and the parameters (12), and that of the parameters another (4).
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from benchmarks.timing import interleaved, ratios, record, table
from lrstudy.optimizers import TABLE
from lrstudy.optimizers.clipping import clip_by_global_norm

MILLIONS = flags.DEFINE_list("millions", ["1", "10"], "millions of parameters")
REPEATS = flags.DEFINE_integer("repeats", 9, "interleaved repeats")
ONLY = flags.DEFINE_list("only", [], "rows to measure; none: all")
COUNTS = flags.DEFINE_bool("counts", False, "print counts alone, as JSON")

LAYERS = 4
PEERS: Mapping[str, Callable[[float], optax.GradientTransformation]] = {
    "optax adamw": optax.adamw,
    "optax adamw after clipping": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate)),
    "optax lion": optax.lion,
    "optax lamb": optax.lamb,
    "optax lars": optax.lars,
    "optax adafactor": optax.adafactor,
}


@dataclasses.dataclass(frozen=True)
class Counts:
    """What XLA says of a compiled update.

    Attributes:
        state: numbers of state a parameter.
        temp: memory beside arguments and results, in copies of the parameters.
        traffic: bytes read and written a parameter.
    """

    state: float
    temp: float
    traffic: float

    @property
    def least(self) -> float:
        """Bytes a parameter that no update of so much state can do without."""
        return 12 + 8 * self.state


def parameters(count: int) -> dict[str, Any]:
    """A tree like a transformer's, of about so many numbers: stacked layers, an embedding, a norm and a bias."""
    width = max(8, int((count / (LAYERS + 4)) ** 0.5))
    key = jax.random.key(0)
    shapes = {
        "embedding": {"embedding": (4 * width, width)},
        "blocks": {
            "up": {"kernel": (LAYERS, width, width), "bias": (LAYERS, width)},
            "norm": {"scale": (LAYERS, width)},
        },
    }

    def drawn(shape: tuple[int, ...]) -> jax.Array:
        return 0.1 * jax.random.normal(key, shape)

    return jax.tree.map(drawn, shapes, is_leaf=lambda node: isinstance(node, tuple))


class Update:
    """A compiled update that keeps its parameters and state between calls.

    Args:
        transform: the optimizer.
        params: to begin with.
    """

    def __init__(self, transform: optax.GradientTransformation, params: Any) -> None:
        transform = optax.with_extra_args_support(transform)
        self._size = sum(leaf.size for leaf in jax.tree.leaves(params))

        def obj_fn(params: Any) -> jax.Array:
            return 0.005 * optax.tree.norm(params, squared=True)

        def grad_fn(params: Any, _: int) -> Any:
            return jax.grad(obj_fn)(params)

        def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            # What looks at the loss itself pays for that of a bowl, whose gradient is that at the start.
            told = {"value": jnp.float32(1.0), "grad_fn": grad_fn, "obj_fn": obj_fn}
            updates, state = transform.update(grads, state, params, **told)
            return optax.apply_updates(params, updates), state

        params = jax.tree.map(jnp.copy, params)
        self._grads = jax.tree.map(lambda leaf: 0.01 * leaf, params)
        self._held = params, jax.jit(transform.init)(params)
        self._step = jax.jit(step, donate_argnums=(0, 1)).lower(*self._held, self._grads).compile()

    def counts(self) -> Counts:
        """Memory and traffic of one call."""
        memory, cost = self._step.memory_analysis(), self._step.cost_analysis()
        assert memory is not None
        assert cost is not None
        state = sum(leaf.size for leaf in jax.tree.leaves(self._held[1])) / self._size
        return Counts(state, memory.temp_size_in_bytes / (4 * self._size), cost["bytes accessed"] / self._size)

    def __call__(self) -> None:
        """One update."""
        self._held = jax.block_until_ready(self._step(*self._held, self._grads))


def copy_of(numbers: int) -> Callable[[], None]:
    """A call that reads and writes so many float32 numbers once."""
    held = [jnp.ones(numbers, jnp.float32)]
    scaled = jax.jit(lambda x: 0.999 * x, donate_argnums=0)

    def run() -> None:
        held[0] = scaled(held[0]).block_until_ready()

    run()
    return run


def torch_adamw(params: Any, **kind: bool) -> Callable[[], None]:
    """PyTorch's own AdamW on tensors of the same shapes.

    Raises:
        ImportError: PyTorch is not installed.
    """
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]

    tensors = [torch.nn.Parameter(torch.tensor(np.asarray(leaf))) for leaf in jax.tree.leaves(params)]
    for tensor in tensors:
        tensor.grad = 0.01 * tensor.detach()
    optimizer = torch.optim.AdamW(tensors, lr=1e-4, **kind)
    return lambda: optimizer.step() and None


def candidates() -> dict[str, optax.GradientTransformation]:
    """The rows that are asked for; beside all of them some that are decayed, or behind ``--config.clip_norm``."""
    found = {name: TABLE[name].build(1e-4, **TABLE[name].defaults) for name in ONLY.value or TABLE}
    if not ONLY.value:
        for name in ("adamw", "lars"):
            found[f"{name} after clipping"] = optax.chain(clip_by_global_norm(1.0), found[name])
        found["lamb with decay"] = TABLE["lamb"].build(1e-4, **{**TABLE["lamb"].defaults, "weight_decay": 0.1})
    return found


def measured(count: int) -> list[list[str]]:
    """One line an optimizer."""
    params = parameters(count)
    updates = {name: Update(transform, params) for name, transform in candidates().items()}
    if not ONLY.value:
        updates |= {name: Update(build(1e-4), params) for name, build in PEERS.items()}
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    counts = {name: update.counts() for name, update in updates.items()}
    calls: dict[str, Callable[[], None]] = dict(updates)
    if not ONLY.value:
        calls |= _torch(params)
    rows = []
    for name, call in calls.items():
        own = counts.get(name, Counts(2.0, float("nan"), float("nan")))
        copy = copy_of(int(size * own.least / 8))
        call()
        seconds = interleaved({"update": call, "copy": copy}, REPEATS.value)
        ratio, low, high = ratios(seconds["update"], seconds["copy"])
        counted = [f"{own.temp:.2f}", f"{own.traffic:.1f}"] if own.temp == own.temp else ["-", "-"]
        time = f"{1e3 * sorted(seconds['update'])[len(seconds['update']) // 2]:.2f}"
        rows.append(
            [name, f"{own.state:.2f}", *counted, f"{own.least:.0f}", time, f"{ratio:.2f} ({low:.2f}-{high:.2f})"]
        )
    return rows


def _torch(params: Any) -> dict[str, Callable[[], None]]:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    name = f"PyTorch {torch.__version__} AdamW"
    return {f"{name}, {kind}": torch_adamw(params, **{kind: True}) for kind in ("fused", "foreach")}


def main(argv: Sequence[str]) -> None:
    """Measures and records."""
    del argv
    unknown = sorted(set(ONLY.value) - set(TABLE))
    if unknown:
        raise app.UsageError(f"only must name rows of the table, {', '.join(TABLE)}, got {unknown[0]!r}")
    heads = ("optimizer", "state / P", "temp / P", "bytes / P", "least", "ms", "over a copy of the least bytes")
    if COUNTS.value:
        params = parameters(1_000_000)
        found = {name: Update(transform, params).counts() for name, transform in candidates().items()}
        print(json.dumps({name: dataclasses.asdict(counts) for name, counts in found.items()}))
        return
    parts = []
    for millions in MILLIONS.value:
        rows = measured(int(float(millions) * 1e6))
        parts.append(table(f"{millions} million parameters (P)", heads, rows))
    body = "\n".join(parts)
    if ONLY.value:
        print(body)
    else:
        record("optimizers", "What an update costs", body)


if __name__ == "__main__":
    app.run(main)
