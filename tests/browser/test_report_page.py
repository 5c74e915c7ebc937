"""The report in a browser, as a reader with a mouse, a keyboard, a phone or no scripts has it."""

import pytest

from tests.browser.folders import IMAGE, SCRIPT

RUNS = "#runs-table tbody tr"
COLUMN = """([rows, name]) => {
  const shown = [...document.querySelectorAll(rows)].filter((row) => row.checkVisibility());
  const head = document.querySelector(rows).closest("table").tHead;
  const headers = [...head.rows[0].cells].filter((header) => !header.hidden);
  const place = headers.findIndex((header) => header.textContent === name);
  return shown.map((row) => row.cells[place].textContent);
}"""
# Relative luminance and contrast as WCAG 2 defines them, of every element that has words of its own.
CONTRASTS = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (element) => {
    for (let own = element; own; own = own.parentElement) {
      const colour = parse(getComputedStyle(own).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const wordy = [...document.querySelectorAll("body *:not(svg, svg *, script, style)")].filter(
    (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return wordy.map((element) => {
    const ink = luminance(parse(getComputedStyle(element).color)), under = luminance(paper(element));
    return { name: element.tagName + "." + element.className, dark: under < 0.05,
      contrast: (Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05) };
  });
}"""


@pytest.fixture(scope="module")
def report(folders):
    return folders[0] / "report.html"


def column(page, name, rows=RUNS):
    """The cells of a column of the rows that are shown, from top to bottom."""
    return page.evaluate(COLUMN, [rows, name])


def header(page, name, table="#runs-table"):
    return page.locator(f"{table} thead th").filter(has=page.get_by_role("button", name=name, exact=True))


def test_a_click_sorts_numbers_as_numbers_and_what_is_missing_comes_last(opened, report):
    page = opened(report).page
    own = header(page, "schedule.peak")
    assert own.get_attribute("aria-sort") == "none"
    own.get_by_role("button").click()
    assert own.get_attribute("aria-sort") == "ascending"
    assert list(map(float, column(page, "schedule.peak"))) == sorted([0.001, 0.003, 0.01, 0.03, 10] * 2)
    own.get_by_role("button").click()
    assert own.get_attribute("aria-sort") == "descending"
    assert column(page, "schedule.peak")[0] == "10"
    losses = header(page, "validation_loss")
    for direction in (1, -1):
        losses.get_by_role("button").click()
        shown = column(page, "validation_loss")
        numbers = [float(value) for value in shown if value]
        assert len(numbers) == 6
        assert numbers == sorted(numbers)[::direction]
        assert shown[6:] == [""] * 4
    assert own.get_attribute("aria-sort") == "none"


def test_a_table_of_the_experiment_sorts_too(opened, report):
    page = opened(report).page
    header(page, "value", "#table-losses").get_by_role("button").click()
    assert column(page, "value", "#table-losses tbody tr") == ["9", "10", ""]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts(opened, report, key):
    page = opened(report).page
    button = header(page, "seed").get_by_role("button")
    button.focus()
    page.keyboard.press(key)
    assert header(page, "seed").get_attribute("aria-sort") == "ascending"
    assert column(page, "seed") == ["0"] * 5 + ["1"] * 5
    page.keyboard.press(key)
    assert column(page, "seed") == ["1"] * 5 + ["0"] * 5
    assert button.evaluate("own => own === document.activeElement")


def test_words_and_outcomes_filter_together(opened, report):
    page = opened(report).page
    said = page.locator(".filters output")
    assert said.text_content() == "10 of 10 rows shown"
    page.get_by_label("outcome").select_option(label="✕ diverged (2)")
    assert column(page, "outcome") == ["✕ diverged"] * 2
    words = page.get_by_label("words in a row")
    words.fill("09-64 PLAIN")
    assert column(page, "run_id") == ["09-64"]
    assert said.text_content() == "1 of 10 rows shown"
    words.fill("no such run")
    assert column(page, "run_id") == []
    page.get_by_label("outcome").select_option(label="all")
    words.fill("")
    assert len(column(page, "run_id")) == 10


def test_a_sorted_table_filters_and_a_filtered_one_sorts(opened, report):
    page = opened(report).page
    header(page, "run_id").get_by_role("button").click()
    header(page, "run_id").get_by_role("button").click()
    page.get_by_label("words in a row").fill("diverged")
    assert column(page, "run_id") == ["09-64", "08-64"]
    header(page, "run_id").get_by_role("button").click()
    assert column(page, "run_id") == ["08-64", "09-64"]


def test_columns_wanted_last_are_shown_on_request(opened, report):
    page = opened(report).page
    loss = page.locator("#runs-table thead th", has_text="loss").last
    assert loss.text_content() == "loss"
    assert not loss.is_visible()
    page.get_by_label("every column").check()
    assert loss.is_visible()
    header(page, "loss").get_by_role("button").click()
    sorted_by_it = column(page, "run_id")
    assert column(page, "loss") == column(page, "validation_loss")
    page.get_by_label("every column").uncheck()
    assert not loss.is_visible()
    assert column(page, "run_id") == sorted_by_it
    header(page, "validation_loss").get_by_role("button").click()
    assert column(page, "run_id") == sorted_by_it


def test_runs_that_did_not_end_are_marked_in_words(opened, report):
    page = opened(report).page
    ends = column(page, "outcome")
    assert {end.split(" ")[1]: end.split(" ")[0] for end in ends} == {
        "ok": "✓",
        "diverged": "✕",
        "stopped": "■",
        "failed": "!",
    }


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened, report):
    own = opened(report)
    for button in own.page.locator("thead button").all():
        if button.is_visible():
            button.click()
    own.page.get_by_label("words in a row").fill("ok")
    own.page.get_by_role("button", name="copy the command").click()
    assert [url for url in own.requests if not url.startswith("data:")] == [own.url]
    assert own.complaints == []


def test_what_a_user_named_is_shown_and_never_run(opened, report):
    own = opened(report)
    assert own.page.evaluate("window.hacked") is None
    text = own.page.locator("body").text_content()
    for shown in (f"00{IMAGE}", f"a statement {IMAGE}", f"Caption {IMAGE}", f"Table {SCRIPT}", f"Why {SCRIPT}"):
        assert shown in text
    assert SCRIPT in column(own.page, "task.path")
    assert own.page.title() == f"A study {IMAGE}"
    assert own.page.locator("img").count() == 0
    assert own.page.locator("script").count() == 1


def test_a_script_that_got_in_all_the_same_would_not_run(opened, report):
    own = opened(report)
    own.page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.hacked = 'late'";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", '<img src="data:," onerror="window.hacked = 1">');
    }""")
    own.page.wait_for_timeout(50)
    assert own.page.evaluate("window.hacked") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_and_paper_are_far_apart(opened, report, scheme):
    found = opened(report, color_scheme=scheme).page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert {own["name"].split(".")[0] for own in found} >= {"P", "A", "TH", "TD", "BUTTON", "SPAN", "CAPTION", "PRE"}
    assert [own for own in found if own["contrast"] < 4.5] == []
    assert all(own["dark"] == (scheme == "dark") for own in found)


def test_on_a_phone_the_page_does_not_scroll_sideways(opened, report):
    page = opened(report, viewport={"width": 360, "height": 640}).page
    page.get_by_label("every column").check()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator(".box", has=page.locator("#runs-table"))
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")


def test_the_tab_key_reaches_everything_and_shows_where_it_is(opened, report):
    page = opened(report).page
    stops = []
    for _ in range(80):
        page.keyboard.press("Tab")
        stop = page.evaluate("""() => {
          const own = document.activeElement, style = getComputedStyle(own);
          return { tag: own.tagName, type: own.type || "", text: own.textContent.trim(), name: own.className,
            ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
            seen: own.getBoundingClientRect().right > 0 };
        }""")
        if stop["tag"] == "BODY":
            break
        stops.append(stop)
    assert stops[0]["name"] == "skip"
    assert all(stop["ring"] and stop["seen"] for stop in stops), [s for s in stops if not (s["ring"] and s["seen"])]
    kinds = [(stop["tag"], stop["type"] or stop["text"]) for stop in stops]
    search, outcome = kinds.index(("INPUT", "search")), kinds.index(("SELECT", "select-one"))
    first_button = next(i for i, stop in enumerate(stops) if stop["tag"] == "BUTTON" and stop["text"] == "run_id")
    assert search < outcome < first_button
    assert "copy the command" in [stop["text"] for stop in stops]


def test_the_skip_link_and_the_contents_lead_where_they_say(opened, report):
    page = opened(report).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    targets = page.locator("nav a").evaluate_all("links => links.map((link) => link.getAttribute('href').slice(1))")
    assert {"summary", "claims", "runs", "reproduce", "figure-curves", "table-losses"} <= set(targets)
    assert page.evaluate("ids => ids.every((id) => document.getElementById(id))", targets)


def test_landmarks_names_and_captions(opened, report):
    page = opened(report).page
    for role in ("main", "navigation", "search"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    tables = page.locator("table").count()
    assert page.locator("table > caption").count() == tables > 4
    assert page.locator("th:not([scope])").count() == 0
    named = "e => e.labels.length > 0"
    assert all(own.evaluate(named) for own in page.locator("input, select").all())
    assert page.locator("figure svg:not([aria-label])").count() == 0


def test_the_copy_button_copies(opened, report):
    own = opened(report, permissions=["clipboard-read", "clipboard-write"])
    own.page.get_by_role("button", name="copy the command").click()
    own.page.get_by_role("status").get_by_text("copied").wait_for()
    assert own.page.evaluate("navigator.clipboard.readText()") == own.page.locator(".command pre").text_content()


def test_without_scripts_everything_is_there_to_read(opened, report):
    page = opened(report, java_script_enabled=False).page
    assert page.locator(RUNS).count() == 10
    assert page.locator("#runs-table thead th", has_text="task.path").is_visible()
    assert all(cell.is_visible() for cell in page.locator("#runs-table thead th").all())
    assert page.locator("button").count() == 0
    assert not page.locator(".filters").is_visible()
    assert page.locator("#claims-table tbody tr").count() == 4


def test_intervals_are_drawn_on_the_right_side_of_their_thresholds(opened, report):
    page = opened(report).page

    def drawing(claim):
        return page.locator(f"#claim-{claim} svg").evaluate("""svg => {
          const box = (name) => svg.querySelector(name)?.getBBox();
          const [side, line, bar, dot] = [".side", ".threshold", ".bar", "circle"].map(box);
          return { side: [side.x, side.x + side.width], line: line.x, bar: bar && [bar.x, bar.x + bar.width],
            dot: dot.x + dot.width / 2, width: svg.viewBox.baseVal.width };
        }""")

    held, open_, exact = drawing("a1"), drawing("b1"), drawing("c1")
    assert held["bar"][0] < held["dot"] < held["bar"][1] < held["line"] == held["side"][1]
    assert open_["bar"][0] == 0
    assert open_["dot"] < open_["line"] < open_["bar"][1] < open_["width"]
    assert exact["bar"] is None
    assert exact["side"][0] == exact["line"] < exact["dot"]
    assert page.locator("#claim-d1 svg").count() == 0
    assert "could not be measured" in page.locator("#claim-d1").text_content()


def test_printed_the_tables_are_whole(opened, report):
    page = opened(report).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("nav").is_visible() is False
    assert page.locator(".box").first.evaluate("box => getComputedStyle(box).overflow") == "visible"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
