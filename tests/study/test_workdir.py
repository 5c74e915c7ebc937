import json
import os
import subprocess
import sys

import pytest

from lrstudy.study.errors import ConfigError, StudyError
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
