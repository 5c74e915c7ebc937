"""A study as a function call, for notebooks and scripts: it goes the way of the command line, flag by flag."""

import contextlib
import dataclasses
import io
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from lrstudy.study.command import parse, read_command
from lrstudy.study.errors import StudyError
from lrstudy.study.experiment import Experiment
from lrstudy.study.main import check_apart, check_experiment, check_parts, check_ready
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Study:
    """A finished study.

    Attributes:
        records: what claims and figures are made of.
        claims: entries of ``claims.json``.
        workdir: its folder, where the report is.
    """

    records: Records
    claims: Sequence[dict[str, Any]]
    workdir: Path

    def claims_table(self) -> "pd.DataFrame":
        """One row a claim: what was measured, against which threshold, with which interval over n samples."""
        import pandas as pd

        from lrstudy.study.claims import interval_text, verdict

        rows = [
            {
                "holds": verdict(entry),
                "measured": entry["measured"],
                "threshold": f"{entry['comparison']} {entry['threshold']:.4g}",
                "95% interval": interval_text(entry),
                "n": entry["n"],
                "statement": entry["statement"],
            }
            for entry in self.claims
        ]
        return pd.DataFrame(rows, index=pd.Index([entry["id"] for entry in self.claims], name="claim"))


def run_study(experiment: Experiment, *arguments: str, workdir: str | Path, quiet: bool = False) -> Study:
    """Trains what is missing of a study and concludes, as ``python -m experiments.<name>`` does with these flags.

    Like the command it goes on from where an earlier call, or the command, has stopped, and trains nothing twice. An
    interrupt saves first.

    Args:
        experiment: what is studied.
        *arguments: ``--preset=smoke``, ``--config.<path>=value``, ``--sweep.<path>=values`` and ``--executor=map``, as
            on the command line.
        workdir: the study's folder.
        quiet: say nothing of the progress.

    Raises:
        ConfigError: a flag or the folder is not what it must be.
        StudyError: a run failed, or the folder is damaged.
        KeyboardInterrupt: it was asked to stop, and has saved.
    """
    values = flags.FlagValues()
    module = {"flag_values": values, "module_name": experiment.name}
    flags.DEFINE_string("preset", "cpu", "smoke (seconds), cpu (minutes), gpu or paper", **module)
    flags.DEFINE_enum("executor", "auto", ["auto", "vmap", "map", "devices"], "how lanes are trained", **module)
    parse(experiment, [experiment.name, *arguments], values)
    command = read_command(experiment, values)
    line = ["python", "-m", f"experiments.{experiment.name}", *arguments, f"--workdir={workdir}"]
    with _quiet() if quiet else contextlib.nullcontext():
        return _studied(experiment, command, Path(workdir), values.executor, shlex.join(line))


def _studied(experiment: Experiment, command: Any, root: Path, executor: Any, line: str) -> Study:
    from lrstudy.study.derived import plan_ready
    from lrstudy.study.header import header_of, nested
    from lrstudy.study.machine import use_compilation_cache
    from lrstudy.study.records import load
    from lrstudy.study.run import Launch, conclude, say
    from lrstudy.study.signals import StopRequest
    from lrstudy.study.stages import train_stages
    from lrstudy.study.starting import use_host_devices
    from lrstudy.study.trainer import PreemptedError, Settings
    from lrstudy.study.workdir import Workdir, write_json

    use_host_devices()
    use_compilation_cache()
    workdir = Workdir(root)
    workdir.check()
    check_experiment(experiment, workdir)
    with workdir.locked():
        plan, _ = plan_ready(command.parts, workdir)
        check_apart(plan, workdir)
        check_ready(plan)
        check_parts(plan, executor, data_devices=1, zero_stage=0, accumulate=1)
        header = {**header_of(experiment, command, nested(plan)), "command": line}
        write_json(workdir.config, header)
        launch = Launch(experiment, plan, plan.groups, workdir, Settings(executor=executor, warn=say))
        with StopRequest() as stop:
            try:
                launch = train_stages(launch, command.parts, stop)
            except PreemptedError as error:
                raise KeyboardInterrupt(f"stopped after saving; the same call goes on from there ({root})") from error
        if launch.failures:
            raise StudyError(f"{len(launch.failures)} runs failed: {next(iter(launch.failures.values()))}")
        header = {**header_of(experiment, command, nested(launch.plan)), "command": line}
        with workdir.concluding():
            write_json(workdir.config, header)
            entries = conclude(experiment, workdir, header)
            write_json(workdir.plan, {**launch.plan.to_json(), "concluded": True})
        return Study(load(workdir), entries, root)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what is printed to itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
