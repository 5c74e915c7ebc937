"""Tasks as they are trained: with their model inside, and scaled by a parametrization."""

import dataclasses
import functools
import json
from typing import Any, NamedTuple

import jax

from lrstudy import tasks
from lrstudy.parametrization import Parametrization, Scaled
from lrstudy.study import choices
from lrstudy.study.choices import Choice
from lrstudy.study.errors import ConfigError, one_of


class Built(NamedTuple):
    """A task with its model inside, and what scales that."""

    task: tasks.Task
    parametrization: tuple[Parametrization, Scaled] | None = None


def fitting_models(task: Choice) -> tuple[str, ...]:
    """Names of the models that fit a task, the default first."""
    choices.arguments_of("task", task.name)
    of_all = tasks.TABLE[task.name].model_names
    # Those of a data set depend on what it holds.
    return _models_of(task.name, _text(task)) if task.arguments and of_all else of_all


@functools.lru_cache(maxsize=4096)
def _models_of(name: str, arguments: str) -> tuple[str, ...]:
    try:
        return choices.build("task", _read(name, arguments)).model_names
    except ConfigError:
        # What is wrong with the task is said when it is built; a command line may be read in part yet.
        return tasks.TABLE[name].model_names


def _text(choice: Choice) -> str:
    """Its arguments as JSON."""
    return json.dumps(dict(choice.arguments), sort_keys=True)


def _read(name: str, arguments: str) -> Choice:
    return Choice(name, {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(arguments).items()})


@functools.lru_cache(maxsize=4096)
def _build(name: str, arguments: str, model: str, model_arguments: str, scaling: str) -> Built:
    """The task of these choices (as JSON); the same object every time, so that lanes share one structure."""
    task = choices.build("task", _read(name, arguments))
    scaled_by = choices.build("parametrization", Choice(*json.loads(scaling))) if scaling else None
    if not model:
        if scaled_by is not None:
            raise ConfigError(f"parametrization must be left out: task {name} has no model")
        return Built(task)
    if model not in task.model_names:
        raise one_of(f"the model of task {name}", model, task.model_names)
    module = choices.build("model", Choice(model, json.loads(model_arguments)), **task.model_arguments())
    if scaled_by is None:
        return Built(dataclasses.replace(task, model=module))

    def shapes(module: Any) -> Any:
        return jax.eval_shape(lambda: dataclasses.replace(task, model=module).init(jax.random.key(0)))

    try:
        scaled = scaled_by.scale(module, shapes)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Built(dataclasses.replace(task, model=scaled.model), (scaled_by, scaled))


def build(task: Choice, model: Choice | None, parametrization: Choice | None) -> Built:
    """The task of these choices; the same object every time, so that lanes share one structure.

    Raises:
        ConfigError: a choice is wrong, or does not go with the others.
    """
    name, given = (model.name, dict(model.arguments)) if model else ("", {})
    scaling = ""
    if parametrization is not None:
        scaling = json.dumps([parametrization.name, dict(parametrization.arguments)], sort_keys=True)
    built = _build(task.name, _text(task), name, json.dumps(given, sort_keys=True), scaling)
    try:
        built.task.facts()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return built
