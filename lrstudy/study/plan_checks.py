"""What a plan must be to be trained here: beside its folder, with its data, on these devices."""

from pathlib import Path
from typing import Any

from lrstudy.study.errors import ConfigError


def check_apart(plan: Any, workdir: Any) -> None:
    """Refuses a folder inside the text that is trained on: the study's own files would become text.

    Raises:
        ConfigError: it is one.
    """
    root = workdir.root.absolute().resolve()
    for path in {run.columns.get("task.path") for run in plan.runs().values()} - {None}:
        text = Path(path).expanduser().resolve()
        inside = text.is_dir() and root.is_relative_to(text)
        if inside and not any(part.startswith(".") for part in root.relative_to(text).parts):
            raise ConfigError(f"workdir must lie outside task.path, got '{workdir.root}' inside '{path}'")


def check_parts(plan: Any, executor: Any, **shared: int) -> None:
    """Refuses devices that there are not, and tasks whose batches cannot be computed in so many parts.

    Args:
        plan: of the study.
        executor: see ``layout.layouts_of``.
        shared: see ``layout.layouts_of``.

    Raises:
        ConfigError: one is.
    """
    from lrstudy.training.layout import layout_of
    from lrstudy.training.parts import check_task

    try:
        layout_of(executor, 1, **shared)
        for group in plan.groups:
            check_task(group.runs[0].task, shared["data_devices"], shared["accumulate"])
    except ValueError as error:
        raise ConfigError(str(error)) from error


def check_ready(plan: Any) -> None:
    """Refuses data that are not there.

    Raises:
        ConfigError: some are not.
    """
    for line in unready(plan):
        raise ConfigError(line)


def unready(plan: Any) -> list[str]:
    """What the data lack that the plan's runs need, a line each; empty: nothing."""
    lines: dict[str, None] = {}
    for group in plan.groups:
        try:
            group.runs[0].task.check_ready()
        except ValueError as error:
            lines[str(error)] = None
    return list(lines)
