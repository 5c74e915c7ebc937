"""One task of a launcher: trains the groups that were handed to it, and leaves word of how it ended."""

import dataclasses
from collections.abc import Callable

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED, STOPPED
from lrstudy.study.launching import handout, slurm
from lrstudy.study.machine import devices
from lrstudy.study.run import Launch, say
from lrstudy.study.signals import StopRequest
from lrstudy.study.trainer import PreemptedError
from lrstudy.study.workdir import Workdir
from lrstudy.training import checkpoint


def run_task(name: str, workdir: Workdir, planned: Callable[[tuple[str, ...]], Launch]) -> int:
    """Does a task and returns the exit code.

    Args:
        name: of the task.
        workdir: of the study.
        planned: names of parts to the launch that trains them.

    Raises:
        StudyError: there is no such task, or its groups are in another process's hands.
    """
    own, ids = handout.task(workdir, name)
    before = _newest(workdir, ids)
    with StopRequest(time_limit=own.launcher == slurm.Slurm.name) as stop:
        word = handout.Ended(devices=tuple(devices()))
        word.write(workdir, name)
        code = RUN_FAILED
        try:
            with workdir.joined([f"group-{group_id}" for group_id in ids] or ["probes"]):
                launch = _share(planned(own.parts), ids)
                launch.run(stop)
            code = RUN_FAILED if launch.failures else OK
            word = dataclasses.replace(word, failures=launch.failures)
        except PreemptedError:
            code = STOPPED
        except ConfigError:
            code = BAD_COMMAND
            raise
        finally:
            dataclasses.replace(word, code=code).write(workdir, name)
    if code == STOPPED:
        say("stopped after saving")
    if code == STOPPED and stop.time_is_up:
        # After any other signal SLURM itself requeues the job, or its user has cancelled it.
        if ids and _newest(workdir, ids) == before:
            # The launching command counts such tries; in the queue it would go round for ever.
            say("the time limit is near, and nothing was trained since the start: not requeued")
        else:
            _requeue()
    return code


def _newest(workdir: Workdir, ids: tuple[str, ...]) -> list[list[int]]:
    """The newest checkpoint of every group, if there is one."""
    return [checkpoint.steps(workdir.checkpoints / group_id)[-1:] for group_id in ids]


def _requeue() -> None:
    say("the time limit is near: back into the queue")
    try:
        slurm.requeue()
    except handout.Unreachable as error:
        say(f"not requeued, the launching command will do it: {error}")


def _share(launch: Launch, ids: tuple[str, ...]) -> Launch:
    """The part of a launch that a task does.

    Tasks end at any time, so none of them sees the records of all: claims are left to the launching command, and what
    is measured on finished groups to a task of its own.

    Raises:
        StudyError: a group is not planned any more.
    """
    groups = {group.group_id: group for group in launch.plan.groups}
    gone = [group_id for group_id in ids if group_id not in groups]
    if gone:
        raise StudyError(f"group {gone[0]} is not planned any more: run the launching command again")
    probes = () if ids else launch.experiment.probes
    experiment = dataclasses.replace(launch.experiment, claims=(), probes=probes)
    return dataclasses.replace(launch, experiment=experiment, share=[groups[group_id] for group_id in ids])
