"""What the values of a run must be, beside what its classes say themselves."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrstudy import optimizers
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.training.sharpness import PreconditionedSharpness

if TYPE_CHECKING:
    from lrstudy.study.config import Run, RunConfig

LOWEST = {"steps": 1, "seed": 0, "record_every": 1, "evaluate_every": 0, "schedule_start": 0}


def check_plain(config: "RunConfig") -> None:
    """The fields that are plain values, less ``start``.

    Raises:
        ConfigError: one is out of range.
    """
    for name, lowest in LOWEST.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value < 2**31:
            raise ConfigError(f"{name} must be an int of at least {lowest}, got {value!r}")
    if config.evaluate_every % config.record_every:
        rule = f"0 or a multiple of record_every ({config.record_every})"
        raise ConfigError(f"evaluate_every must be {rule}, got {config.evaluate_every!r}")
    if config.clip_norm is not None and not config.clip_norm > 0:
        raise ConfigError(f"clip_norm must be a positive number or none, got {config.clip_norm!r}")


def check_start(config: "RunConfig", start: tuple[str, int] | None) -> None:
    """Where a run starts, and its schedule does.

    Args:
        config: the run.
        start: what its ``start`` says; ``None`` if it says nothing that could be read.

    Raises:
        ConfigError: it cannot start there.
    """
    if config.start is not None and start is None:
        raise ConfigError(f"start must be <run id>@<step> with a step of at least 1, got {config.start!r}")
    if start and start[1] >= config.steps:
        raise ConfigError(f"start must lie before steps ({config.steps}), got {config.start!r}")
    if config.schedule_start >= config.steps:
        raise ConfigError(f"schedule_start must be in [0, steps), got {config.schedule_start!r}")


def check_clip(config: "RunConfig") -> None:
    """Some optimizers step along a gradient of their own.

    Raises:
        ConfigError: the run's does, and the norm of the loss's gradient is clipped.
    """
    if config.clip_norm is not None and "grad_fn" in optimizers.TABLE[config.optimizer.name].extra_args:
        name = config.optimizer.name
        rule = f"none (--config.clip_norm=none) for {name}, which steps along a gradient of its own that is not clipped"
        raise ConfigError(f"clip_norm must be {rule}, got {config.clip_norm!r}")


def check_optimizer(name: str, given: Mapping[str, Any]) -> None:
    """Hyperparameters by name.

    Raises:
        ConfigError: one is none of its choices, or out of its bounds.
    """
    row = optimizers.TABLE[name]
    for argument, value in given.items():
        if argument in row.choices and value not in row.choices[argument]:
            raise one_of(f"optimizer.{argument}", value, row.choices[argument])
        low, high = row.bounds.get(argument, (-math.inf, math.inf))
        if type(value) in (int, float) and not (math.isfinite(value) and low <= value < high):
            rule = "a finite number" if math.inf == -low == high else f"a finite number in [{low:g}, {high:g})"
            raise ConfigError(f"optimizer.{argument} must be {rule}, got {value!r}")


def check_preconditioner(run: "Run") -> None:
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
