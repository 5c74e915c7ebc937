"""The figure of every schedule."""

from pathlib import Path

import numpy as np
import pytest

import lrstudy
from lrstudy.schedules import TABLE, Linear
from lrstudy.study.figures import gallery

ROOT = Path(lrstudy.__file__).parents[1]


def panels() -> dict:
    """Title to axes."""
    return {axes.get_title(loc="left"): axes for axes in gallery.schedules().axes}


@pytest.fixture(scope="module")
def drawn():
    return panels()


def test_every_row_of_the_table_has_a_panel_of_its_rates(drawn):
    assert list(drawn) == list(TABLE)
    steps = np.arange(gallery.LAST + 1)
    for name, axes in drawn.items():
        schedule = gallery.example(name)
        assert type(schedule) is TABLE[name]
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([steps, schedule(steps)], axis=1))
        # A panel that shows nothing would be no picture of a schedule.
        assert axes.get_ylim()[1] > axes.lines[0].get_ydata().max() > 0


def test_another_row_is_another_panel(monkeypatch):
    monkeypatch.setitem(TABLE, "Another", Linear)
    assert list(panels()) == list(TABLE)


@pytest.mark.parametrize(
    ("name", "marks"),
    [("Constant", [10]), ("WSD", [10, 80, 100]), ("StepDecay", [10, 30, 60, 90]), ("Infinite", [10, 40, 75, 100])],
)
def test_lines_stand_where_phases_end(name, marks, drawn):
    assert gallery.marks(gallery.example(name)) == marks
    lines = drawn[name].lines[1:]
    assert [line.get_xdata()[0] for line in lines] == marks


def test_the_readme_shows_the_table_as_it_is():
    figure = (ROOT / gallery.FILE).read_text()
    assert figure.count('id="axes_') == len(TABLE), "draw it anew: python -m lrstudy.study.figures.gallery"
    assert str(gallery.FILE) in (ROOT / "README.md").read_text()


def test_the_command_draws_into_the_file_that_is_named(tmp_path):
    path = tmp_path / "all.svg"
    assert gallery.main([f"--output={path}"]) == 0
    assert path.read_text().count('id="axes_') == len(TABLE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["here.svg"], "unrecognized arguments: here.svg"),
        (["--output=FOLDER"], "output must be a file, got 'FOLDER'"),
        ([], "output must lie in a folder that is there and can be written, got 'docs/schedules.svg'"),
    ],
)
def test_a_command_that_cannot_be_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    try:
        code = gallery.main(given)
    except SystemExit as left:
        code = left.code
    assert (code, capsys.readouterr().err) == (2, f"error: {message}\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["FOLDER"]


def test_some_schedules_have_panels_of_their_own():
    figure = gallery.drawn({"short": Linear(1.0, 50), "long": Linear(2.0, 100)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["short", "long"]
    assert [axes.lines[0].get_ydata().max() for axes in figure.axes] == [1.0, 2.0]
