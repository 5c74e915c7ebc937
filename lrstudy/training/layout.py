"""On which devices, and in which loop, the lanes of a program train."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Bool

from lrstudy.tasks.base import Data
from lrstudy.training.devices import DATA, LANES, check_stage, make_mesh, share_batch, state_specs
from lrstudy.training.parts import Sharing, accumulated
from lrstudy.training.processes import place, process
from lrstudy.training.program import Hyperparameters, Lane, empty_lanes

Executor = Literal["auto", "vmap", "map", "devices"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How lanes are trained: in which loop, and on which devices.

    Attributes:
        loop: ``vmap``, side by side in every operation, or ``map``, one after the other inside the program; on several
            devices those of each.
        mesh: the devices, ``lanes`` by ``data``; ``None``: the default device alone.
        zero_stage: how the states of lanes are spread along ``data`` (see ``devices.shard``).
        accumulate: micro-batches that every batch is computed in, one after the other, on each device.
    """

    loop: str
    mesh: Mesh | None = None
    zero_stage: int = 0
    accumulate: int = 1

    @property
    def name(self) -> str:
        """Its loop, and how many devices there are along each axis."""
        axes = () if self.mesh is None else (LANES, DATA)
        return " ".join([self.loop, *(f"{axis}={self._size(axis)}" for axis in axes)])

    @property
    def shares_batches(self) -> bool:
        """Whether several devices share every batch."""
        return self._size(DATA) > 1

    @property
    def sharing(self) -> Sharing:
        """How a lane's step shares its batch and its state."""
        pieces = accumulated(self.accumulate)
        if not self.shares_batches:
            return Sharing(pieces, pieces)
        over = share_batch(self.zero_stage)
        return Sharing(lambda means: over.gradient(pieces(means)), lambda means: over.loss(pieces(means)), over.place)

    def slots(self, count: int) -> int:
        """Lanes of the program for so many runs: devices have equally many, the last of which may train nothing."""
        return -(-count // self._size(LANES)) * self._size(LANES)

    def hparams(self, hparams: Hyperparameters) -> Hyperparameters:
        """Stacked numbers where the program wants them; lanes beyond the last run make no update."""
        count = len(hparams.steps)
        idle = np.arange(self.slots(count)) >= count
        padded = self._padded(hparams, np)
        return self._placed(padded._replace(steps=np.where(idle, np.int32(0), padded.steps)), P(LANES))

    def data(self, data: Data) -> Data:
        """What a task loaded, on every device."""
        return jax.device_put(data) if self.mesh is None else self._placed(data, P())

    def rows(self, examples: int) -> slice:
        """Which of a batch's examples the devices of this process compute: it need not read the others."""
        if self.mesh is None or not self.shares_batches:
            return slice(0, examples)
        own, each = process().index, examples // self._size(DATA)
        shares = [k for k, column in enumerate(self.mesh.devices.T) if any(d.process_index == own for d in column)]
        return slice(shares[0] * each, (shares[-1] + 1) * each)

    def batches(self, batches: Any, examples: int) -> Any:
        """Batches of seeds and steps, of so many examples, where the program wants them.

        Args:
            batches: arrays of shape (seeds, steps, ``rows(examples)``, ...).
            examples: of a whole batch.
        """
        if self.mesh is None or not self.shares_batches:
            return self.data(batches)
        sharding, first = NamedSharding(self.mesh, P(None, None, DATA)), self.rows(examples).start

        def one(leaf: np.ndarray) -> jax.Array:
            def part(index: Any) -> np.ndarray:
                start, stop, _ = index[2].indices(examples)
                return leaf[:, :, start - first : stop - first]

            shape = (*leaf.shape[:2], examples, *leaf.shape[3:])
            return jax.make_array_from_callback(shape, sharding, part)

        return jax.tree.map(one, batches)

    def lanes(self, lanes: Lane) -> Lane:
        """Stacked lanes where the program wants them."""
        if self.mesh is None:
            return lanes
        mesh, padded = self.mesh, self._padded(lanes, jnp)
        return jax.tree.map(lambda leaf, spec: place(leaf, NamedSharding(mesh, spec)), padded, self._specs(padded))

    def without(self, lanes: Lane, ended: Bool[np.ndarray, " runs"]) -> Lane:
        """The lanes with some of them ended where they are, like those that diverged."""
        ended = np.concatenate([ended, np.zeros(len(lanes.alive) - len(ended), bool)])
        return lanes._replace(alive=lanes.alive & self._placed(jnp.asarray(~ended), P(LANES)))

    def empty(self, abstract: Lane) -> Lane:
        """Buffers for lanes like ``abstract``; a fresh window fills them."""
        return self.lanes(empty_lanes(abstract))

    def abstract(self, abstract: Lane) -> Lane:
        """Shapes and types of lanes as they are saved, with where each process reads what of them."""
        if self.mesh is None:
            return abstract
        mesh, whole = self.mesh, abstract.alive.shape[0] % self._size(LANES) == 0
        specs = self._specs(abstract) if whole else jax.tree.map(lambda _: P(), abstract)

        def one(leaf: jax.ShapeDtypeStruct, spec: P) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

        return jax.tree.map(one, abstract, specs)

    def kept(self, lanes: Lane) -> Lane:
        """A device's own lanes, inside the program, spread along ``data`` as they came.

        Left to itself the partitioner may spread them otherwise, and the next call would compile anew.
        """
        return jax.tree.map(jax.lax.with_sharding_constraint, lanes, self._specs(lanes, None))

    def _specs(self, lanes: Lane, lane_axis: str | None = LANES) -> Lane:
        """How every array of stacked lanes is spread."""
        if self._size(LANES) == 1:
            lane_axis = None  # as the program gives it back

        def one(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)

        def alike(leaf: Any) -> P:
            del leaf
            return P(lane_axis)

        state = state_specs(jax.tree.map(one, lanes.state), self.zero_stage, DATA, self._size(DATA))
        stacked = jax.tree.map(lambda spec: P(lane_axis, *spec), state, is_leaf=lambda node: isinstance(node, P))
        return Lane(stacked, P(lane_axis), jax.tree.map(alike, lanes.tracker))  # pyright: ignore[reportArgumentType]

    def _size(self, axis: str) -> int:
        return 1 if self.mesh is None else self.mesh.shape[axis]

    def _padded(self, tree: Any, xp: Any) -> Any:
        """The last lane again, as often as slots are left."""

        def one(leaf: Any) -> Any:
            more = self.slots(len(leaf)) - len(leaf)
            return xp.concatenate([leaf, *[leaf[-1:]] * more]) if more else leaf

        return jax.tree.map(one, tree)

    def _placed(self, tree: Any, spec: P) -> Any:
        return tree if self.mesh is None else place(tree, NamedSharding(self.mesh, spec))


def layouts_of(
    executor: Executor, count: int, *, data_devices: int = 1, zero_stage: int = 0, accumulate: int = 1
) -> tuple[Layout, ...]:
    """The layouts of so many lanes that suit this machine, the likeliest to be fast first.

    Args:
        executor: ``vmap`` or ``map`` on one device; ``devices``: lanes are dealt out to all devices, of all processes,
            and each loops over its own; ``auto``: ``devices`` where there are several lanes and devices. On a CPU the
            loop is ``map``, as batching small matrix products gains nothing there (``benchmarks/executors.py``), and
            ``vmap`` on an accelerator.
        count: of lanes.
        data_devices: devices that share every batch.
        zero_stage: see ``devices.shard``.
        accumulate: see ``Layout``.

    Returns:
        One layout, or several under ``auto`` on one process, of which only a measurement can tell.

    Raises:
        ValueError: an unknown executor or stage, more devices than there are, or one device for several processes.
    """
    if executor not in get_args(Executor):
        raise ValueError(f"executor must be one of {sorted(get_args(Executor))}, got {executor!r}")
    check_stage(zero_stage)
    for name, value in (("data_devices", data_devices), ("accumulate", accumulate)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    found, several, cpu = jax.devices(), process().count > 1, jax.default_backend() == "cpu"
    rows, left = divmod(len(found), data_devices)
    if not rows or (several and left):
        rule = "a divisor" if several else "at most the number"
        raise ValueError(f"data_devices must be {rule} of the {len(found)} devices, got {data_devices!r}")
    if zero_stage and data_devices == 1:
        raise ValueError(f"zero_stage needs devices that share a batch: data_devices above 1, got stage {zero_stage!r}")
    must = several or data_devices > 1
    if must and executor in ("vmap", "map"):
        raise ValueError(f"executor must be devices where processes or devices train together, got {executor!r}")
    loops = ("map", "vmap") if cpu else ("vmap", "map")
    alone = [Layout(loop, accumulate=accumulate) for loop in loops]
    if executor in ("vmap", "map"):
        return (alone[loops.index(executor)],)
    # Every device has as many lanes as another, so of nine lanes on eight devices five have two, or none.
    used = rows if several else -(-count // -(-count // rows))
    spread_out = [Layout(loop, make_mesh(used, data_devices, found), zero_stage, accumulate) for loop in loops]
    if executor == "devices" or must:
        return (spread_out[0],)
    if min(rows, count) > 1:
        return (spread_out[0], alone[0]) if cpu else tuple(spread_out)
    return (alone[0],) if cpu or count == 1 else tuple(alone)


def layout_of(executor: Executor, count: int, **shared: int) -> Layout:
    """The first of the layouts that suit so many lanes (see ``layouts_of``)."""
    return layouts_of(executor, count, **shared)[0]


def trimmed(lanes: Lane, count: int) -> Lane:
    """The first lanes: those of runs, without the slots beyond them (see ``Layout.slots``)."""
    return jax.tree.map(lambda leaf: leaf if len(leaf) == count else leaf[:count], lanes)
