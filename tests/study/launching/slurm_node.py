"""A SLURM of one node on the loopback, in a scratch folder, without accounting."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PATIENCE_SECONDS = 30

_CONFIGURATION = """
ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
MpiDefault=none
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=p Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def absent() -> str:
    """What a node needs and this machine lacks; empty if nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"needs {', '.join(lacking)}" if lacking else "" if os.geteuid() == 0 else "needs root"


class Node:
    """A running node.

    Args:
        root: an empty folder of a short path, which sockets need.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.env = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(root / "slurm.conf")}

    def __enter__(self) -> "Node":
        root = self._root
        root.chmod(0o755)  # munged wants its socket to be reachable for all
        for name in ("state", "spool"):
            (root / name).mkdir()
        text = _CONFIGURATION.format(host=socket.gethostname().partition(".")[0], root=root, ports=_free_ports())
        (root / "slurm.conf").write_text(text)
        key = root / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        own = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        try:
            self.run("munged", *(f"--{option}={root}/munge.{ending}" for option, ending in own.items()))
            self.run("slurmctld")
            self.run("slurmd")
            self.wait(lambda: self.run("sinfo", "--noheader", "--format=%T").strip() == "idle", "an idle node")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.run("scancel", f"--user={os.getuid()}")
            self.wait(lambda: not self.run("squeue", "--noheader"), "an empty queue")
        finally:
            self._end()

    def run(self, *command: str) -> str:
        """What a command prints."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def wait(self, condition, what: str) -> None:
        """Waits until a condition holds."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            logs = [path.read_text()[-2000:] for path in self._root.glob("*.log")]
            assert time.monotonic() < until, (f"no {what}", logs)
            time.sleep(0.1)

    def _end(self) -> None:
        pids = [
            int(path.read_text())
            for name in ("slurmd", "slurmctld", "munge")
            if (path := self._root / f"{name}.pid").is_file()
        ]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE_SECONDS
        while any(_runs(pid) for pid in pids) and time.monotonic() < until:
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    """A process that nobody has waited for runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _free_ports() -> tuple[int, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = tuple(own.getsockname()[1] for own in sockets)
    for own in sockets:
        own.close()
    return ports
