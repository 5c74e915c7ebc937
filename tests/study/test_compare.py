import shutil

import pandas as pd
import pytest
from absl import flags

from lrstudy.study import main
from lrstudy.study.compare import compare, compare_command
from lrstudy.study.compare.claims import changes
from lrstudy.study.compare.matching import match_parts
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.records import Records, runs_frame
from tests.browser.folders import make

METRICS = pd.DataFrame({"run_id": ["none"], "step": [0], "loss": [1.0]})


def records(runs, parts=None):
    """Records of runs given by their columns; those that are not given are the same for all."""
    full = [
        {"run_id": f"r{i}", "parts": "", "group": "g", "outcome": "ok", "start": None, "task": "text", "loss": 1.0}
        | run
        for i, run in enumerate(runs)
    ]
    return Records(runs_frame(full), METRICS, {}, parts or {"": tuple(run["run_id"] for run in full)})


def grid(peaks, seeds, **others):
    return [{"schedule.peak": peak, "seed": seed, **others} for peak in peaks for seed in seeds]


def pairs(matching, *names):
    sides = (matching.first, matching.second)
    return [[tuple(row) for row in side[list(names)].itertuples(index=False)] for side in sides]


def test_runs_are_matched_by_what_tells_them_apart():
    [own] = match_parts(records(grid((0.1, 0.3), (0, 1))), records(grid((0.3, 1.0), (1, 2))))
    first, second = pairs(own, "schedule.peak", "seed")
    assert first == second == [(0.3, 1)]
    assert own.sizes == (4, 4)
    assert {name for name, _, _ in own.differing} == {"schedule.peak", "seed"}


def test_what_was_changed_for_all_runs_tells_none_apart():
    one = records(grid((0.1, 0.3), (0, 1), steps=100, model="mlp"))
    other = records(grid((0.1, 0.3), (0, 1), steps=200, model="mlp"))
    [own] = match_parts(one, other)
    first, second = pairs(own, "schedule.peak", "seed")
    assert first == second
    assert len(first) == 4
    assert list(own.differing) == [("steps", "100", "200")]
    assert list(own.settings) == ["schedule.peak", "seed"]


def test_what_follows_from_a_setting_does_not_part_runs():
    def runs(steps):
        made = [
            {"schedule": "WSD", "schedule.total_steps": steps},
            {"schedule": "Constant", "schedule.total_steps": None},
        ]
        return records([{"seed": 0, "steps": steps, **own} for own in made])

    [own] = match_parts(runs(100), runs(200))
    assert pairs(own, "schedule") == [[("WSD",), ("Constant",)]] * 2


def test_runs_that_cannot_be_told_apart_are_not_guessed_at():
    one, other = records(grid((0.1, 0.2), (0,))), records(grid((0.3, 0.4), (0,)))
    [own] = match_parts(one, other)
    assert len(own.first) == len(own.second) == 0


def test_a_whole_number_is_the_same_number_in_a_column_of_others():
    one = records(grid((1, 2), (0,)))
    other = records(grid((1.0, 2.0, 0.5), (0,)))
    [own] = match_parts(one, other)
    assert pairs(own, "schedule.peak") == [[(1,), (2,)], [(1.0,), (2.0,)]]


def test_lists_are_compared_by_what_they_hold():
    one = records([{"seed": 0, "ends": [1, 2]}, {"seed": 0, "ends": [1, 3]}])
    other = records([{"seed": 0, "ends": [1, 3]}, {"seed": 0, "ends": [4, 3]}])
    [own] = match_parts(one, other)
    assert [list(side["ends"].iloc[0]) for side in (own.first, own.second)] == [[1, 3]] * 2


def test_starts_are_the_same_at_the_same_step_of_other_runs():
    one = records([{"seed": 0, "start": "aaaa@50"}, {"seed": 1, "start": "bbbb@50"}])
    other = records([{"seed": 0, "start": "cccc@50"}, {"seed": 1, "start": "dddd@50"}])
    [own] = match_parts(one, other)
    assert len(own.first) == 2
    assert not own.differing


def test_a_run_without_a_start_is_not_one_that_starts_elsewhere():
    both = records([{"seed": 0, "start": None}, {"seed": 0, "start": "aaaa@50"}])
    [own] = match_parts(both, records([{"seed": 0, "start": "bbbb@50"}]))
    assert pairs(own, "start", "seed") == [[("aaaa@50", 0)], [("bbbb@50", 0)]]


def test_parts_of_other_names_are_compared_as_one():
    one = records(grid((0.1,), (0,)), {"text": ("r0",)})
    other = records(grid((0.1,), (0,)), {"river": ("r0",)})
    [own] = match_parts(one, other)
    assert own.part == "all"
    assert len(own.first) == 1


def test_a_part_without_finished_runs_says_nothing_about_settings():
    parts = {"one": ("r0",), "two": ("r1",)}
    whole = records(grid((0.1, 0.2), (0,)), parts)
    begun = records(grid((0.1,), (0,)), parts)
    _, other = match_parts(whole, begun)
    assert (other.sizes, list(other.differing)) == ((1, 0), [])


def claim(measured=1.0, low=None, high=None, threshold=2.0, **others):
    return {
        "id": "a1",
        "comparison": "<",
        "threshold": threshold,
        "measured": measured,
        "ci_low": low,
        "ci_high": high,
    } | {
        "holds": measured is not None and measured < threshold,
        **others,
    }


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (claim(), claim(), ["same number"]),
        (claim(), None, ["claimed by the first alone"]),
        (None, claim(), ["claimed by the second alone"]),
        (claim(), claim(3.0), ["no longer holds", "measured +2"]),
        (claim(3.0), claim(), ["now holds", "measured -2"]),
        (claim(low=0.0, high=1.5), claim(low=0.0, high=3.0), ["no longer settled", "same number"]),
        (claim(), claim(threshold=3.0), ["other threshold", "same number"]),
        (claim(), claim(None), ["no longer holds", "measured in one of them alone"]),
        (claim(1.0, 0.9, 1.1), claim(1.5, 1.4, 1.6), ["measured +0.5", "the intervals lie apart"]),
        (claim(1.0, 0.9, 1.1), claim(1.1, 1.0, 1.2), ["measured +0.1"]),
    ],
)
def test_what_changed_in_a_claim(one, other, said):
    assert list(changes(one, other)) == said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("compared") / "study")


def test_a_study_beside_itself_differs_in_nothing(folder, tmp_path):
    path = compare(folder, folder, tmp_path / "new" / "out")
    assert path == tmp_path / "new" / "out" / "compare.html"
    page = path.read_text()
    assert "all runs were asked for with the same values" in page
    assert "0 of 4 verdicts changed" in page


def test_the_same_folders_give_the_same_page(folder, tmp_path):
    assert compare(folder, folder, tmp_path).read_bytes() == compare(folder, folder, tmp_path).read_bytes()


@pytest.mark.parametrize("given", [[], ["one"], ["one", ""], ["one", "two", "three"]])
def test_the_flag_names_two_folders(given):
    with pytest.raises(ConfigError, match=r"compare must be two folders, DIR1,DIR2, got '"):
        compare_command(given, None)


def test_a_folder_without_a_study_is_refused(folder, tmp_path):
    for wrong in (tmp_path, tmp_path / "none", folder / "runs.parquet"):
        with pytest.raises(ConfigError, match="compare must be two folders with finished studies, got '"):
            compare(folder, wrong, tmp_path)
        with pytest.raises(ConfigError, match="compare must be"):
            compare(wrong, folder, tmp_path)
    assert not (tmp_path / "compare.html").exists()


def test_a_study_of_which_no_run_is_finished_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "begun")
    runs = pd.read_parquet(folder / "runs.parquet")
    runs.assign(parts="trunk").to_parquet(tmp_path / "begun" / "runs.parquet")
    with pytest.raises(ConfigError, match=r"^compare must be two folders with finished runs, got '.*begun' with none$"):
        compare(folder, tmp_path / "begun", tmp_path)


def test_a_damaged_header_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text('{"experiment": "test"}')
    with pytest.raises(StudyError, match=r"config\.json is damaged: it lacks 'command'"):
        compare(folder, tmp_path / "copy", tmp_path)


def test_a_page_cannot_be_written_into_a_file(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="workdir must be a folder"):
        compare(folder, folder, tmp_path / "file")


def test_the_command_line_compares_and_needs_no_workdir(folder, tmp_path, monkeypatch, capsys):
    values = flags.FlagValues()
    main.define_common_flags(values)
    values([__name__, f"--compare={folder},{folder}"])
    monkeypatch.setattr(main, "FLAGS", values)
    monkeypatch.chdir(tmp_path)
    assert main._study(None, None) == 0
    assert capsys.readouterr().out == "comparison: compare.html\n"
    assert "beside" in (tmp_path / "compare.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["compare.html"]
