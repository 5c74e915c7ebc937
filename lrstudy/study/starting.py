"""How a command starts JAX: on how many devices, and in how many processes that train together.

All of it must be said before JAX starts, which it does when it is first asked for a device.
"""

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from absl import flags

from lrstudy.study.command import MODULE
from lrstudy.study.errors import ConfigError
from lrstudy.study.machine import cores, versions

_OWN = ("workdir", "host_devices", "coordinator", "num_processes", "process_id", "heartbeat_seconds")
"""Flags that processes which train together may give otherwise: names of one place, and where each is."""
_TOLD = ("JAX_NUM_CPU_DEVICES", "xla_force_host_platform_device_count")


def define_device_flags(values: flags.FlagValues) -> None:
    """The flags that say where lanes train."""
    module = {"flag_values": values, "module_name": sys.argv[0]}
    names = ["auto", "vmap", "map", "devices"]
    flags.DEFINE_enum("executor", "auto", names, "how lanes are trained, see docs/devices.md", **module)
    flags.DEFINE_integer("host_devices", None, "devices that the CPU counts as; default: its cores", **module)
    flags.DEFINE_integer("data_devices", 1, "devices that share every batch", **module)
    flags.DEFINE_integer("zero_stage", 0, "0 to 3: what they spread of a run's state", **module)
    flags.DEFINE_integer("accumulate", 1, "micro-batches that a device computes its part of a batch in", **module)
    reading = "processes that read batches of large data; 0: threads"
    flags.DEFINE_integer("read_workers", 0, reading, lower_bound=0, **module)
    flags.DEFINE_string("coordinator", None, "host:port of process 0, or auto: what the cluster says", **module)
    flags.DEFINE_integer("num_processes", None, "processes that train together", **module)
    flags.DEFINE_integer("process_id", None, "which of them this is, from 0", **module)
    flags.DEFINE_integer("heartbeat_seconds", 100, "after so long a silence a process counts as lost", **module)


def start(values: flags.FlagValues) -> None:
    """Does what the flags say.

    Raises:
        ConfigError: they contradict each other or those of the other processes, or JAX has been started already.
    """
    joined = _joined(values)
    use_host_devices(values.host_devices)
    if joined:
        _join(values.coordinator, joined)
        _check_alike(values)


def use_host_devices(count: int | None = None) -> None:
    """Lets the CPU count as several devices, so that lanes train side by side on its cores.

    Args:
        count: of devices; ``None``: as many as this process may use cores, unless JAX's environment says otherwise.

    Raises:
        ConfigError: no such number, or JAX has been started already.
    """
    import jax

    if count is None:
        told = any(name in os.environ or name in os.environ.get("XLA_FLAGS", "") for name in _TOLD)
        with contextlib.suppress(RuntimeError):  # it runs already, on what it was told
            if not told:
                jax.config.update("jax_num_cpu_devices", cores())
        return
    if count < 1:
        raise ConfigError(f"host_devices must be at least 1, got {count!r}")
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:
        raise ConfigError("host_devices must be said before JAX starts") from error


def _joined(values: flags.FlagValues) -> dict[str, Any]:
    """What JAX needs to know of the processes that train together; nothing where this one is alone.

    Raises:
        ConfigError: how many they are, and which this is, is not said, or nobody whom they find each other by.
    """
    count, index, address = values.num_processes, values.process_id, values.coordinator
    if address is None:
        for name in ("num_processes", "process_id"):
            if values[name].value is not None:
                raise ConfigError(f"{name} needs --coordinator=host:port, the same for all processes")
        return {}
    if "launcher" in values and values.launcher != "none":
        raise ConfigError("coordinator must be left out with --launcher, whose tasks train apart")
    if values.heartbeat_seconds < 1:
        raise ConfigError(f"heartbeat_seconds must be at least 1, got {values.heartbeat_seconds!r}")
    found = {"heartbeat_timeout_seconds": values.heartbeat_seconds}
    if address == "auto":
        return found
    if count is None or index is None or not 0 <= index < count:
        given = f"--num_processes={count} --process_id={index}"
        raise ConfigError(f"coordinator needs --num_processes=n and --process_id=k with 0 <= k < n, got {given}")
    return {**found, "coordinator_address": address, "num_processes": count, "process_id": index}


def _join(address: str, joined: Mapping[str, Any]) -> None:
    """Joins the processes that train together; waits for all of them.

    Raises:
        ConfigError: the others did not come.
    """
    import jax

    # Python's own handler would wait until they are there; nothing needs saving.
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(**joined)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"coordinator {address} could not be joined: {reason}") from error
    finally:
        signal.signal(signal.SIGINT, previous)
    if jax.process_index():
        sys.stdout = io.StringIO()  # what all would print, the first prints


def _check_alike(values: flags.FlagValues) -> None:
    """Refuses what one process is told and another is not: each would wait for steps that the others do not make.

    Raises:
        ConfigError: flags or versions differ, on every process.
    """
    from lrstudy.training.processes import any_process, told

    # Libraries define further ones where they are imported.
    modules = values.flags_by_module_dict()
    own = [flag for module in (sys.argv[0], MODULE) for flag in modules.get(module, ()) if flag.name not in _OWN]
    mine = {f"--{flag.name}": repr(flag.value) for flag in own if flag.value is not None}
    mine |= {f"version of {name}": version for name, version in versions().items()}
    first = json.loads(told(json.dumps(mine)))
    differing = sorted(name for name in mine.keys() | first.keys() if mine.get(name) != first.get(name))
    if any_process(bool(differing)):
        found = [f"{name} is {mine.get(name)} here and {first.get(name)} in process 0" for name in differing[:1]]
        found = found or ["another process says how its own differs"]
        raise ConfigError(f"processes that train together must be given the same command: {found[0]}")


def trains_with_others() -> bool:
    """Whether several processes train together."""
    import jax

    return jax.distributed.is_initialized() and jax.process_count() > 1


def says_peer_is_gone(error: Exception) -> bool:
    """Whether an error is that of numbers which another process should have sent."""
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)


def leave(code: int) -> NoReturn:
    """Ends the process; of several that train together at once, as those that are gone would be waited for.

    Args:
        code: that it ends with.
    """
    if trains_with_others():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
