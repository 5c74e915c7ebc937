"""The command for a machine with a GPU: what it refuses, its limits, and its cheapest section in a dry run."""

import json
import os
import subprocess
import sys
import tarfile
import time

import pytest

from benchmarks import gpu
from benchmarks.gpu_sections import DEFAULT, ROOT, Section, section_of


def call_of(tmp_path, *, budget=60.0, dry=True):
    (tmp_path / "work" / "results").mkdir(parents=True)
    return gpu.Call(tmp_path, tmp_path / "work", dry, time.monotonic() + budget, {"sections": {}})


def run(call, section):
    with (call.out / "gpu.log").open("w") as log:
        return gpu.run(call, section, log)


def sleeper(code, seconds=3.0, **options):
    arguments = {"arguments": [str(code)], "dry": [str(code)], "seconds": seconds, "needs": (), **options}
    return Section("sleeper", "tests.benchmarks.sleeper", **arguments)


def test_a_dry_run_of_a_section_writes_what_it_measured(tmp_path):
    command = [ROOT / "benchmarks" / "gpu.sh", "sharpness", "--dry_run", f"--out={tmp_path}", f"--work={tmp_path}/work"]
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONWARNINGS": "default"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("sharpness: passed in ")
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert (report["backend"], report["dry_run"]) == ("cpu", True)
    assert report["versions"]["jax"]
    (entry,) = report["sections"].values()
    (measured,) = entry["numbers"]["measured"]
    assert (entry["status"], measured["status"]) == ("passed", "CONVERGED")
    assert measured["sharpness"] > 0
    assert measured["seconds_per_product"] > 0
    assert "29,856 parameters at initialisation" in (tmp_path / "gpu.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.json", "gpu.md", "gpu.log", "work"}


@pytest.mark.parametrize(("code", "status"), [(75, "stopped, saved"), (1, "stopped"), (0, "passed")])
def test_a_section_is_stopped_at_its_limit_and_its_code_says_whether_it_saved(tmp_path, code, status):
    entry = run(call_of(tmp_path), sleeper(code))
    assert (entry["status"], entry["exit_code"], entry["reason"]) == (status, code, "stopped after 3 s")
    assert ("asleep" in entry["output"]) if code else ("output" not in entry)


def test_a_section_that_fails_leaves_the_end_of_its_output(tmp_path):
    entry = run(call_of(tmp_path), Section("gone", "no_module", (), (), 9, ()))
    assert (entry["status"], entry["exit_code"]) == ("failed", 1)
    assert "No module named no_module" in entry["output"]


def test_what_cannot_run_is_left_out_by_name(tmp_path):
    call = call_of(tmp_path)
    lacking = run(call, sleeper(0, needs=("json", "no_module", "no_module.inner")))
    assert lacking == {"status": "left out", "reason": "not installed: no_module, no_module.inner"}
    spent = run(call_of(tmp_path / "b", budget=gpu.GRACE + gpu.LEAST - 1), sleeper(0))
    assert spent == {"status": "left out", "reason": "the budget is spent"}


def test_numbers_of_an_earlier_call_do_not_pass_for_those_of_this_one(tmp_path):
    call = call_of(tmp_path)
    failing, lacking = (Section("old", "benchmarks.no_module", (), (), 9, needs) for needs in ((), ("no_module",)))
    for section, without in ((failing, {"numbers": None}), (lacking, {})):
        for path in section.files(call.work):
            path.write_text("{}")
        entry = run(call, section)
        assert entry.get("numbers") is None
        assert without.items() <= entry.items()
        gpu.tables(call, [section])
        assert not (call.out / "gpu.md").read_text()


def test_what_is_not_installed_is_said_once_with_all_that_it_keeps_from_being_done():
    sections = [sleeper(0, needs=("no_module",)), sleeper(0, needs=("json", "no_module"), gains={"no_other": "less"})]
    assert gpu.lacking(sections) == {"no_module": "left out: sleeper, sleeper", "no_other": "less"}


def test_a_studys_folder_is_packed_without_large_checkpoints(tmp_path, monkeypatch):
    call, section = call_of(tmp_path), section_of("study:grokking")
    folder = section.study_folder(call.work)
    (folder / "checkpoints" / "a").mkdir(parents=True)
    (folder / "checkpoints" / "a" / "state").write_bytes(b"0" * 100)
    (folder / "claims.json").write_text("{}")

    def packed():
        with tarfile.open(call.out / gpu.pack(call, section)) as archive:
            return {name for name in archive.getnames() if not name.endswith("checkpoints")}

    assert packed() == {"grokking/claims.json", "grokking/checkpoints/a", "grokking/checkpoints/a/state"}
    monkeypatch.setattr(gpu, "PACKED_BYTES", 99)
    assert packed() == {"grokking/claims.json"}


@pytest.mark.parametrize("arguments", [["decoders"], ["study:nothing"], ["--budget=45"], ["--budget=nan"], ["--dry"]])
def test_a_wrong_command_line_is_one_line_and_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        gpu.parsed(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("benchmarks/gpu.sh: error: ")


def test_every_section_of_the_default_exists_and_is_written_to_the_folders_given(tmp_path):
    given = gpu.parsed([f"--out={tmp_path}", f"--work={tmp_path}/w"])
    assert [section.name for section in given.sections] == list(DEFAULT)
    for section in given.sections:
        line = " ".join(section.command(given.work, dry=False))
        assert "{" not in line
        assert str(given.work) in str(section.files(given.work)[0])
