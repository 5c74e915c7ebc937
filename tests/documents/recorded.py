"""What ``docs/results.md`` records of every study: the claims of the run that decided."""

import re
from pathlib import Path
from typing import NamedTuple

FILE = Path("docs/results.md")
_HEADING = re.compile(r"^## (?P<title>.+) \(`(?P<study>\w+)`\): (?P<holding>\d+) of (?P<claims>\d+) hold", re.MULTILINE)
_CLAIM = re.compile(r"^(?P<claim>[a-z]\d+)\s+(?P<holds>yes|NO)(?P<unsettled>\??)\s", re.MULTILINE)


class Verdict(NamedTuple):
    """A claim as it was printed.

    Attributes:
        holds: whether its number is on the right side of its threshold.
        settled: whether the interval does not reach across.
    """

    holds: bool
    settled: bool


class Results(NamedTuple):
    """What is recorded of one study.

    Attributes:
        heading: the line, without its marks.
        holding: claims that hold, as the heading says.
        claims: all of them, as the heading says.
        verdicts: claim id to what the table says of it.
    """

    heading: str
    holding: int
    claims: int
    verdicts: dict[str, Verdict]

    @property
    def unsettled(self) -> int:
        """Claims whose interval reaches across the threshold."""
        return sum(not verdict.settled for verdict in self.verdicts.values())

    @property
    def anchor(self) -> str:
        """The heading's name in a link, as GitHub makes it."""
        return re.sub(r"[^\w\- ]", "", self.heading.lower()).replace(" ", "-")


def results(text: str) -> dict[str, Results]:
    """Study to what is recorded of it."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = {}
    for heading, end in zip(headings, ends, strict=True):
        printed = _CLAIM.finditer(text, heading.end(), end)
        verdicts = {claim["claim"]: Verdict(claim["holds"] == "yes", not claim["unsettled"]) for claim in printed}
        line = text[heading.start() : text.index("\n", heading.start())].removeprefix("## ")
        found[heading["study"]] = Results(line, int(heading["holding"]), int(heading["claims"]), verdicts)
    return found
