"""The README's tables are those of the code, and what they say of results is what was printed."""

import pytest

from lrstudy import laws, optimizers, schedules
from tests.documents import catalogue, recorded

RECORDED = recorded.results((catalogue.ROOT / recorded.FILE).read_text())


def test_the_readme_has_the_tables_as_they_are():
    text = catalogue.README.read_text()
    found = text.partition(catalogue.BEGIN)[2].partition(catalogue.END)[0]
    assert found == catalogue.catalogue(), "write them anew: python -m tests.documents.catalogue"


def test_every_row_of_every_table_says_where_it_comes_from():
    for name, cls in schedules.TABLE.items():
        assert cls.paper or name in schedules.WRAPPERS, name
    assert all(row.paper for row in optimizers.TABLE.values())
    assert all(row[1] != "none" for row in catalogue.law_rows())
    for name, study in catalogue.studies().items():
        assert study.asks, name
        assert study.paper or not study.claims, name


def test_another_row_is_another_line(monkeypatch):
    monkeypatch.setitem(schedules.TABLE, "Another", schedules.Linear)

    assert catalogue.schedule_rows()[-1][0] == "`Another`"
    assert [row[0] for row in catalogue.law_rows()] == [
        f"`{name}`" for name in laws.__all__ if getattr(getattr(laws, name), "paper", "") and name[1:2].islower()
    ]


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        (
            "Wen et al. 2024, A Title: of 2 Parts, arXiv 2410.05192",
            "[Wen et al. 2024](https://arxiv.org/abs/2410.05192)",
        ),
        ("Polyak 1964; Kaplan 2020, arXiv:2001.08361", "Polyak 1964; [Kaplan 2020](https://arxiv.org/abs/2001.08361)"),
        ("Goyal 2017, arXiv 1706.02677, for it", "[Goyal 2017](https://arxiv.org/abs/1706.02677), for it"),
        ("arXiv 2410.05192", "[arXiv 2410.05192](https://arxiv.org/abs/2410.05192)"),
        ("", "none"),
    ],
)
def test_papers_are_links(paper, expected):
    assert catalogue.linked(paper) == expected


@pytest.mark.parametrize("study", RECORDED)
def test_a_heading_counts_the_claims_below_it(study):
    found = RECORDED[study]
    assert len(found.verdicts) == found.claims
    assert sum(verdict.holds for verdict in found.verdicts.values()) == found.holding


@pytest.mark.parametrize("study", RECORDED)
def test_recorded_claims_are_those_of_the_study(study):
    assert list(RECORDED[study].verdicts) == [claim.claim_id for claim in catalogue.studies()[study].claims]


def test_the_command_writes_between_the_marks_alone(tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    monkeypatch.setattr(catalogue, "README", page)
    monkeypatch.setattr(catalogue, "catalogue", lambda: "tables\n")
    page.write_text(f"before\n{catalogue.BEGIN}old\n{catalogue.END}after\n")
    assert catalogue.main() == 0
    assert page.read_text() == f"before\n{catalogue.BEGIN}tables\n{catalogue.END}after\n"
    page.write_text("no marks\n")
    assert catalogue.main() == 2
    assert capsys.readouterr().err.startswith("error: README.md must have the two marks of the tables")
    assert page.read_text() == "no marks\n"


def test_a_table_of_claims_is_read_as_it_is_printed():
    text = """## Two words (`study`): 2 of 3 hold

```
claim  holds    measured    threshold  95% interval              n  statement
a1     yes       0.06911  >         0  [0.03829, 0.09992]        3  Text
a10    NO?       0.06911  >         0  [-0.1, 0.09992]           3  Text
b1     yes?      0.06911  >         0  [-0.1, 0.09992]           3  Text
```

## Another (`other`): 0 of 0 hold
"""
    found = recorded.results(text)
    assert found["study"].verdicts == {"a1": (True, True), "a10": (False, False), "b1": (True, False)}
    assert (found["study"].holding, found["study"].claims, found["study"].unsettled) == (2, 3, 2)
    assert found["study"].anchor == "two-words-study-2-of-3-hold"
    assert found["other"].verdicts == {}
