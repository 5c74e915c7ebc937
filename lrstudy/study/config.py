"""The configuration of one run, and what it resolves to."""

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
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
from lrstudy.study.built import build
from lrstudy.study.choices import KINDS, Choice
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.study.stoppable import check_stoppable
from lrstudy.training.program import EvalParams, Hyperparameters, InitTracker
from lrstudy.training.sharpness import PreconditionedSharpness, Sharpness, init_tracker


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
_LOWEST = {"steps": 1, "seed": 0, "record_every": 1, "evaluate_every": 0, "schedule_start": 0}
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
    choices.arguments_of("task", config.task.name)
    names = tasks.TABLE[config.task.name].model_names
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
        text = json.dumps(self.columns, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

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


def resolve(config: RunConfig) -> Run:
    """Fills in every value and builds the parts.

    Raises:
        ConfigError: a value is out of range or names nothing; the message has the path, the rule and the value.
    """
    _check_plain(config)
    model = default_model(config) if config.model is None else config.model
    task, scaling = build(config.task, model, config.parametrization)
    schedule = _schedule(config)
    known = choices.arguments_of("optimizer", config.optimizer.name)
    unknown = set(config.optimizer.arguments) - set(known)
    if unknown:
        raise one_of(f"an argument of optimizer {config.optimizer.name}", min(unknown), known)
    optimizer = {**{k: a.default for k, a in known.items()}, **config.optimizer.arguments}
    _check_optimizer(config.optimizer.name, optimizer)
    _check_clip(config)
    columns = {name: getattr(config, name) for name in PLAIN_FIELDS}
    columns |= choices.columns_of("schedule", config.schedule.name, schedule)
    if config.schedule_start:
        schedule = Shifted(schedule, config.schedule_start)
    columns |= choices.columns_of("task", config.task.name, task)
    columns |= {f"task.{k}": v for k, v in task.facts().items()}
    if model is not None:
        columns |= choices.columns_of("model", model.name, scaling[1].model.module if scaling else task.model)
    if scaling is not None:
        columns |= choices.columns_of("parametrization", scaling[0].name, scaling[0])
    columns |= {"optimizer": config.optimizer.name, **{f"optimizer.{k}": v for k, v in optimizer.items()}}
    early_stop = config.early_stop and choices.build("early_stop", config.early_stop)
    run = Run(config, columns, schedule, task, optimizer, scaling, _sharpness(config), early_stop)
    if run.sharpness is not None:
        measured = choices.columns_of("sharpness", run.sharpness.name, run.sharpness)
        # Under the plain name stands the number that is measured.
        columns |= {"sharpness.operator": measured.pop("sharpness"), **measured}
        _check_preconditioner(run)
    if scaling is not None:
        _check_scaled(run)
    if optimizers.TABLE[config.optimizer.name].choosy:
        _check_tensors(config.optimizer.name, run.static_optimizer, task)
    if run.early_stop is not None:
        columns |= choices.columns_of("early_stop", run.early_stop.name, run.early_stop)
        transform = make_transform(run, run.hyperparameters)
        check_stoppable(run, jax.eval_shape(lambda: transform.init(task.init(jax.random.key(0)))))
    return run


def trunk_of(run: Run) -> tuple[RunConfig, int] | None:
    """The run that this one branches from and the step at which it does; ``None`` if it starts at its own beginning."""
    trunk = None if run.config.start else run.schedule.trunk()
    if trunk is None or trunk[1] < 1 or trunk[1] >= run.config.steps:
        return None
    schedule, step = trunk
    known = choices.arguments_of("schedule", type(schedule).__name__)
    arguments = {name: getattr(schedule, name) for name in known}
    chosen = Choice(type(schedule).__name__, arguments)
    return dataclasses.replace(run.config, schedule=chosen, steps=step), step


def start_of(config: RunConfig) -> tuple[str, int] | None:
    """The run that this one goes on from, and after how many updates; ``None`` if it starts at initialisation."""
    match = _START.fullmatch(config.start or "")
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


def _check_optimizer(name: str, given: Mapping[str, Any]) -> None:
    row = optimizers.TABLE[name]
    for argument, value in given.items():
        if argument in row.choices and value not in row.choices[argument]:
            raise one_of(f"optimizer.{argument}", value, row.choices[argument])
        low, high = row.bounds.get(argument, (-math.inf, math.inf))
        if type(value) in (int, float) and not (math.isfinite(value) and low <= value < high):
            rule = "a finite number" if math.inf == -low == high else f"a finite number in [{low:g}, {high:g})"
            raise ConfigError(f"optimizer.{argument} must be {rule}, got {value!r}")


def _check_clip(config: RunConfig) -> None:
    if config.clip_norm is not None and "grad_fn" in optimizers.TABLE[config.optimizer.name].extra_args:
        name = config.optimizer.name
        rule = f"none (--config.clip_norm=none) for {name}, which steps along a gradient of its own that is not clipped"
        raise ConfigError(f"clip_norm must be {rule}, got {config.clip_norm!r}")


def _check_plain(config: RunConfig) -> None:
    for name, lowest in _LOWEST.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value < 2**31:
            raise ConfigError(f"{name} must be an int of at least {lowest}, got {value!r}")
    if config.evaluate_every % config.record_every:
        rule = f"0 or a multiple of record_every ({config.record_every})"
        raise ConfigError(f"evaluate_every must be {rule}, got {config.evaluate_every!r}")
    _check_start(config)
    if config.clip_norm is not None and not config.clip_norm > 0:
        raise ConfigError(f"clip_norm must be a positive number or none, got {config.clip_norm!r}")


def _check_start(config: RunConfig) -> None:
    start = start_of(config)
    if config.start is not None and start is None:
        raise ConfigError(f"start must be <run id>@<step> with a step of at least 1, got {config.start!r}")
    if start and start[1] >= config.steps:
        raise ConfigError(f"start must lie before steps ({config.steps}), got {config.start!r}")
    if config.schedule_start >= config.steps:
        raise ConfigError(f"schedule_start must be in [0, steps), got {config.schedule_start!r}")


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


def _sharpness(config: RunConfig) -> Sharpness | None:
    """What is measured; nothing where it would be never.

    Raises:
        ConfigError: a measurement would fall between records.
    """
    if config.sharpness is None:
        return None
    found: Sharpness = choices.build("sharpness", config.sharpness)
    if found.every % config.record_every:
        rule = f"0 or a multiple of record_every ({config.record_every})"
        raise ConfigError(f"sharpness.every must be {rule}, got {found.every!r}")
    return found if found.every else None


def _check_preconditioner(run: Run) -> None:
    """What the optimizer divides by is known of Adam, where all tensors have its rate.

    Raises:
        ConfigError: of this run it is not.
    """
    if not isinstance(run.sharpness, PreconditionedSharpness):
        return
    if run.parametrization is not None:
        raise ConfigError("sharpness must be hessian under a parametrization, whose rates differ between tensors")

    name, known = run.config.optimizer.name, run.sharpness.optimizers
    if name not in known:
        raise ConfigError(f"sharpness must be hessian for optimizer {name}: preconditioned is of {' and '.join(known)}")


def _schedule(config: RunConfig) -> Schedule:
    """The schedule; what a schedule needs and the user did not say follows from the run's length."""
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
    return choices.build("schedule", Choice(chosen.name, given))
