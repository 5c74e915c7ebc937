"""What is said of a study's folder, while it runs and afterwards."""

import fcntl
import io
import os
import shutil
import socket
import time

import pytest
from rich.console import Console

from lrstudy.study import show
from lrstudy.study.part import Part, axis
from lrstudy.study.standing import Reader
from lrstudy.study.text_table import TextTable, number
from lrstudy.study.workdir import Workdir, read_json, write_json
from tests.study.studies import BASE, concluded, launch, parts

# The rate that overflows float32 at once, beside two that train.
LOST = {"": Part(BASE, [axis("schedule.peak", (1.0, 2.0, 1e38)), axis("seed", (0, 1))])}


class KilledError(Exception):
    pass


def killed_at(group, calls):
    """Ends training, as a kill would, when the records of the so-many-th group have changed so often."""
    told = []

    def recorded(group_id=None):
        told.append(group_id)
        if list(dict.fromkeys(told)).index(group_id) == group and told.count(group_id) == calls:
            raise KilledError

    return recorded


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("show") / "study"
    own, _ = concluded(root)
    write_json(own.workdir.config, {"experiment": "test", "preset": "smoke"})
    write_json(own.workdir.plan, {**own.plan.to_json(), "concluded": True})
    return root


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Its trunks are finished; of its branches, the runs that were asked for, a part is recorded."""
    root = tmp_path_factory.mktemp("killed") / "study"
    with pytest.raises(KilledError):
        launch(root, LOST, checkpoint_seconds=0.0, recorded=killed_at(group=1, calls=2))
    return root


def run(capsys, *arguments):
    code = show.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_finished_study(study, capsys):
    code, out, err = run(capsys, study)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"study    test, preset smoke, in {study}"
    assert lines[1] == "state    finished"
    assert lines[2] == "runs     6: 6 ok; trunks 6: 6 ok"
    assert lines[3].startswith("trained  ")
    assert lines[4] == "claims   1 of 1 hold"
    assert lines[5] == f"report   {study / 'report.html'}"
    assert lines[7].split() == ["program", "step", "runs", "ended", "loss", "best"]
    assert [line.rsplit(maxsplit=2)[0].split() for line in lines[8:10]] == [
        ["bigram", "Constant", "(trunk)", "30/30", "6", "6", "ok"],
        ["bigram", "WSD", "40/40", "6", "6", "ok"],
    ]
    assert lines[12].split()[:2] == ["a1", "yes"]
    records = Reader(Workdir(study)).read()
    losses = [run.metrics["loss"] for run in records.groups[1].runs]
    assert lines[9].split()[-2:] == [number(sum(losses) / 6), number(min(losses))]


def test_a_study_that_was_killed_says_how_far_it_is_and_what_diverged(killed, capsys):
    code, out, _ = run(capsys, killed)
    assert code == 0
    assert "\nstate    stopped; the same command goes on from there\n" in out
    assert "\nruns     6: 2 diverged, 4 unfinished; trunks 6: 2 diverged, 4 ok\n" in out
    assert "\nreport   not written yet\n" in out
    (lost,) = [line for line in out.splitlines() if line.startswith("lost ")]
    assert lost.count("diverged at step") == 2
    assert lost.count("schedule.peak 1e+38") == 2
    standing = Reader(Workdir(killed)).read()
    group = standing.groups[1]
    assert group.start == 30 < group.step < group.stop == 40
    name = read_json(killed / "plan.json")["groups"][1]["group"]
    assert group.step == max(int(path.stem.split("-")[2]) for path in (killed / "metrics").glob(f"{name}-*"))
    assert {run.step for run in group.runs if run.outcome == "unfinished"} == {group.step}


def test_nobody_is_lost_who_only_waits_for_a_turn(tmp_path):
    with pytest.raises(KilledError):
        launch(tmp_path, parts(), recorded=killed_at(group=0, calls=1))
    standing = Reader(Workdir(tmp_path)).read()
    assert [(group.begun, group.step) for group in standing.groups] == [(True, 0), (False, 30)]
    assert {run.outcome for run in standing.runs} == {"unfinished"}


def test_who_trains_is_seen_without_a_lock(killed, capsys, monkeypatch):
    workdir = Workdir(killed)
    with workdir.locked():

        def forbidden(*_):
            raise AssertionError("a lock was asked for")

        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", forbidden)
            _, out, _ = run(capsys, killed)
    assert f"\nstate    running: process {os.getpid()} on {socket.gethostname()}, since " in out
    # The name stays in the file when the lock is gone.
    assert str(os.getpid()) in (killed / "lock").read_text()
    assert "\nstate    stopped" in run(capsys, killed)[1]


def test_of_another_machine_nobody_can_say(killed, tmp_path, capsys):
    root = shutil.copytree(killed, tmp_path / "copy")
    (root / "lock").write_text("process 12 on elsewhere\n")
    _, out, _ = run(capsys, root)
    assert "\nstate    running on another machine, or killed there: process 12 on elsewhere, since " in out


def test_nothing_in_the_folder_changes(study, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    run(capsys, study)
    run(capsys, study, "--runs")
    assert before == {path: path.stat().st_mtime_ns for path in study.rglob("*")}


def test_runs_are_sorted_by_what_they_are_judged_by(study, capsys):
    _, out, _ = run(capsys, study, "--runs")
    names, *rows = [line.split() for line in out.splitlines()[3:]]
    assert names[:5] == ["run_id", "schedule.peak", "seed", "outcome", "excess"]
    assert len(rows) == 6
    assert all(row[3] == "ok" for row in rows)
    standing = Reader(Workdir(study)).read()
    assert [row[0] for row in rows] == [r.run_id for r in sorted(standing.runs, key=lambda r: r.metrics["excess"])]
    _, out, _ = run(capsys, study, "--runs", "--sort=-schedule.peak", "--limit=2")
    assert [line.split()[1] for line in out.splitlines()[4:]] == ["2", "2"]


def test_runs_that_are_lost_come_last(killed, capsys):
    _, out, _ = run(capsys, killed, "--runs")
    assert [line.split()[3] for line in out.splitlines()[4:]] == ["unfinished"] * 4 + ["diverged"] * 2


def test_a_claim_that_is_decided_is_shown_before_the_end(tmp_path, capsys):
    own = launch(tmp_path)
    assert [claim["id"] for claim in read_json(own.workdir.announced)["claims"]] == ["a1"]
    _, out, _ = run(capsys, tmp_path)
    assert "\nclaims   1 of 1 hold so far\n" in out


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--limit=3",), "sort and limit are for --runs"),
        (("--runs", "--limit=0"), "limit must be at least 1, got 0"),
        (("--every=nan", "--watch"), "every must be a positive number of seconds, got nan"),
        (("--runs", "--sort=excesss"), "got 'excesss'; did you mean 'excess'?"),
    ],
)
def test_a_bad_flag_is_one_line(study, capsys, flags, line):
    code, out, err = run(capsys, study, *flags)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.endswith(f"{line}\n")
    assert err.count("\n") == 1


def test_files_that_vanish_meanwhile_are_looked_for_again(study, capsys, monkeypatch):
    read, fails = Reader.read, iter([True, True, False])

    def flaky(self):
        if next(fails):
            raise FileNotFoundError("a file that was replaced")
        return read(self)

    monkeypatch.setattr(Reader, "read", flaky)
    assert run(capsys, study)[0] == 0


def test_it_watches_until_the_study_is_finished(study, tmp_path, capsys, monkeypatch):
    root = shutil.copytree(study, tmp_path / "copy")
    plan = read_json(root / "plan.json")
    write_json(root / "plan.json", {**plan, "concluded": False})
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            write_json(root / "plan.json", plan)

    monkeypatch.setattr(time, "sleep", sleep)
    code, out, _ = run(capsys, root, "--watch", "--every=7")
    assert (code, looks) == (0, [7.0] * 3)
    assert out.count("study    test") == 2  # a pipe is told of changes alone
    assert out.index("state    stopped") < out.index("state    finished")


def test_control_c_ends_a_watch_quietly(killed, capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    code, out, err = run(capsys, killed, "--watch")
    assert (code, err) == (0, "")
    assert "state    stopped" in out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_of_any_width_holds_it(killed, width):
    standing = Reader(Workdir(killed)).read()
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(show.overview(standing, time.time()).rich(width))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "2 diverged" in " ".join(" ".join(lines).split())


def test_columns_that_do_not_fit_a_terminal_are_left_out_from_the_end():
    table = TextTable(("a", "bb", "c"), [("1", "22", "333333")], frozenset({"c"}))
    assert table.plain() == "a  bb       c\n1  22  333333"
    assert table.fitting(15, kept=1).names == ("a", "bb", "c")
    assert table.fitting(14, kept=1).names == ("a", "bb")
    assert table.fitting(0, kept=1).names == ("a",)


def test_durations_are_said_in_their_two_largest_units():
    assert [show.duration(s) for s in (0, 59.4, 61, 3600, 90_061)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 d 1 h",
    ]


def test_a_name_does_not_command_the_terminal():
    table = TextTable(("a",), [("\x1b[31mred\x07",)])
    assert table.plain() == "a\n\\x1b[31mred\\x07"
