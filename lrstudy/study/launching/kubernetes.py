"""A study as an indexed Job of Kubernetes: a manifest to print, in JSON, which ``kubectl apply -f -`` reads."""

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lrstudy.study.errors import ConfigError
from lrstudy.study.exit_codes import BAD_COMMAND, STOPPED

SECONDS_TO_SAVE = 60
"""Between the request to stop and the end of a pod."""

TRIES = 3
"""Failures of one share before it is given up; stops are none."""

_CONTAINER, _VOLUME = "train", "runs"


def manifest(
    name: str,
    command: Sequence[str],
    *,
    workdir: str,
    image: str,
    claim: str,
    shares: int,
    jobs: int | None = None,
    limits: str = "",
) -> dict[str, Any]:
    """The Job that trains a study, one index a share.

    Args:
        name: of the experiment.
        command: ``python -m ...`` with the user's flags, without the share.
        workdir: of the study inside a pod: a folder of the volume.
        image: of the container.
        claim: of a volume that many pods can write to; it is mounted at the folder that holds ``workdir``.
        shares: the study's families of groups.
        jobs: shares at a time; ``None``: all.
        limits: resources of a pod, ``cpu=4 nvidia.com/gpu=1``.

    Raises:
        ConfigError: the folder or the limits make no sense.
    """
    mount = PurePosixPath(workdir).parent
    if not mount.is_absolute() or str(mount) == "/":
        raise ConfigError(f"workdir must be a folder of the volume, such as /runs/mine, got '{workdir}'")
    # Kubernetes reads $$ as $, and $(NAME) as a variable of the container, before the shell reads anything.
    line = f"exec {shlex.join(command).replace('$', '$$')} --shard=$((JOB_COMPLETION_INDEX+1))/{shares}"
    container = {
        "name": _CONTAINER,
        "image": image,
        "command": ["/bin/sh", "-c", line],
        "volumeMounts": [{"name": _VOLUME, "mountPath": str(mount)}],
        **({"resources": {"limits": _limits(limits)}} if limits else {}),
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": SECONDS_TO_SAVE,
        "containers": [container],
        "volumes": [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": claim}}],
    }
    codes = {"containerName": _CONTAINER, "operator": "In"}
    rules = [
        {"action": "Ignore", "onExitCodes": {**codes, "values": [STOPPED]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailIndex", "onExitCodes": {**codes, "values": [BAD_COMMAND]}},
    ]
    digest = hashlib.sha256(line.encode()).hexdigest()[:8]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"lrstudy-{name.replace('_', '-')}-{digest}"},
        "spec": {
            "completions": shares,
            "parallelism": min(jobs or shares, shares),
            "completionMode": "Indexed",
            "backoffLimitPerIndex": TRIES,
            "podFailurePolicy": {"rules": rules},
            "template": {"spec": pod},
        },
    }


def _limits(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    if not all(name and quantity for name, _, quantity in pairs):
        raise ConfigError(f"launcher_args must be limits such as 'cpu=4 nvidia.com/gpu=1', got {text!r}")
    return {name: quantity for name, _, quantity in pairs}
