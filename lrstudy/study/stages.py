"""A study from its first part to its last: what follows from records is planned and trained as they come in."""

import dataclasses

from lrstudy.study.derived import Parts, plan_ready
from lrstudy.study.plan import shard_of
from lrstudy.study.resume import Policy
from lrstudy.study.run import Launch, say
from lrstudy.study.signals import StopRequest
from lrstudy.study.workdir import write_json
from lrstudy.training.processes import together


def train_stages(
    launch: Launch, parts: Parts, stop: StopRequest, *, policy: Policy | None = None, shard: tuple[int, int] = (1, 1)
) -> Launch:
    """Trains what is planned, then what follows from its records, until nothing further follows.

    Args:
        launch: of what can be planned now.
        parts: all that is asked for.
        stop: asked between two calls of a program.
        policy: see ``plan_ready``.
        shard: which of how many shares is trained, from 1.

    Returns:
        The last launch, whose plan holds all that could be planned.

    Raises:
        PreemptedError: a stop was requested; everything is saved.
    """
    while True:
        write_json(launch.workdir.plan, {**launch.plan.to_json(), "concluded": False})
        launch.run(stop)
        together("a stage is recorded")
        plan, waiting = plan_ready(parts, launch.workdir, policy)
        together("the next is planned")
        if plan.parts.keys() == launch.plan.parts.keys():
            for name, reason in waiting.items():
                say(f"part {name} is not planned: {reason}")
            return launch
        launch = dataclasses.replace(launch, plan=plan, share=shard_of(plan, *shard).groups)
