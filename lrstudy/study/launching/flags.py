"""The flags by which a study is handed to other processes."""

import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from lrstudy.study.errors import ConfigError

NONE, KUBERNETES = "none", "kubernetes"


def define_launch_flags(values: flags.FlagValues) -> None:
    """Defines them."""
    module = {"flag_values": values, "module_name": sys.argv[0]}
    launchers = [NONE, "local", "slurm", KUBERNETES]
    text = "who trains: this process, processes beside it, array jobs, or pods, whose manifest is printed"
    flags.DEFINE_enum("launcher", NONE, launchers, text, **module)
    flags.DEFINE_integer(
        "jobs",
        None,
        "local: tasks at a time; slurm: tasks at most; kubernetes: pods at a time",
        lower_bound=1,
        **module,
    )
    flags.DEFINE_string("launcher_args", "", "further arguments of sbatch; limits of a pod, cpu=4", **module)
    flags.DEFINE_string("image", None, "the container image, for kubernetes", **module)
    flags.DEFINE_string("volume_claim", None, "the claim of the volume with the workdir, for kubernetes", **module)
    flags.DEFINE_string("launch_task", None, "set by a launcher: the task that this process does", **module)


def check_launch_flags(values: flags.FlagValues) -> None:
    """Refuses what makes no sense together.

    Raises:
        ConfigError: naming the flag.
    """
    own: Any = values
    if own.launcher == NONE or own.launch_task:
        return
    others = {"dry_run": own.dry_run, "report_only": own.report_only, "shard": own.shard != values["shard"].default}
    for name in (name for name, given in others.items() if given):
        raise ConfigError(f"launcher must be none with --{name}, got {own.launcher!r}")
    needed = ("workdir", "image", "volume_claim") if own.launcher == KUBERNETES else ("workdir",)
    for name in (name for name in needed if not values[name].value):
        raise ConfigError(f"{name} must be given with --launcher={own.launcher}")


def command_of(python: str, arguments: Sequence[str]) -> list[str]:
    """The command that this process is, by an interpreter and with further arguments; of a flag the last one holds."""
    spec = sys.modules["__main__"].__spec__
    program = ["-m", spec.name] if spec else [sys.argv[0]]
    return [python, *program, *sys.argv[1:], *arguments]
