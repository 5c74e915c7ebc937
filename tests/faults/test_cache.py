"""The cache of compiled programs: an entry that a kill cut short costs a compilation, never a number."""

import pytest

from lrstudy.study.store import read_rows
from lrstudy.study.workdir import Workdir
from tests.faults.harness import SMALL, Launcher, plan_of, table


@pytest.mark.slow
def test_entries_cut_short(tmp_path):
    launcher, found = Launcher(tmp_path / "cache"), []
    for name in ("whole", "cut"):
        workdir = Workdir(tmp_path / name)
        ended = launcher.run(workdir.root, SMALL)
        assert ended.code == 0, ended.err
        found.append(table(read_rows(workdir, [plan_of(SMALL).groups[0].group_id])))
        entries = list((tmp_path / "cache").rglob("*-cache"))
        assert entries
        for entry in entries:
            entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert found[0] == found[1]
