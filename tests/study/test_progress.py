"""The progress line, where nobody sees a bar."""

import pytest

from lrstudy.study import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: its only item."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_first_call_which_compiles_is_not_counted(clock, capsys):
    shown = progress.Progress("text", start=0, stop=400, lanes=6)
    for clock[0], start, stop in ((25.0, 0, 4), (35.0, 4, 44), (36.0, 44, 45), (46.0, 45, 88)):
        shown.advance(start, stop, 2.5)
    # 40 steps in 10 s, and 84 in 21.
    assert capsys.readouterr().err.splitlines() == [
        "text: step 4/400, loss 2.5, 6 runs",
        "text: step 44/400, loss 2.5, 4 steps/s x 6 runs, 89 s left",
        "text: step 88/400, loss 2.5, 4 steps/s x 6 runs, 78 s left",
    ]


def test_what_ends_in_one_call_says_how_fast_it_was(clock, capsys):
    shown = progress.Progress("quadratic", start=10, stop=20, lanes=3)
    clock[0] = 2.0
    shown.advance(10, 20, 0.25)
    assert capsys.readouterr().err == "quadratic: step 20/20, loss 0.25, 5 steps/s x 3 runs, 0 s left\n"
