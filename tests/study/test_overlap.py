"""Grids that overlap with what a folder holds: nothing is trained twice, and the records are those of one launch."""

import pandas as pd

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.part import Part, axis
from lrstudy.study.workdir import Workdir

from .studies import BASE, concluded, launch, parts


def ask(root, *seeds):
    """Launches a grid over these seeds; returns the seeds that were trained."""
    before = set((root / "groups").glob("*.json")) if root.exists() else set()
    own = launch(root, parts(seeds=seeds, peaks=(1.0,)), begun=None)
    new = {path.stem for path in set((root / "groups").glob("*.json")) - before}
    return sorted({run.config.seed for group in own.plan.groups if group.group_id in new for run in group.runs})


def test_subsets_and_overlaps_train_only_what_is_new(tmp_path):
    root = tmp_path / "grown"
    assert ask(root, 0, 1) == [0, 1]
    assert ask(root, 0) == []
    assert ask(root, 1, 2) == [2]
    assert ask(root, 0, 1, 2) == []
    own, _ = concluded(root, chosen=parts(seeds=(0, 1, 2), peaks=(1.0,)), begun=None)
    assert own.missing() == []
    _, _ = concluded(tmp_path / "once", chosen=parts(seeds=(0, 1, 2), peaks=(1.0,)))
    grown, once = (records_lib.load(Workdir(tmp_path / name)) for name in ("grown", "once"))
    pd.testing.assert_frame_equal(
        *(r.metrics.sort_values(["run_id", "step"], ignore_index=True) for r in (grown, once)), check_exact=True
    )
    columns = [name for name in once.runs.columns if name != "group"]
    a, b = (r.runs[columns].sort_values("run_id", ignore_index=True) for r in (grown, once))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_a_branch_of_a_trunk_from_another_grid(tmp_path):
    """The trunks of seeds 0 and 1 are lanes of one group; a new decay of seed 0 alone finds its trunk's rows there."""
    longer = choice("schedule", "WSD", peak=1.0, decay_fraction=0.5)
    decays = {"": Part(BASE, [axis("schedule", [longer]), axis("seed", [0])])}
    launch(tmp_path / "grown", parts(seeds=(0, 1), peaks=(1.0,)))
    launch(tmp_path / "grown", decays, begun=None)
    launch(tmp_path / "once", decays)
    grown, once = (records_lib.load(Workdir(tmp_path / name)).part("").metrics for name in ("grown", "once"))
    pd.testing.assert_frame_equal(grown.reset_index(drop=True), once.reset_index(drop=True), check_exact=True)
