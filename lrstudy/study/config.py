"""The configuration of one run, and what it resolves to."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from lrstudy import optimizers, tasks
from lrstudy.laws.extrapolation.racing import PredictiveStop
from lrstudy.optimizers.clipping import clip_by_global_norm
from lrstudy.optimizers.directions import NotScaledError
from lrstudy.parametrization import Parametrization, Scaled
from lrstudy.schedules import Schedule, Shifted, from_dict
from lrstudy.study import choices
from lrstudy.study.built import Built, build, fitting_models
from lrstudy.study.checks import check_clip, check_optimizer, check_plain, check_preconditioner, check_start
from lrstudy.study.choices import KINDS, Choice
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.study.pieces import Pieces
from lrstudy.study.stoppable import check_stoppable
from lrstudy.training.program import EvalParams, Hyperparameters, InitTracker
from lrstudy.training.sharpness import Sharpness, init_tracker


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run, before defaults that depend on other fields are filled in.

    Attributes:
        task: what is trained.
        schedule: learning rate of every update.
        optimizer: row of ``optimizers.TABLE``.
        model: ``None``: the task's first fitting model.
        parametrization: how the model and its optimizer are scaled relative to a base model; ``None``: not at all.
        sharpness: how the loss's largest curvature is measured along the way; ``None``: not at all.
        early_stop: which runs are stopped because they are not likely to end best; ``None``: none.
        steps: optimizer updates.
        seed: of initialisation, data order and step randomness.
        clip_norm: largest global gradient norm; ``None``: no clipping.
        record_every: steps between metric rows.
        evaluate_every: steps between evaluations, a multiple of ``record_every``; 0: only the final parameters.
        start: ``<run id>@<step>``: go on from that run's state after so many updates; ``None``: from initialisation.
        schedule_start: step at which the schedule begins; before it the rate is the schedule's first.
    """

    task: Choice
    schedule: Choice
    optimizer: Choice
    model: Choice | None = None
    parametrization: Choice | None = None
    sharpness: Choice | None = None
    early_stop: Choice | None = None
    steps: int = 1000
    seed: int = 0
    clip_norm: float | None = None
    record_every: int = 10
    evaluate_every: int = 0
    start: str | None = None
    schedule_start: int = 0


PLAIN_FIELDS: dict[str, choices.Argument] = {
    "steps": choices.Argument(int, False, 1000),
    "seed": choices.Argument(int, False, 0),
    "clip_norm": choices.Argument(float, True, None),
    "record_every": choices.Argument(int, False, 10),
    "evaluate_every": choices.Argument(int, False, 0),
    "start": choices.Argument(str, True, None),
    "schedule_start": choices.Argument(int, False, 0),
}
_DIGESTED = json.JSONEncoder(sort_keys=True)
_START = re.compile(r"(?P<run_id>[0-9a-f]{16})@(?P<step>[1-9][0-9]*)")


def with_value(config: RunConfig, path: str, value: Any) -> RunConfig:
    """A copy with one leaf, or one whole choice, changed.

    Args:
        config: the run.
        path: ``seed``, ``schedule`` or ``schedule.peak``.
        value: a plain value; for a choice a ``Choice`` or a row's name, which keeps the arguments that both share.

    Raises:
        ConfigError: no such path.
    """
    kind, _, argument = path.partition(".")
    if not argument and kind in PLAIN_FIELDS:
        return dataclasses.replace(config, **{kind: value})
    if kind not in KINDS:
        raise one_of("a path", path, (*PLAIN_FIELDS, *KINDS))
    current = default_model(config) if kind == "model" and config.model is None else getattr(config, kind)
    if argument:
        if current is None and kind in choices.IMPLIED:
            current = Choice(choices.IMPLIED[kind])
        if current is None:
            reason = f"task {config.task.name} has no model" if kind == "model" else f"no {kind} is named"
            raise ConfigError(f"{path} must be left out: {reason}")
        known = choices.arguments_of(kind, current.name)
        if argument not in known:
            raise one_of(f"an argument of {kind} {current.name}", argument, known)
        return dataclasses.replace(config, **{kind: current.with_argument(argument, value)})
    if isinstance(value, str):
        value = Choice(value) if current is None else current.renamed(kind, value)
    return dataclasses.replace(config, **{kind: value})


def has_argument(config: RunConfig, path: str) -> bool:
    """Whether the class that the run names for a kind has this argument."""
    kind, _, argument = path.partition(".")
    chosen = default_model(config) if kind == "model" and config.model is None else getattr(config, kind)
    return chosen is not None and argument in choices.arguments_of(kind, chosen.name)


def default_model(config: RunConfig) -> Choice | None:
    """The first model that fits the task; ``None`` for a landscape."""
    names = fitting_models(config.task)
    return Choice(names[0]) if names else None


@dataclasses.dataclass(frozen=True)
class Run:
    """A run with every value filled in.

    Attributes:
        config: what it was resolved from.
        columns: dotted path to plain value of every leaf, the facts of the task's data included.
        schedule: built; as a function of the run's own step, so shifted where it begins later.
        task: built, its model inside.
        optimizer: hyperparameters by name.
        parametrization: what scales the model, and the scaled model; ``None`` where nothing does.
        sharpness: what is measured of it; ``None`` where nothing is.
        early_stop: what stops it; ``None`` where nothing does.
    """

    config: RunConfig
    columns: Mapping[str, Any]
    schedule: Schedule
    task: tasks.Task
    optimizer: Mapping[str, Any]
    parametrization: tuple[Parametrization, Scaled] | None = None
    sharpness: Sharpness | None = None
    early_stop: PredictiveStop | None = None

    @functools.cached_property
    def run_id(self) -> str:
        """Digest of the columns: the same configuration is the same run, whoever asks for it."""
        return hashlib.sha256(_DIGESTED.encode(self.columns).encode()).hexdigest()[:16]

    @functools.cached_property
    def hyperparameters(self) -> Hyperparameters:
        """The numbers of the run's lane."""
        numbers = {k: v for k, v in self.optimizer.items() if _is_traced(v)}
        config = self.config
        return Hyperparameters(self.schedule, self.task, numbers, config.clip_norm, config.seed, config.steps)

    @property
    def static_optimizer(self) -> tuple[tuple[str, Any], ...]:
        """Hyperparameters that are part of the program: whatever is not a real number."""
        return tuple((k, v) for k, v in sorted(self.optimizer.items()) if not _is_traced(v))


def make_transform(run: Run, hparams: Hyperparameters) -> optax.GradientTransformation:
    """The run's transform with the numbers of ``hparams``, which may be traced.

    Its state has the same structure with and without clipping, so that either run may start from the other.
    """
    name, numbers = run.config.optimizer.name, {**hparams.optimizer, **dict(run.static_optimizer)}
    if run.parametrization is None:
        transform = optimizers.TABLE[name].build(hparams.schedule, **numbers)
    else:
        parametrization, scaled = run.parametrization
        transform = parametrization.transform(name, scaled, hparams.schedule, **numbers)
    clip = optax.identity() if hparams.clip_norm is None else clip_by_global_norm(hparams.clip_norm)
    return optax.chain(clip, transform)


def tracker_of(run: Run) -> InitTracker | None:
    """``(params, key) ->`` the tracker of the run's sharpness, where that is measured."""
    return functools.partial(init_tracker, run.sharpness) if run.sharpness else None


def eval_params(run: Run) -> EvalParams:
    """``(opt_state, params) ->`` the parameters at which the run's optimizer is evaluated."""
    row = optimizers.TABLE[run.config.optimizer.name]
    return lambda opt_state, params: row.eval_params(opt_state[-1], params)


def resolve(config: RunConfig, pieces: Pieces | None = None) -> Run:
    """Fills in every value and builds the parts.

    Args:
        config: the run.
        pieces: what runs of the same plan have in common.

    Raises:
        ConfigError: a value is out of range or names nothing; the message has the path, the rule and the value.
    """
    of = (pieces or Pieces()).of
    check_plain(config)
    check_start(config, start_of(config))
    chosen = config.task, config.model, config.parametrization
    (task, scaling), task_columns = of("task", chosen, lambda: _task(config))
    timed = config.schedule, config.steps, config.schedule_start
    schedule, schedule_columns = of("schedule", timed, lambda: _schedule(config))
    optimizer, optimizer_columns = of("optimizer", (config.optimizer,), lambda: _optimizer(config.optimizer))
    check_clip(config)
    columns = {name: getattr(config, name) for name in PLAIN_FIELDS}
    columns |= {**schedule_columns, **task_columns, **optimizer_columns}
    stops = config.early_stop
    early_stop = stops and of("early_stop", (stops,), lambda: choices.build("early_stop", stops))
    measured, every = config.sharpness, config.record_every
    sharpness = measured and of("sharpness", (measured, every), lambda: _sharpness(measured, every))
    run = Run(config, columns, schedule, task, optimizer, scaling, sharpness, early_stop)
    if sharpness is not None:
        named = choices.columns_of("sharpness", sharpness.name, sharpness)
        # Under the plain name stands the number that is measured.
        columns |= {"sharpness.operator": named.pop("sharpness"), **named}
        check_preconditioner(run)
    if scaling is not None:
        of("scaled", (scaling, optimizer, schedule, config.clip_norm), lambda: _check_scaled(run))
    if optimizers.TABLE[config.optimizer.name].choosy:
        of("choosy", (optimizer, task), lambda: _check_tensors(config.optimizer.name, run.static_optimizer, task))
    if early_stop is not None:
        columns |= choices.columns_of("early_stop", early_stop.name, early_stop)
        _check_early_stop(run, of)
    return run


def trunk_of(run: Run, pieces: Pieces | None = None) -> tuple[RunConfig, int] | None:
    """The run that this one branches from and the step at which it does; ``None`` if it starts at its own beginning."""
    if run.config.start:
        return None
    trunk = (pieces or Pieces()).of("trunk", (run.schedule,), lambda: _trunk(run.schedule))
    if trunk is None or trunk[1] < 1 or trunk[1] >= run.config.steps:
        return None
    chosen, step = trunk
    return dataclasses.replace(run.config, schedule=chosen, steps=step), step


def _trunk(branching: Schedule) -> tuple[Choice, int] | None:
    trunk = branching.trunk()
    if trunk is None:
        return None
    schedule, step = trunk
    name = type(schedule).__name__
    return Choice(name, {a: getattr(schedule, a) for a in choices.arguments_of("schedule", name)}), step


def start_of(config: RunConfig) -> tuple[str, int] | None:
    """The run that this one goes on from, and after how many updates; ``None`` if it starts at initialisation."""
    match = _START.fullmatch(config.start) if config.start else None
    return (match["run_id"], int(match["step"])) if match else None


def schedule_of(columns: Mapping[str, Any]) -> Schedule:
    """The schedule that a record's columns describe."""
    prefix = "schedule."
    fields = {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}
    schedule = from_dict({"name": columns["schedule"], **fields})
    begin = int(columns.get("schedule_start", 0))
    return Shifted(schedule, begin) if begin else schedule


def _is_traced(value: Any) -> bool:
    return isinstance(value, float)


def _task(config: RunConfig) -> tuple[Built, dict[str, Any]]:
    """The task with its model and what scales it, and the columns of all three, the facts of its data included."""
    model = default_model(config) if config.model is None else config.model
    task, scaling = built = build(config.task, model, config.parametrization)
    columns = choices.columns_of("task", config.task.name, task)
    columns |= {f"task.{k}": v for k, v in task.facts().items()}
    if model is not None:
        columns |= choices.columns_of("model", model.name, scaling[1].model.module if scaling else task.model)
    if scaling is not None:
        columns |= choices.columns_of("parametrization", scaling[0].name, scaling[0])
    return built, columns


def _optimizer(chosen: Choice) -> tuple[dict[str, Any], dict[str, Any]]:
    """The hyperparameters, and their columns."""
    known = choices.arguments_of("optimizer", chosen.name)
    unknown = set(chosen.arguments) - set(known)
    if unknown:
        raise one_of(f"an argument of optimizer {chosen.name}", min(unknown), known)
    optimizer = {**{k: a.default for k, a in known.items()}, **chosen.arguments}
    check_optimizer(chosen.name, optimizer)
    return optimizer, {"optimizer": chosen.name, **{f"optimizer.{k}": v for k, v in optimizer.items()}}


def _check_scaled(run: Run) -> None:
    """Some optimizers have no direction that could be scaled tensor by tensor.

    Raises:
        ConfigError: this is one.
    """
    try:
        make_transform(run, run.hyperparameters)
    except NotScaledError as error:
        raise ConfigError(f"parametrization must be none for {error.optimizer}: {error.reason}") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error


@functools.lru_cache(maxsize=4096)
def _check_tensors(name: str, static: tuple[tuple[str, Any], ...], task: tasks.Task) -> None:
    """Whether a choosy optimizer takes the model's tensors, which does not depend on its numbers.

    Raises:
        ConfigError: it does not.
    """
    row = optimizers.TABLE[name]
    transform = row.build(1.0, **{**row.defaults, **dict(static)})
    try:
        jax.eval_shape(lambda: transform.init(task.init(jax.random.key(0))))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_early_stop(run: Run, of: Callable[..., Any]) -> None:
    """Whether a run can be stopped early, which its seed does not change.

    Raises:
        ConfigError: it cannot.
    """
    config = run.config
    parts = run.task, run.optimizer, run.parametrization, config.clip_norm

    def opt_state() -> Any:
        transform = make_transform(run, run.hyperparameters)
        return jax.eval_shape(lambda: transform.init(run.task.init(jax.random.key(0))))

    timed = run.schedule, config.steps, config.evaluate_every
    of("stoppable", (*parts, *timed), lambda: check_stoppable(run, of("opt_state", parts, opt_state)))


def _sharpness(chosen: Choice, record_every: int) -> Sharpness | None:
    """What is measured; nothing where it would be never.

    Raises:
        ConfigError: a measurement would fall between records.
    """
    found: Sharpness = choices.build("sharpness", chosen)
    if found.every % record_every:
        rule = f"0 or a multiple of record_every ({record_every})"
        raise ConfigError(f"sharpness.every must be {rule}, got {found.every!r}")
    return found if found.every else None


def _schedule(config: RunConfig) -> tuple[Schedule, dict[str, Any]]:
    """The schedule and its columns; what it needs and the user did not say follows from the run's length."""
    chosen = config.schedule
    known = choices.arguments_of("schedule", chosen.name)
    given = dict(chosen.arguments)
    length = config.steps - config.schedule_start
    if "total_steps" in known and "total_steps" not in given:
        given["total_steps"] = length
    if "ends" in known and "ends" not in given:
        given["ends"] = tuple(end for end in (length // 4, length // 2, length) if end)
    if chosen.name == "WSD" and not {"decay_steps", "decay_fraction"} & set(given):
        given["decay_fraction"] = 0.1
    built: Schedule = choices.build("schedule", Choice(chosen.name, given))
    columns = choices.columns_of("schedule", chosen.name, built)
    return Shifted(built, config.schedule_start) if config.schedule_start else built, columns
