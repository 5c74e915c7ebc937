"""The program of one lane: a window of steps, what it records, and lanes as values."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from lrstudy.feedback import trained_params
from lrstudy.schedules import Schedule
from lrstudy.tasks import Task
from lrstudy.tasks.base import INIT_STREAM, Data, stream_key
from lrstudy.training.parts import ALONE, Sharing
from lrstudy.training.processes import fetch
from lrstudy.training.state import TrainState, init_state
from lrstudy.training.step import METRICS, make_gradient_step

RECORD_SLOTS = 64
_STATE_STREAM, _TRACKER_STREAM = 2, 3


class Hyperparameters(NamedTuple):
    """The numbers of one lane; stacked leaf by leaf they are the numbers of many.

    Attributes:
        schedule: the learning rate.
        task: the task; its lane fields are the numbers.
        optimizer: hyperparameters by name.
        clip_norm: largest global norm of the gradient, ``None`` for no clipping.
        seed: of initialisation, data and step randomness.
        steps: updates of the run.
    """

    schedule: Schedule
    task: Task
    optimizer: dict[str, Any]
    clip_norm: Any
    seed: Any
    steps: Any


class Lane(NamedTuple):
    """A run inside a program.

    Attributes:
        state: its training state.
        alive: false once its loss was not finite; the state stays what it was before that loss.
        tracker: of its sharpness, where that is measured (``training.sharpness``).
    """

    state: TrainState
    alive: Bool[Array, ""]
    tracker: Any = None


class Window(NamedTuple):
    """The steps that one call of the program trains, the same for all lanes.

    Attributes:
        start: first step.
        stop: one past the last step.
        record_at: steps whose metrics are kept; unused slots hold -1.
        evaluate_at: counts of updates at which the parameters are evaluated, ``stop`` included; unused slots hold -1.
        fresh: initialise the lanes first.
    """

    start: Int[np.ndarray, ""]
    stop: Int[np.ndarray, ""]
    record_at: Int[np.ndarray, " slots"]
    evaluate_at: Int[np.ndarray, " slots"]
    fresh: Bool[np.ndarray, ""]


class Rows(NamedTuple):
    """What a window recorded, slot by slot.

    Attributes:
        train: metrics of the recorded steps.
        recorded: whether the lane made that step with a finite loss.
        evaluation: metrics of the evaluated parameters.
        evaluated: whether the lane was alive and had made just that many updates (or all of its own).
    """

    train: dict[str, Float[Array, " slots"]]
    recorded: Bool[Array, " slots"]
    evaluation: dict[str, Float[Array, " slots"]]
    evaluated: Bool[Array, " slots"]


InitTracker = Callable[[Any, Key[Array, ""]], Any]
MakeTransform = Callable[[Hyperparameters], optax.GradientTransformation]
EvalParams = Callable[[optax.OptState, Any], Any]
Program = Callable[[Lane, Hyperparameters, Data, Window], tuple[Lane, Rows]]


def make_window(
    start: int, stop: int, *, record_at: Sequence[int] = (), evaluate_at: Sequence[int] = (), fresh: bool = False
) -> Window:
    """A window whose slots are padded to the fixed size of the program.

    Raises:
        ValueError: more than ``RECORD_SLOTS`` steps are to be recorded or evaluated.
    """
    if max(len(record_at), len(evaluate_at)) > RECORD_SLOTS:
        raise ValueError(f"a window must record and evaluate at most {RECORD_SLOTS} steps")

    def padded(steps: Sequence[int]) -> np.ndarray:
        return np.asarray([*steps, *[-1] * (RECORD_SLOTS - len(steps))], np.int32)

    return Window(np.int32(start), np.int32(stop), padded(record_at), padded(evaluate_at), np.bool_(fresh))  # pyright: ignore[reportArgumentType]


def init_lane(hparams: Hyperparameters, make_transform: MakeTransform, init_tracker: InitTracker | None = None) -> Lane:
    """A lane before its first update; ``init_tracker`` makes its tracker from parameters and a key."""
    params = hparams.task.init(stream_key(hparams.seed, INIT_STREAM))
    state = init_state(params, make_transform(hparams), stream_key(hparams.seed, _STATE_STREAM))
    return _tracked(Lane(state, jnp.bool_(True)), hparams, init_tracker)


def _tracked(lane: Lane, hparams: Hyperparameters, init_tracker: InitTracker | None) -> Lane:
    """The lane with a tracker that has measured nothing yet, or with none."""
    tracker = init_tracker and init_tracker(lane.state.params, stream_key(hparams.seed, _TRACKER_STREAM))
    return lane._replace(tracker=tracker)


def track_anew(lanes: Lane, hparams: Hyperparameters, init_tracker: InitTracker | None) -> Lane:
    """Stacked lanes with new trackers, for runs that are measured otherwise than those that they start from."""
    return jax.jit(jax.vmap(functools.partial(_tracked, init_tracker=init_tracker)))(lanes, hparams)


def make_program(
    make_transform: MakeTransform,
    eval_params: EvalParams = trained_params,
    init_tracker: InitTracker | None = None,
    sharing: Sharing = ALONE,
) -> Program:
    """The program of one lane: ``(lane, hparams, data, window) -> (lane, rows)``.

    Its control flow depends on the window alone wherever work could be saved, so that under ``vmap`` an evaluation or a
    norm that is not asked for is not computed either. A lane that is done or diverged keeps its state untouched; under
    ``vmap`` by selection, so that its neighbours' arithmetic does not depend on it.

    Args:
        make_transform: ``hparams -> optax transform``.
        eval_params: ``(opt_state, params) ->`` the parameters that are evaluated, for an optimizer that averages.
        init_tracker: see ``init_lane``.
        sharing: how a step's batch and state are spread over devices, or its batch over time.
    """

    def placed(lane: Lane) -> Lane:
        return lane._replace(state=sharing.place(lane.state))

    def program(lane: Lane, hparams: Hyperparameters, data: Data, window: Window) -> tuple[Lane, Rows]:
        task = hparams.task
        step = make_gradient_step(sharing.gradient(task.gradient), make_transform, sharing.loss(task.loss))
        fresh = functools.partial(init_lane, hparams, make_transform, init_tracker)
        lane = placed(jax.lax.cond(window.fresh, fresh, lambda: lane))

        def train(k: Int[Array, ""], lane: Lane, rows: Rows) -> tuple[Lane, Rows]:
            batch = task.batch(data, hparams.seed, k)
            record = jnp.any(window.record_at == k)
            state, metrics = step(lane.state, batch, hparams, record=record)
            finite = jnp.isfinite(metrics["loss"])
            # A select, not a branch: it fuses into the update, where a branch would copy the state.
            state = jax.tree.map(functools.partial(jnp.where, finite), state, lane.state)
            lane = placed(lane._replace(state=state, alive=finite))
            return lane, _write_train(rows, window.record_at == k, metrics, finite)

        def body(k: Int[Array, ""], carry: tuple[Lane, Rows]) -> tuple[Lane, Rows]:
            lane, rows = carry
            slots = window.evaluate_at == k
            here = lane.alive & (lane.state.step == jnp.minimum(k, hparams.steps))

            def evaluated() -> Rows:
                params = eval_params(lane.state.opt_state, lane.state.params)
                return _evaluate(task, params, data, rows, slots, here)

            rows = jax.lax.cond(jnp.any(slots), evaluated, lambda: rows)
            # A lane that branches from another's checkpoint waits until the clock reaches its own step.
            running = lane.alive & (lane.state.step == k) & (k < hparams.steps) & (k < window.stop)
            return jax.lax.cond(running, train, lambda _k, *unchanged: unchanged, k, lane, rows)

        # One turn past the last step: the parameters after it can be evaluated, none is trained.
        return jax.lax.fori_loop(window.start, window.stop + 1, body, (lane, _blank(lane, hparams, data)))

    return program


def _blank(lane: Lane, hparams: Hyperparameters, data: Data) -> Rows:
    """Empty slots for the metrics that this task gives."""
    task, (_, params, opt_state, _) = hparams.task, lane.state

    def first_gradient() -> Any:
        return task.gradient(params, task.batch(data, hparams.seed, jnp.zeros((), jnp.int32)), opt_state)

    (_, extra), _ = jax.eval_shape(first_gradient)
    evaluation = jax.eval_shape(lambda: task.evaluate(params, data))

    def slots(names: Iterable[str]) -> dict[str, Array]:
        return {name: jnp.full(RECORD_SLOTS, jnp.nan, jnp.float32) for name in names}

    none = jnp.zeros(RECORD_SLOTS, bool)
    return Rows(slots((*METRICS, *extra)), none, slots(evaluation), none)


def _write_train(rows: Rows, slots: Bool[Array, " slots"], metrics: dict[str, Array], finite: Array) -> Rows:
    train = {name: jnp.where(slots, metrics[name], old) for name, old in rows.train.items()}
    return rows._replace(train=train, recorded=rows.recorded | (slots & finite))


def _evaluate(task: Task, params: Any, data: Data, rows: Rows, slots: Bool[Array, " slots"], here: Array) -> Rows:
    metrics = task.evaluate(params, data)
    evaluation = {name: jnp.where(slots, metrics[name], old) for name, old in rows.evaluation.items()}
    return rows._replace(evaluation=evaluation, evaluated=rows.evaluated | (slots & here))


def stack(hparams: Sequence[Hyperparameters]) -> Hyperparameters:
    """The numbers of many lanes, leaf by leaf: whole numbers as int32, others as the default float.

    Raises:
        ValueError: the lanes differ in more than numbers.
    """
    structures = {jax.tree.structure(h) for h in hparams}
    if len(structures) != 1:
        raise ValueError(f"lanes of one program must differ in numbers alone, got {len(structures)} structures")

    def column(*values: Any) -> np.ndarray:
        whole = all(isinstance(v, int | np.integer) for v in values)
        return np.asarray(values, np.int32 if whole else jnp.result_type(float))

    return jax.tree.map(column, *hparams)


def abstract_lanes(
    hparams: Hyperparameters, make_transform: MakeTransform, init_tracker: InitTracker | None = None
) -> Lane:
    """Shapes and types of the lanes of stacked ``hparams``."""
    one = functools.partial(init_lane, make_transform=make_transform, init_tracker=init_tracker)
    return jax.eval_shape(jax.vmap(one), hparams)


def to_host(lanes: Lane) -> Lane:
    """The lanes as NumPy arrays; random keys as the integers behind them."""

    def plain(leaf: Array) -> Array:
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return fetch(jax.tree.map(plain, lanes))


def to_device(host: Lane, abstract: Lane) -> Lane:
    """The inverse of ``to_host``, for lanes like ``abstract``."""

    def placed(leaf: jax.ShapeDtypeStruct, value: np.ndarray) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(value))
        return jax.device_put(value)

    return jax.tree.map(placed, abstract, host)


def empty_lanes(abstract: Lane) -> Lane:
    """Buffers like ``abstract``; a fresh window fills them."""

    def zeros(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        return np.zeros(leaf.shape, leaf.dtype)

    return to_device(jax.tree.map(zeros, abstract), abstract)
