import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.store import earlier
from lrstudy.study.workdir import Workdir, read_json, replacing, write_json


def test_a_write_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_reading_what_is_not_there_and_what_is_damaged(tmp_path):
    assert read_json(tmp_path / "absent.json") is None
    (tmp_path / "bad.json").write_text('{"x": ')
    with pytest.raises(StudyError, match=r"bad\.json is damaged"):
        read_json(tmp_path / "bad.json")


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="must be a folder, got the file"):
        Workdir(tmp_path / "file").check()
    with pytest.raises(ConfigError, match="must be a folder"):
        Workdir(tmp_path / "file" / "below").check()


def test_a_report_needs_a_study(tmp_path):
    with pytest.raises(ConfigError, match="must hold a study"):
        Workdir(tmp_path / "absent").check(must_exist=True)
    assert not (tmp_path / "absent").exists()


HOLD = """
import sys, pathlib
from lrstudy.study.workdir import Workdir
with Workdir(pathlib.Path(sys.argv[1])).locked((int(sys.argv[2]), int(sys.argv[3]))):
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    def __init__(self, root, index=1, count=1):
        arguments = [sys.executable, "-c", HOLD, str(root), str(index), str(count)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        assert self.process.stdout.readline() == "held\n"
        return self.process.pid

    def __exit__(self, *error):
        self.process.communicate()


def test_a_second_process_is_told_which_one_holds_the_folder(tmp_path):
    with Holder(tmp_path) as pid, pytest.raises(StudyError, match=f"in use by process {pid} on"):
        Workdir(tmp_path).locked().__enter__()
    with Workdir(tmp_path).locked():
        pass


def test_a_process_that_has_not_yet_written_its_name_is_named(tmp_path, monkeypatch):
    (tmp_path / "lock").touch()
    naps = []

    def nap(seconds):
        naps.append(seconds)
        (tmp_path / "lock").write_text("process 7 on a-machine\n")

    monkeypatch.setattr(time, "sleep", nap)
    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match=r"in use by process 7 on a-machine$"):
            Workdir(tmp_path).locked().__enter__()
    assert len(naps) == 1


def test_shards_share_a_folder_each_share_once(tmp_path):
    with Holder(tmp_path, 1, 2):
        with Workdir(tmp_path).locked((2, 2)):
            pass
        with pytest.raises(StudyError, match="share 1/2"):
            Workdir(tmp_path).locked((1, 2)).__enter__()
        with pytest.raises(StudyError, match="in use"):
            Workdir(tmp_path).locked().__enter__()


def test_a_killed_holder_holds_nothing(tmp_path):
    holder = Holder(tmp_path)
    holder.__enter__()
    os.kill(holder.process.pid, 9)
    holder.process.wait()
    holder.process.stdout.close()
    holder.process.stdin.close()
    with Workdir(tmp_path).locked():
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_json_written_is_json(tmp_path):
    write_json(tmp_path / "x" / "y.json", [1, None, "é"])
    assert json.loads((tmp_path / "x" / "y.json").read_text()) == [1, None, "é"]


def test_two_processes_may_write_one_file(tmp_path):
    """Shards all write the table of runs: each under a temporary name of its own."""
    code = (
        "import sys; from pathlib import Path; from lrstudy.study.workdir import write_json\n"
        "for i in range(200): write_json(Path(sys.argv[1]), {'writer': sys.argv[2], 'i': i})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.json"), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert read_json(tmp_path / "a.json")["i"] == 199
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_leftovers_of_a_killed_write_are_removed_by_whoever_holds_the_folder(tmp_path):
    workdir = Workdir(tmp_path)
    left = [tmp_path / ".writing-1-plan.json", tmp_path / "metrics" / ".writing-1-a.parquet"]
    workdir.metrics.mkdir()
    for path in left:
        path.write_text("half")
    with workdir.locked((1, 2)):
        assert all(path.exists() for path in left)
    with workdir.locked():
        assert not any(path.exists() for path in left)


def test_a_folder_of_an_older_version_is_named(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.groups.mkdir()
    (workdir.groups / "0123.json").write_text('{"runs": ["a"], "part": ""}')
    with pytest.raises(StudyError, match=r"0123\.json was written by an older version: use another workdir"):
        earlier(workdir)
