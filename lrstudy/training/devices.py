"""Devices that share a batch and a state, and the meshes that they form.

Two axes are named: along ``lanes`` devices train different lanes, along ``data`` they share every batch. Meshes have
Auto axes: with Explicit ones, JAX's default, linen models cannot be partitioned. What shares a batch is a mean over
examples computed in parts (``parts``), inside ``shard_map`` with ``check_vma=False``: otherwise JAX would sum the
gradients of what all devices hold, and their mean be too large by the number of devices, which Adam and clipping hide.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from lrstudy.training.parts import (
    Means,
    OverParts,
    Sharing,
    at_least_float32,
    averaged,
    averaged_loss,
    check_splits,
    mean_over_devices,
    split,
)
from lrstudy.training.processes import place
from lrstudy.training.state import TrainState
from lrstudy.training.step import Metrics, Step

LANES, DATA = "lanes", "data"
ZERO_STAGES = (0, 1, 2, 3)


def make_mesh(lanes: int = 1, data: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of ``lanes`` by ``data`` devices.

    Args:
        lanes: devices, or rows of them, that train different lanes.
        data: devices that share every batch.
        devices: which; ``None``: the first that there are, those of all processes.

    Raises:
        ValueError: there are not so many.
    """
    found = jax.devices() if devices is None else list(devices)
    if min(lanes, data) < 1 or lanes * data > len(found):
        raise ValueError(f"lanes x data must be at least 1 x 1 and at most {len(found)} devices, got {lanes} x {data}")
    kept = found[: lanes * data]
    return jax.make_mesh((lanes, data), (LANES, DATA), axis_types=(AxisType.Auto,) * 2, devices=kept)


def data_parallel(step: Step, devices: Sequence[Any] | None = None) -> Callable[..., tuple[TrainState, Metrics]]:
    """A step whose batch is shared by devices, by ``pmap``.

    The state goes in and comes out as for the step itself, its arrays on all devices; it is donated. No mesh context
    may be set around it (``jax.set_mesh``), under which JAX refuses every ``pmap``.

    Args:
        step: of ``make_train_step`` or ``make_gradient_step``; its loss is a mean over examples.
        devices: which; ``None``: all of this process.

    Returns:
        ``(state, batch, hparams) -> (state, metrics)``. It raises ``ValueError`` where the batch's first axis is no
        multiple of the devices.
    """
    own = jax.local_devices() if devices is None else list(devices)
    everywhere = NamedSharding(Mesh(np.asarray(own), (DATA,)), P())  # as the step gives it back: it compiles once
    shared = _step_of(step).shared(Sharing(averaged(DATA), averaged_loss(DATA)))
    mapped = jax.pmap(shared, axis_name=DATA, in_axes=(None, 0, None), out_axes=None, devices=devices, donate_argnums=0)

    def parallel(state: TrainState, batch: Any, hparams: Any) -> tuple[TrainState, Metrics]:
        return mapped(place(state, everywhere), split(batch, len(own), "devices"), hparams)

    return parallel


class Sharded:
    """A step whose batch and state are spread over a mesh (see ``shard``).

    Attributes:
        mesh: the devices.
        zero_stage: what is spread beside the batch.
    """

    def __init__(self, step: Step, mesh: Mesh, zero_stage: int) -> None:
        self.mesh, self.zero_stage = mesh, zero_stage
        self._axis = _data_axis(mesh)
        self._step = step.shared(share_batch(zero_stage, mesh, self._axis))
        self._compiled: dict[Any, Any] = {}

    def __call__(self, state: TrainState, batch: Any, hparams: Any) -> tuple[TrainState, Metrics]:
        """One update; the state is donated.

        Raises:
            ValueError: the batch's first axis is no multiple of the devices.
        """
        check_splits(batch, self.mesh.shape[self._axis], "devices")
        state, batch = self.place(state), place(batch, NamedSharding(self.mesh, P(self._axis)))
        return self.compiled(state)(state, batch, place(hparams, NamedSharding(self.mesh, P())))

    def place(self, state: TrainState) -> TrainState:
        """The state on the mesh; arrays that are there already stay."""
        return jax.tree.map(place, state, self._shardings(state))

    def compiled(self, state: TrainState) -> Any:
        """The jitted step for states like this one."""
        leaves, structure = jax.tree.flatten(state)
        key = structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        if key not in self._compiled:
            own, same = self._shardings(state), NamedSharding(self.mesh, P())
            shardings = (own, NamedSharding(self.mesh, P(self._axis)), same)
            self._compiled[key] = jax.jit(
                self._step, in_shardings=shardings, out_shardings=(own, same), donate_argnums=0
            )
        return self._compiled[key]

    def _shardings(self, state: TrainState) -> TrainState:
        specs = state_specs(state, self.zero_stage, self._axis, self.mesh.shape[self._axis])
        return jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs, is_leaf=_is_spec)


def shard(step: Step, mesh: Mesh, zero_stage: int = 0) -> Sharded:
    """A step whose batch is shared along the mesh's data axis and whose state is spread over it, by ``jit``.

    Stages are those of ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): 1 spreads the optimizer's state, 2 the
    gradient too, 3 the parameters too. A tensor is spread along its largest axis that the devices divide, and is on
    all of them where there is none. Numbers do not depend on the stage: norms over tensors are of the whole tensors.

    Args:
        step: of ``make_train_step`` or ``make_gradient_step``; its loss is a mean over examples.
        mesh: with Auto axes; the batch is shared along ``data``, or along the only axis there is.
        zero_stage: 0 to 3.

    Returns:
        ``(state, batch, hparams) -> (state, metrics)``.

    Raises:
        ValueError: an unknown stage, Explicit axes, or no axis for the data.
    """
    check_stage(zero_stage)
    return Sharded(_step_of(step), mesh, zero_stage)


def check_stage(zero_stage: int) -> None:
    """Refuses what is no stage.

    Raises:
        ValueError: it is none.
    """
    if zero_stage not in ZERO_STAGES:
        raise ValueError(f"zero_stage must be one of {ZERO_STAGES}, got {zero_stage!r}")


def share_batch(zero_stage: int = 0, mesh: Mesh | None = None, axis: str = DATA) -> Sharing:
    """How a step shares its batch and its state along an axis.

    Args:
        zero_stage: see ``shard``.
        mesh: of the axis; ``None``: that of the ``shard_map`` around it.
        axis: its name.
    """

    def over(spread: bool) -> OverParts:
        def wrapped(means: Means) -> Means:
            return functools.partial(_mean_over, means, mesh, axis, spread)

        return wrapped

    def keep(state: TrainState) -> TrainState:
        size = jax.sharding.get_abstract_mesh().shape[axis]
        specs = state_specs(state, zero_stage, axis, size)
        return jax.tree.map(
            lambda spec, leaf: jax.lax.with_sharding_constraint(leaf, spec), specs, state, is_leaf=_is_spec
        )

    return Sharing(over(zero_stage > 1), over(False), keep)


def _is_spec(node: Any) -> bool:
    return isinstance(node, P)


def _mean_over(means: Means, mesh: Mesh | None, axis: str, spread: bool, params: Any, batch: Any, *rest: Any) -> Any:
    """Means over a batch of which every device along the axis has a part.

    Args:
        means: over a part.
        mesh: see ``share_batch``.
        axis: its name.
        spread: whether a gradient, the second of what ``means`` gives, stays spread as ``spec_of`` says.
        params: of ``means``.
        batch: of ``means``.
        rest: of ``means``.
    """
    size = (mesh or jax.sharding.get_abstract_mesh()).shape[axis]
    check_splits(batch, size, "devices")
    shapes = jax.eval_shape(means, params, batch, *rest)
    specs = jax.tree.map(lambda _: P(), shapes)
    if spread:
        specs = (specs[0], jax.tree.map(lambda leaf: spec_of(leaf.shape, axis, size), shapes[1]))

    def local(params: Any, batch: Any, *rest: Any) -> Any:
        def mean(spec: P, leaf: Array) -> Array:
            if axis not in spec:
                return mean_over_devices(leaf, axis)
            place = spec.index(axis)
            summed = jax.lax.psum_scatter(at_least_float32(leaf), axis, scatter_dimension=place, tiled=True)
            return (summed / size).astype(leaf.dtype)

        return jax.tree.map(mean, specs, means(params, batch, *rest), is_leaf=_is_spec)

    spaces = (P(), P(axis), *(P() for _ in rest))
    return jax.shard_map(local, mesh=mesh, in_specs=spaces, out_specs=specs, axis_names={axis}, check_vma=False)(
        params, batch, *rest
    )


def spec_of(shape: Sequence[int], axis: str, size: int) -> P:
    """How a tensor is spread: along its largest axis that ``size`` divides, the first of several; else not at all."""
    fitting = [place for place, length in enumerate(shape) if length and length % size == 0]
    if not fitting or size == 1:
        return P()
    widest = max(fitting, key=lambda place: shape[place])
    return P(*(axis if place == widest else None for place in range(widest + 1)))


def state_specs(state: TrainState, zero_stage: int, axis: str, size: int) -> TrainState:
    """How every array of a state is spread at a stage of ZeRO (see ``shard``)."""

    def specs(tree: Any, spread: bool) -> Any:
        return jax.tree.map(lambda leaf: spec_of(leaf.shape, axis, size) if spread else P(), tree)

    return TrainState(P(), specs(state.params, zero_stage > 2), specs(state.opt_state, zero_stage > 0), P())  # pyright: ignore[reportArgumentType]


def _step_of(step: Any) -> Step:
    if not isinstance(step, Step):
        rule = "what make_train_step or make_gradient_step gives, whose batch can be computed in parts"
        raise TypeError(f"step must be {rule}, got {step!r}")
    return step


def _data_axis(mesh: Mesh) -> str:
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        kinds = ", ".join(str(kind) for kind in mesh.axis_types)
        raise ValueError(f"mesh must have Auto axes (jax.make_mesh(..., axis_types=(AxisType.Auto,))), got {kinds}")
    names = [str(name) for name in mesh.axis_names]
    if DATA not in names and len(names) != 1:
        raise ValueError(f"mesh must have an axis 'data' or one axis alone, got {names}")
    return DATA if DATA in names else names[0]
