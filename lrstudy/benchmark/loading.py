"""Submissions by name: a row of the optimizers' table, or what a user wrote."""

import dataclasses
import hashlib
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrstudy.benchmark.rows import row
from lrstudy.benchmark.space import Point, Space
from lrstudy.benchmark.submission import Submission
from lrstudy.optimizers import TABLE
from lrstudy.schedules.checks import one_of


def submission(
    name: str,
    *,
    space: Space | None = None,
    points: Sequence[Point] | None = None,
    gradients_per_step: float | None = None,
) -> Submission:
    """The submission of a name.

    Args:
        name: a row of ``optimizers.TABLE``, or ``module:name`` of a ``Submission`` or of a function
            ``(hyperparameters, step_hint) -> optax transform`` in a module that can be imported.
        space: ranges that take the place of its own.
        points: points that do so; a function has neither of its own, and is then one trial a study.
        gradients_per_step: gradients of one update; ``None``: its own, or 1.

    Raises:
        ValueError: there is no such row, module or name, or the hyperparameters are not the row's.
    """
    if ":" in name:
        found = _user(name)
        if space is not None or points is not None:
            found = dataclasses.replace(found, space=space, points=points)
    elif name in TABLE:
        found = row(name, space=space, points=points)
    else:
        raise ValueError(f"submission must be {one_of(sorted(TABLE), name)} or module:function, got {name!r}")
    return found if gradients_per_step is None else dataclasses.replace(found, gradients_per_step=gradients_per_step)


def _user(name: str) -> Submission:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"submission must be in a module that can be imported, got {name!r}: {error}") from error
    known = {own: value for own, value in vars(module).items() if callable(value) or isinstance(value, Submission)}
    if attribute not in known:
        rule = f"a function or a Submission of {module_name}, {one_of(sorted(known), attribute)}"
        raise ValueError(f"submission must be {rule}, got {name!r}")
    found = known[attribute]
    origin = {"module": name, "sha256": _digest(module)}
    if isinstance(found, Submission):
        return dataclasses.replace(found, origin={**found.origin, **origin})
    return Submission(name, found, origin=origin)


def _digest(module: Any) -> str | None:
    """Of the module's file; what it imports is not looked at."""
    path = inspect.getsourcefile(module)
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
