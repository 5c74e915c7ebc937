"""What a command line with a launcher does: hands the study out, does a task of one, or prints a manifest."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from lrstudy.study.command import Command
from lrstudy.study.derived import plan_ready
from lrstudy.study.exit_codes import OK
from lrstudy.study.experiment import Experiment
from lrstudy.study.header import header_of, nested
from lrstudy.study.launching.flags import command_of
from lrstudy.study.launching.kubernetes import manifest
from lrstudy.study.launching.launch import Launched, hand_out, make_launcher
from lrstudy.study.launching.task import run_task
from lrstudy.study.plan import families_of
from lrstudy.study.run import Launch, say
from lrstudy.study.trainer import Settings
from lrstudy.study.workdir import Workdir, write_json


def print_manifest(experiment: Experiment, command: Command, workdir: Workdir, values: flags.FlagValues) -> int:
    """Prints the Job of Kubernetes that trains the study, a share for every family of groups; returns the exit code."""
    own: Any = values
    plan, waiting = plan_ready(command.parts, workdir, own.on_schedule_change)
    for name in waiting:
        say(f"part {name} follows from what is found: delete the Job when it is complete, and apply it again")
    job = manifest(
        experiment.name,
        command_of("python", ["--launcher=none"]),
        workdir=own.workdir,
        image=own.image,
        claim=own.volume_claim,
        shares=len(families_of(plan)),
        jobs=own.jobs,
        limits=own.launcher_args,
    )
    print(json.dumps(job, indent=1))
    return OK


def do_task(
    experiment: Experiment, command: Command, workdir: Workdir, values: flags.FlagValues, settings: Settings
) -> int:
    """Does the task that the command line names; returns the exit code."""
    own: Any = values

    def planned(parts: Sequence[str]) -> Launch:
        known = {name: part for name, part in command.parts.items() if name in parts}
        plan, _ = plan_ready(known, workdir, own.on_schedule_change)
        return Launch(experiment, plan, (), workdir, settings)

    return run_task(own.launch_task, workdir, planned)


def launch(
    experiment: Experiment,
    command: Command,
    workdir: Workdir,
    values: flags.FlagValues,
    settings: Settings,
) -> Launched:
    """Has others train what is missing.

    Args:
        experiment: that is studied.
        command: what is asked for.
        workdir: of the study.
        values: the flags.
        settings: of the launch that concludes.
    """
    own: Any = values
    launcher = make_launcher(own.launcher, workdir, command_of(sys.executable, []), own.jobs, own.launcher_args)

    def planned(failures: dict[str, str]) -> Launch:
        plan, _ = plan_ready(command.parts, workdir, own.on_schedule_change)
        found = Launch(experiment, plan, plan.groups, workdir, settings, failures=failures)
        missing = found.missing()
        if any(run.early_stop for group in missing for run in group.runs):
            settings.predictor()  # says how to make it where it is not there, before anything is trained
        if missing:
            write_json(workdir.config, header_of(experiment, command, nested(plan), trained_on=()))
        return found

    return hand_out(planned, launcher, workdir)
