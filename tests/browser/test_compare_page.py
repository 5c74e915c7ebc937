"""The page of two studies in a browser."""

import pytest

from lrstudy.study.compare import compare
from tests.browser.folders import IMAGE
from tests.browser.test_report_page import CONTRASTS, column, header


@pytest.fixture(scope="module")
def comparison(folders, tmp_path_factory):
    return compare(*folders, tmp_path_factory.mktemp("comparison"))


def test_matched_runs_sort_and_filter_by_their_differences(opened, comparison):
    own = opened(comparison)
    page, table = own.page, "#runs-table-0"
    header(page, "validation_loss, difference", table).get_by_role("button").click()
    rows = f"{table} tbody tr"
    differences = column(page, "validation_loss, difference", rows)
    # Another width is the only difference between two runs of one rate and seed, and it costs 0.64. Of the four matches
    # one diverged and one was stopped; the two runs of a rate whose text has another path are no match.
    assert [round(float(value), 6) if value else None for value in differences] == [0.64, 0.64, None, None]
    page.get_by_label("outcome").select_option(label="✕ diverged (1)")
    assert len(column(page, "outcome", rows)) == 1
    assert own.complaints == []
    assert own.requests == [own.url]


def test_names_are_text_there_too(opened, comparison):
    page = opened(comparison).page
    assert page.evaluate("window.hacked") is None
    assert f"a statement {IMAGE}" in page.locator("#claims-table").text_content()
    assert f"Caption {IMAGE}" in page.locator("#figures").text_content()
    assert page.locator("img").count() == 0


def test_claims_say_what_changed(opened, comparison):
    page = opened(comparison).page
    changed = dict(
        zip(*(column(page, name, "#claims-table tbody tr") for name in ("claim", "what changed")), strict=True)
    )
    assert changed == {
        "a1": "no longer holds; measured +1.8; the intervals lie apart",
        "b1": "same number",
        "c1": "same number",
        "d1": "same number",
    }
    assert page.locator("#claims-table tbody tr").first.locator("circle").count() == 2


def test_it_fits_a_phone_and_is_dark_where_that_is_asked_for(opened, comparison):
    page = opened(comparison, viewport={"width": 360, "height": 640}, color_scheme="dark").page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = page.evaluate(CONTRASTS)
    assert all(own["contrast"] >= 4.5 and own["dark"] for own in found)


def test_figures_are_side_by_side_where_there_is_room(opened, comparison):
    def places(width):
        page = opened(comparison, viewport={"width": width, "height": 800}).page
        return [box.bounding_box() for box in page.locator("#figure-curves > div").all()]

    wide, narrow = places(1280), places(360)
    assert wide[0]["y"] == wide[1]["y"]
    assert narrow[0]["x"] == narrow[1]["x"]


def test_ids_are_unique(opened, comparison):
    page = opened(comparison).page
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((own) => own.id)")
    assert len(ids) == len(set(ids))
