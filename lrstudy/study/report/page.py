"""A page that stands alone: its landmarks, its looks and its script, and nothing from elsewhere."""

import base64
import dataclasses
import functools
import hashlib
import importlib.resources
from collections.abc import Sequence

from lrstudy.study.report.markup import text


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        identity: its id, which the contents link to.
        title: its heading.
        body: markup.
        entries: ids and names of what is in it and worth a link of its own.
    """

    identity: str
    title: str
    body: str
    entries: Sequence[tuple[str, str]] = ()


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page.

    The policy lets no request leave the page and runs no script but its own; styles are free, for the figures have
    some in every element.

    Args:
        title: one line.
        lead: markup below it.
        sections: in order; one without a body is left out.
    """
    shown = [section for section in sections if section.body]
    style, script = _resource("style.css"), _resource("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = "".join(map(_link, shown))
    body = "\n".join(map(_section, shown))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body>\n'
        f'<a class="skip" href="#main">Skip to the results</a>\n<header><h1>{text(title)}</h1>{lead}</header>\n'
        f'<nav aria-label="Contents"><h2>Contents</h2><ul>{links}</ul></nav>\n<main id="main" tabindex="-1">\n{body}\n'
        f"</main>\n<script>{script}</script>\n</body></html>\n"
    )


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")


def _link(section: Section) -> str:
    inner = "".join(f'<li><a href="#{text(one)}">{text(name)}</a></li>' for one, name in section.entries)
    below = f"<ul>{inner}</ul>" if inner else ""
    return f'<li><a href="#{section.identity}">{text(section.title)}</a>{below}</li>'


def _section(section: Section) -> str:
    name = f"{section.identity}-title"
    return (
        f'<section id="{section.identity}" aria-labelledby="{name}"><h2 id="{name}">{text(section.title)}</h2>\n'
        f"{section.body}</section>"
    )
