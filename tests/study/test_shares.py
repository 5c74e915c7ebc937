"""Shares of one study that end at the same time."""

import pandas as pd
from absl import flags

from experiments.sweep import EXPERIMENT
from lrstudy.study import main
from lrstudy.study import run as run_lib
from lrstudy.study.command import parse, read_command
from lrstudy.study.exit_codes import OK
from lrstudy.study.workdir import Workdir, read_json

STUDY = (
    "--preset=smoke",
    "--config.task=quadratic",
    "--config.schedule=Constant",
    "--config.steps=4",
    "--config.record_every=1",
    "--config.evaluate_every=0",
    "--sweep.optimizer=sgd,momentum",
    "--sweep.schedule.peak=0.01,0.02",
)


def trained(monkeypatch, workdir, share):
    """A share, trained and concluded in this process."""
    values = flags.FlagValues()
    main.define_common_flags(values)
    parse(EXPERIMENT, ["sweep", *STUDY, f"--shard={share}"], values)
    with monkeypatch.context() as own:
        own.setattr(main, "FLAGS", values)
        own.setattr(main, "use_compilation_cache", lambda: None)
        with workdir.locked(main._shard(share)):
            return main._train(EXPERIMENT, read_command(EXPERIMENT, values), workdir)


def test_a_share_whose_table_is_older_than_the_end_of_another_concludes_with_both(tmp_path, monkeypatch):
    """The other ends, and concludes, between what this one reads for its table of runs and the table's writing."""
    workdir, write, tables = Workdir(tmp_path), run_lib.write_table, []

    def late(path, frame):
        tables.append(frame)
        if len(tables) == 2:
            assert trained(monkeypatch, workdir, "2/2") == OK
            runs = pd.read_parquet(workdir.runs)
            assert runs["outcome"].tolist() == ["ok"] * 4
        write(path, frame)

    monkeypatch.setattr(run_lib, "write_table", late)
    assert trained(monkeypatch, workdir, "1/2") == OK
    assert len(tables[1]) == 2
    assert read_json(workdir.plan)["concluded"]
    runs = pd.read_parquet(workdir.runs)
    assert runs["outcome"].tolist() == ["ok"] * 4
    assert workdir.report.read_text().count("sgd") > 0
