"""An experiment whose second part follows from its first, for the tests of derived parts."""

import dataclasses

from lrstudy.study.claims import Claim, mean_interval
from lrstudy.study.derived import Derived
from lrstudy.study.experiment import Experiment
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from tests.study.studies import BASE

PEAKS = (0.5, 1.0, 2.0)
TUNING = dataclasses.replace(BASE, steps=20)


def best_peak(records):
    """The peak of the lowest mean loss."""
    runs = records.part("tuning").runs
    return float(runs.groupby("schedule.peak")["excess"].mean().idxmin())


def decided(records):
    """The best peak on seeds that did not choose it."""
    return Part(TUNING, [axis("schedule.peak", (best_peak(records),)), axis("seed", (7, 8))])


PARTS = {
    "tuning": Part(TUNING, [axis("schedule.peak", PEAKS), axis("seed", (0, 1))]),
    "deciding": Derived(("tuning",), decided),
}
CLAIMS = tuple(
    Claim(f"{part[0]}1", part, "", (part,), lambda r, part=part: mean_interval(r.part(part).runs["excess"]), "<", 9.0)
    for part in PARTS
)
EXPERIMENT = Experiment("staged", "Staged", "?", {"cpu": lambda: PARTS}, claims=CLAIMS)

if __name__ == "__main__":
    main(EXPERIMENT)
