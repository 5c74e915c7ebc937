import base64
import dataclasses
import hashlib
import html.parser
import json
import re

import numpy as np
import pandas as pd
import pytest

from lrstudy.study import views
from lrstudy.study.choices import choice
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.rates import loss_against_rate, optimum_of
from lrstudy.study.figures.style import LARGEST, literal, panels, save
from lrstudy.study.figures.units import in_words
from lrstudy.study.records import TRUNK, Records, load, runs_frame
from lrstudy.study.report import tables
from lrstudy.study.report.markup import devices_text, duration
from lrstudy.study.report.reproduction import _cost, cost_body, cost_text
from lrstudy.study.report.runs import ordered, runs_body, values_text
from lrstudy.study.report.tables import table
from tests.study.studies import BASE, concluded, launch, parts


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    own, _ = concluded(root)
    return own, (root / "report.html").read_text(), root


class Page(html.parser.HTMLParser):
    VOID = frozenset({"meta", "path", "use", "line", "br", "link", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references, self.text, self.tags = [], [], [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                self.references.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    parser = Page()
    parser.feed(page)
    return parser


def test_the_page_stands_alone(finished):
    _, page, _ = finished
    parsed = read(page)
    assert not parsed.open
    assert not {"iframe", "object", "embed", "base", "form"} & parsed.tags
    assert all(reference.startswith(("#", "data:")) for reference in parsed.references)
    for name in re.findall(r"url\((.*?)\)", page):
        assert name.startswith("#")


def test_the_policy_runs_the_page_s_own_script_and_no_other(finished):
    _, page, _ = finished
    [policy] = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert "http" not in policy


def test_ids_are_unique_and_every_reference_has_one(finished):
    parsed = read(finished[1])
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {own[1:] for own in parsed.references if own.startswith("#")} <= set(parsed.ids)


def test_what_a_user_named_is_shown_as_text(finished):
    _, page, _ = finished
    assert "<test>" not in page
    assert "A &lt;test&gt;" in page
    assert "the table &lt;learns&gt;" in page
    assert "python -m test &lt;b&gt;" in page


def test_the_page_answers_what_a_stranger_asks(finished):
    text = " ".join(read(finished[1]).text)
    for wanted in ("Does it?", "holds", "Every setting", "To reproduce", "12 ok", "s of training"):
        assert wanted in text, wanted


def test_figures_are_files_too_and_the_same_each_time(finished):
    own, page, root = finished
    before = {p.name: p.read_bytes() for p in (root / "figures").glob("*.svg")}
    assert set(before) == {"rates.svg", "curves.svg"}
    from lrstudy.study.run import conclude
    from tests.study.studies import HEADER

    conclude(own.experiment, own.workdir, HEADER)
    assert before == {p.name: p.read_bytes() for p in (root / "figures").glob("*.svg")}
    assert page == (root / "report.html").read_text()


def page_of(runs, **others):
    full = [
        {"run_id": f"r{i}", "parts": "", "group": "g", "outcome": "ok", "start": None, "task": "digits", "seed": 0}
        | run
        for i, run in enumerate(runs)
    ]
    metrics = pd.DataFrame({"run_id": ["r0"], "step": [0], "validation_loss": [1.0]})
    return Records(runs_frame(full), metrics, {}, {"": tuple(run["run_id"] for run in full)}, **others)


def test_columns_that_tell_runs_apart_come_first_and_those_that_follow_last():
    made = [{"schedule.peak": peak, "z": 2 * peak, "validation_loss": peak, "loss": peak, "same": 1} for peak in (1, 2)]
    frame, extra = ordered(page_of(made))
    assert list(frame.columns) == ["run_id", "outcome", "schedule.peak", "validation_loss", "z", "loss"]
    assert extra == ["z", "loss"]


def test_runs_that_others_start_from_come_last_and_have_a_name():
    frame, _ = ordered(page_of([{"parts": TRUNK, "seed": 5}, {"parts": "", "seed": 6}, {"parts": "", "seed": 7}]))
    assert list(zip(frame["parts"], frame["seed"], strict=True)) == [("asked for", 6), ("asked for", 7), (TRUNK, 5)]


def test_values_of_a_setting_are_listed_in_order_and_many_by_their_ends():
    assert values_text(pd.Series([3.0, 1.0, 3.0, 2.0])) == "1, 2, 3"
    assert values_text(pd.Series([None, "b"])) == "b, none"
    assert values_text(pd.Series([2.0, np.nan, 1.0])) == "1, 2, none"
    arrays = [np.asarray(own) for own in ([3, 1], [1, 2], [3, 1])]
    assert values_text(pd.Series(arrays)) == "[1, 2], [3, 1]"
    assert values_text(pd.Series([arrays[0], None, arrays[1]])) == "[1, 2], [3, 1], none"
    assert values_text(pd.Series([arrays[0], "one", arrays[1]])) == "[3, 1], one, [1, 2]"
    assert values_text(pd.Series([*range(100), None])) == "0, 1, 2, … 99 (100 values), none"
    assert values_text(pd.Series(range(100))) == "0, 1, 2, … 99 (100 values)"


def test_ten_thousand_runs_make_a_page_of_a_few_megabytes():
    rng = np.random.default_rng(0)
    columns = {f"metric{i}": rng.normal(size=10_000) for i in range(40)}
    runs = pd.DataFrame({"run_id": [f"{i:016x}" for i in range(10_000)], "outcome": "ok", **columns})
    page = table(runs, "many", "many")
    assert page.count("<tr>") == 1 + 2000
    assert len(page.encode()) < 3_500_000


def test_a_number_that_is_none_is_an_empty_cell_and_a_name_stays_text():
    frame = pd.DataFrame(
        {"name": ["<b>", None], "value": [np.nan, np.inf], "flag": [True, False], "list": [[1, 2.5], []]}
    )
    body = table(frame, "<i>", "own")
    assert "<caption>&lt;i&gt;</caption>" in body
    assert '<th scope="row">&lt;b&gt;</th><td></td><td>True</td><td>1, 2.5</td>' in body
    assert '<th scope="row"></th><td class="n">inf</td>' in body


def test_two_columns_of_one_name_and_a_table_without_rows_are_tables_too():
    twice = pd.DataFrame([[1.0, "a"]], columns=["x", "x"])
    assert '<th scope="row" class="n">1</th><td>a</td>' in table(twice, "twice", "twice")
    assert "<tbody>\n</tbody>" in table(pd.DataFrame({"x": []}), "none", "none")


def test_a_branch_costs_what_was_trained_after_its_start():
    group = {"runs": ["a", "b"], "branches": [["t", 48], ["t", 48]], "outcomes": [{"updates": 60}, {"updates": 4}]}
    cost = _cost("g", {**group, "cost": {"seconds": 2.0}})
    assert cost["updates"] == 12
    assert cost["updates a second"] == 6.0
    unfinished = _cost("g", {"runs": ["a"], "branches": None})
    assert cost_text([cost, unfinished]) == ("2 s of training", "12 updates in 2 programs")


def test_long_words_of_a_figure_are_broken_into_lines():
    assert literal("short") == "short"
    assert literal("a " * 80, 90) == "a " * 44 + "a\n" + "a " * 34 + "a"
    assert literal("/".join(["folder"] * 30), 70).count("\n") == 2
    assert literal("a\nb $c$") == "a\nb \\$c\\$"


def test_devices_are_counted():
    assert devices_text(["cpu: cpu", "cpu: cpu"]) == "2 x cpu"
    assert devices_text(["gpu: NVIDIA H200", "cpu: cpu"]) == "1 x gpu: NVIDIA H200, 1 x cpu"


def test_time_that_was_spent_waiting_for_data_is_shown_where_there_was_any():
    group = {"runs": ["a"], "branches": None, "outcomes": [{"updates": 10}]}
    of_memory, of_older_folders, waited = ({**group, "cost": {"seconds": 2.0, **more}} for more in (
        {"waited": 0.002}, {}, {"waited": 0.5},
    ))  # fmt: skip
    bodies = [cost_body([_cost("g", own) for own in groups]) for groups in ([of_memory, of_older_folders], [waited])]
    assert ["seconds waiting for data" in body for body in bodies] == [False, True]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.123, "0.123 s"), (59.6, "60 s"), (150.0, "2.5 min"), (9000.0, "2.5 h")]
)
def test_times_are_said_in_a_unit_that_suits_them(seconds, said):
    assert duration(seconds) == said


def test_a_figure_of_very_many_points_is_kept_as_pixels(tmp_path):
    def saved(points):
        figure, axes = panels(1, 1)
        axes[0, 0].scatter(np.arange(points), np.random.default_rng(0).normal(size=points), s=4)
        axes[0, 0].set_xlabel("step")
        save(figure, tmp_path / "figure.svg", "A <title>")
        return (tmp_path / "figure.svg").read_text()

    small, large = saved(100), saved(10_000)
    assert "<image" not in small
    assert large.count("<image") == 1
    assert "<!-- step -->" in large
    assert len(large) < LARGEST
    assert saved(10_000) == large


def test_rates_far_apart_have_a_logarithmic_axis():
    def scale(*peaks):
        made = [{"schedule.peak": peak, "seed": 0, "steps": 3} for peak in peaks]
        found = page_of(made)
        rows = [
            {"run_id": f"r{i}", "step": step, "learning_rate": peak * share, "validation_loss": 1.0}
            for i, peak in enumerate(peaks)
            for step, share in enumerate((0.0, 1.0, 0.0))
        ]
        found = dataclasses.replace(found, metrics=pd.DataFrame(rows))
        series = {str(peak): found.where(schedule__peak=peak) for peak in peaks}
        return rate_and_metric(series, "learning_rate", "loss").axes[0].get_yscale()

    assert scale(0.1, 0.2) == "linear"
    assert scale(0.001, 0.2) == "log"


def test_rates_too_near_for_their_labels_keep_the_lower_one():
    figure = loss_against_rate({"a": frame([[3.0], [2.0], [1.0]], (0.1, 0.2, 1e9))}, "loss")
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.1", "", "1e+09"]


def test_axes_say_units_where_all_tasks_have_the_same():
    assert in_words("validation_loss", ["text"]) == "validation loss (nats/byte)"
    assert in_words("validation_loss", ["text", "digits"]) == "validation loss"
    assert in_words("hill_loss", ["quadratic"]) == "hill loss"
    assert in_words("grad_norm_l2", ["text"]) == "grad norm l2"


def texts(figure):
    return " ".join(t.get_text() for axis in figure.axes for t in (axis.title, axis._left_title, *axis.texts))


def frame(losses, rates=(0.1, 0.2, 0.4)):
    return pd.DataFrame(losses, index=pd.Index(rates), columns=range(len(losses[0])))


def test_an_optimum_on_the_grids_edge_is_called_out():
    figure = loss_against_rate({"a": frame([[3.0], [2.0], [1.0]]), "b": frame([[3.0], [1.0], [2.0]])}, "loss")
    assert "a: the best peak learning rate 0.4 is on the grid's edge; extend it above" in texts(figure)
    assert "b:" not in texts(figure)


def test_a_rate_at_which_a_seed_diverged_cannot_be_best():
    losses = frame([[2.0, 2.0], [3.0, 3.0], [0.1, np.nan]])
    assert optimum_of(losses).value == 0.1
    assert optimum_of(frame([[np.nan], [np.nan], [np.nan]])) is None
    figure = loss_against_rate({"a": frame([[np.nan], [np.nan], [np.nan]])}, "loss")
    assert "a: every rate diverged" in texts(figure)


def test_what_varied_is_found_in_the_runs(finished):
    own, _, _ = finished
    found = load(own.workdir).part("")
    assert views.settings(found) == ["schedule.peak"]
    assert views.axis_of(found) == "schedule.peak"
    table = views.summary(found)
    assert table["schedule.peak"].tolist() == [0.5, 1.0, 2.0]
    assert (table["seeds"] == 2).all()
    assert table["note"].str.startswith("best").sum() == 1


def test_a_diverged_run_is_counted_and_left_out_of_the_mean(tmp_path):
    quadratic = dataclasses.replace(
        BASE, task=choice("task", "quadratic", chains=4), optimizer=choice("optimizer", "sgd")
    )
    own = launch(tmp_path, parts(peaks=(0.1, 1e9), base=quadratic))
    found = load(own.workdir).part("")
    outcomes = found.runs.set_index(["schedule.peak", "seed"])["outcome"]
    assert set(outcomes[0.1]) == {"ok"}
    assert set(outcomes[1e9]) == {"diverged"}
    table = views.summary(found).set_index("schedule.peak")
    assert table["diverged"].tolist() == [0, 2]
    assert np.isnan(table.loc[1e9, "mean"])


def test_plan_and_claims_are_plain_json(finished):
    _, _, root = finished
    for name in ("plan.json", "claims.json"):
        text = (root / name).read_text()
        assert "NaN" not in text
        json.loads(text)


def test_of_very_many_runs_the_page_shows_the_first(finished, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    runs = load(finished[0].workdir)
    page = runs_body(runs)
    assert "12 runs: 12 ok" in page
    assert "The table has the first 4; <code>runs.parquet</code> has them all." in page
    shown = ordered(runs)[0]["run_id"]
    assert [run_id in page for run_id in shown] == [True] * 4 + [False] * 8
