"""Figures as parts of a page."""

import re
from pathlib import Path

from lrstudy.study.experiment import Figure
from lrstudy.study.figures import style
from lrstudy.study.records import UNREADABLE, Records
from lrstudy.study.report.markup import text
from lrstudy.study.workdir import Workdir

_PATH = re.compile(r'(?<= d=")[^"]+')
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_CAPTION = re.compile(r"<title>(?P<caption>.*?)</title>", re.DOTALL)


def figure_body(figure: Figure, workdir: Workdir, records: Records) -> str:
    """Draws a figure into the folder and returns it as markup, or a line that says why there is none."""
    path = workdir.figures / f"{figure.name}.svg"
    try:
        style.save(figure.draw(records), path, figure.caption)
    except UNREADABLE as error:
        return f'<p id="figure-{text(figure.name)}">{text(figure.caption)}: not drawn, {text(error)}</p>'
    return inline(path, figure.name, figure.caption)


def inline(path: Path, name: str, caption: str | None = None) -> str:
    """A figure's file as markup.

    Args:
        path: of the SVG.
        name: of the figure, unique in the page.
        caption: below it; ``None``: the one that the file holds.
    """
    svg = path.read_text(encoding="utf-8")
    if caption is None:
        found = _CAPTION.search(svg)
        shown = found["caption"] if found else text(path.stem)
    else:
        shown = text(caption)
    words, label, name = text(name.replace("_", " ")), shown.replace('"', "&quot;"), text(name)
    # A title would float over the drawing as a hint; the caption below says the same.
    own = _CAPTION.sub("", svg[svg.index("<svg") :], count=1)
    own = re.sub(r"<metadata>.*?</metadata>", "", own, count=1, flags=re.DOTALL)
    # A hundredth of a point is less than anyone sees; six decimals are half of the page.
    own = _PATH.sub(lambda path: _DECIMALS.sub(r"\1", path[0]).replace("\n", ""), own)
    # Ids are unique in one file only; two figures on one page would share their clip paths.
    for attribute in ('id="', "url(#", 'xlink:href="#'):
        own = own.replace(attribute, f"{attribute}{name}-")
    own = own.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    drawing = f'<div class="canvas" role="group" aria-label="{words}" tabindex="0">{own}</div>'
    return f'<figure id="figure-{name}">{drawing}<figcaption>{shown}</figcaption></figure>'
