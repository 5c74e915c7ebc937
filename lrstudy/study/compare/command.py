"""``--compare=DIR1,DIR2``: a page of two studies."""

from collections.abc import Sequence
from pathlib import Path

from lrstudy.study.compare.claims import claims_body
from lrstudy.study.compare.matching import Matching, match_parts
from lrstudy.study.compare.runs import overview, part_body
from lrstudy.study.compare.study import Study, read_study
from lrstudy.study.errors import ConfigError
from lrstudy.study.exit_codes import OK
from lrstudy.study.report.figures import inline
from lrstudy.study.report.markup import devices_text, text
from lrstudy.study.report.page import Section, page
from lrstudy.study.report.reproduction import preformatted
from lrstudy.study.report.tables import listed, table
from lrstudy.study.workdir import Workdir, replacing

FILE = "compare.html"


def compare_command(folders: Sequence[str], out: str | None) -> int:
    """Does what the flag asks for; returns the exit code.

    Raises:
        ConfigError: they are not two, or one holds no finished study.
        StudyError: a file of one is damaged.
    """
    if len(folders) != 2 or not all(folders):
        raise ConfigError(f"compare must be two folders, DIR1,DIR2, got {','.join(folders)!r}")
    print(f"comparison: {compare(Path(folders[0]), Path(folders[1]), Path(out or '.'))}")
    return OK


def compare(first: Path, second: Path, out: Path) -> Path:
    """Writes the page of two studies.

    Args:
        first: folder of a finished study.
        second: folder of another, of the same experiment or not.
        out: folder for the page; it is made where there is none.

    Returns:
        The page's path.

    Raises:
        ConfigError: a folder holds no finished study, or none can be written.
        StudyError: a file is damaged.
    """
    studies = read_study(first), read_study(second)
    Workdir(out).check()
    path = out / FILE
    with replacing(path) as temporary:
        temporary.write_text(_page(*studies), encoding="utf-8", errors="replace")
    return path


def _page(first: Study, second: Study) -> str:
    matchings = match_parts(first.records, second.records)
    metrics = [
        name
        for name in first.records.metrics.columns
        if all(name in study.records.metrics and name in study.records.runs for study in (first, second))
        and name not in ("run_id", "step")
    ]
    tables = "\n".join(
        f'<h3 id="part-{i}">{text(matching.part)}</h3>{part_body(matching, metrics, f"runs-table-{i}")}'
        for i, matching in enumerate(matchings)
    )
    links = [(f"part-{i}", matching.part) for i, matching in enumerate(matchings)]
    drawn = [(f"figure-{name}", name.replace("_", " ")) for name in {**first.figures(), **second.figures()}]
    sections = [
        Section("summary", "Summary", _summary(first, second, matchings)),
        Section("configuration", "What differs", _differing(matchings)),
        Section("claims", "Claims", claims_body(first, second)),
        Section("runs", "Runs", overview(matchings, metrics) + tables, links),
        Section("figures", "Figures", _figures(first, second), drawn),
        Section("reproduce", "To reproduce", _commands(first, second)),
    ]
    title = f"{first.name} beside {second.name}"
    lead = (
        f"<p>First: <code>{text(first.workdir.root)}</code><br>Second: <code>{text(second.workdir.root)}</code></p>"
        "<p>Differences are the second less the first. Runs are matched by their configuration, apart from what was "
        "changed for all runs of a part.</p>"
    )
    return page(title, lead, sections)


def _summary(first: Study, second: Study, matchings: Sequence[Matching]) -> str:
    held = [f"{sum(claim['holds'] for claim in study.claims)} of {len(study.claims)}" for study in (first, second)]
    runs = [f"{len(study.records.asked().runs):,}" for study in (first, second)]
    matched = sum(len(matching.first) for matching in matchings)
    rows = [
        ("claims that hold", f"{held[0]} in the first, {held[1]} in the second"),
        ("runs", f"{runs[0]} in the first, {runs[1]} in the second, {matched:,} matched"),
        ("settings that differ", str(sum(len(matching.differing) for matching in matchings))),
    ]
    parts = [study.records.parts for study in (first, second)]
    alone = [
        f"{name} ({side})"
        for own, other, side in ((*parts, "first"), (*parts[::-1], "second"))
        for name in own
        if name not in other
    ]
    if alone and any(name in parts[1] for name in parts[0]):
        rows.append(("parts of one study alone", ", ".join(alone)))
    return listed(rows if first.claims or second.claims else rows[1:])


def _differing(matchings: Sequence[Matching]) -> str:
    import pandas as pd

    rows = [
        {"part": matching.part, "setting": name, "first": one, "second": other}
        for matching in matchings
        for name, one, other in matching.differing
    ]
    if not rows:
        return "<p>Nothing: all runs were asked for with the same values.</p>"
    return table(pd.DataFrame(rows), "Settings with their values over all runs of a part", "settings-table")


def _figures(first: Study, second: Study) -> str:
    ones, others = first.figures(), second.figures()
    pairs = []
    for name in dict.fromkeys((*ones, *others)):
        sides = _figure("first", name, ones) + _figure("second", name, others)
        pairs.append(f'<div class="pair" id="figure-{text(name)}">{sides}</div>')
    return "\n".join(pairs)


def _figure(side: str, name: str, figures: dict[str, Path]) -> str:
    inner = inline(figures[name], f"{side}-{name}") if name in figures else f"<p>There is no {text(name)}.</p>"
    return f"<div><h3>{text(name.replace('_', ' '))}, {side}</h3>{inner}</div>"


def _commands(first: Study, second: Study) -> str:
    import pandas as pd

    versions = [study.header["versions"] for study in (first, second)]
    rows = [
        {"what": name, "first": versions[0].get(name, "none"), "second": versions[1].get(name, "none")}
        for name in dict.fromkeys((*versions[0], *versions[1]))
    ]
    devices = [devices_text(study.header["devices"]) for study in (first, second)]
    rows.append({"what": "devices", "first": devices[0], "second": devices[1]})
    commands = "".join(
        f'<h3>{side}</h3><div class="command">{preformatted(study.header["command"], f"Command of the {side}")}</div>'
        for side, study in (("first", first), ("second", second))
    )
    return commands + table(pd.DataFrame(rows), "Versions and devices of both", "versions-table")
