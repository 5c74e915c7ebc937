"""Folders of studies that nobody trained: what a report reads, with names that try to be more than text."""

import json

import numpy as np
import pandas as pd

from lrstudy.study.claims import Claim, Measurement
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.records import runs_frame
from lrstudy.study.run import conclude
from lrstudy.study.store import write_table
from lrstudy.study.workdir import Workdir, write_json

GROUP = "ab12"
IMAGE = "<img src=x onerror=\"window.hacked='image'\">"
SCRIPT = "</script><script>window.hacked='script'</script>"
COMMENT = "--><script>window.hacked='comment'</script>"
STEPS = (0, 50, 99)
# Rates by seeds; the last rate diverges, one run was stopped, one failed.
RATES = (0.001, 0.003, 0.01, 0.03, 10.0)
SEEDS = (0, 1)


def rows(rates, seeds, width):
    for number, (rate, seed) in enumerate((rate, seed) for rate in rates for seed in seeds):
        end = "diverged" if rate == 10.0 else {3: "stopped", 5: "failed"}.get(number, "ok")
        loss = (np.log10(rate) + 2.2) ** 2 + 0.01 * seed + width / 100 if end == "ok" else None
        yield {
            "run_id": f"{number:02d}{IMAGE}" if number == 0 else f"{number:02d}-{width}",
            "parts": "",
            "group": GROUP,
            "outcome": end,
            "steps": 100,
            "seed": seed,
            "start": None,
            "schedule": "Constant",
            "schedule.peak": rate,
            "task": "text",
            "task.path": SCRIPT if number == 1 else "plain.txt",
            "model.width": width,
            "updates": 100 if end == "ok" else 40,
            "loss": loss,
            "validation_loss": loss,
        }


def experiment(holds=True):
    def measure(records):
        return Measurement(0.2, 3, -0.1, 0.4) if holds else Measurement(2.0, 3, 1.8, 2.2)

    def curves(records):
        return rate_and_metric({COMMENT: records}, "loss", "loss")

    def table(records):
        return pd.DataFrame({"name": [IMAGE, "b", "c"], "value": [10.0, np.nan, 9.0]})

    claims = (
        Claim("a1", f"a statement {IMAGE}", SCRIPT, ("",), measure, "<", 1.0),
        Claim("b1", "not settled", "section 2", ("",), lambda _: Measurement(0.9, 2, -np.inf, 1.5), "<=", 1.0),
        Claim("c1", "exact", "section 3", ("",), lambda _: Measurement(5.0, 1), ">", 1.0),
        Claim("d1", "nothing to measure", "section 4", ("",), lambda _: Measurement(np.nan, 0), ">", 1.0),
    )
    figures = (Figure("curves", f"Caption {IMAGE}", ("",), curves),)
    tables = (Table("losses", f"Table {SCRIPT}", ("",), table),)
    title = f"A study {IMAGE}"
    shown = {"claims": claims, "figures": figures, "tables": tables}
    return Experiment("browser", title, f"Why {SCRIPT}", {}, paper=IMAGE, **shown)


def make(root, *, rates=RATES, seeds=SEEDS, width=64, holds=True):
    """Writes the folder of a finished study and concludes it."""
    workdir, runs = Workdir(root), list(rows(rates, seeds, width))
    ids = [run["run_id"] for run in runs]
    write_table(workdir.runs, runs_frame(runs))
    points = [
        {"run_id": run["run_id"], "step": step, "learning_rate": run["schedule.peak"], "loss": 3 - step / 100}
        for run in runs
        for step in STEPS
    ]
    metrics = pd.DataFrame(points).assign(validation_loss=np.nan)
    write_table(workdir.metrics / f"{GROUP}-0-100.parquet", metrics)
    ends = [{"outcome": run["outcome"], "updates": run["updates"], "metrics": {}} for run in runs]
    group = {"runs": ids, "part": "", "configs": [], "branches": None, "outcomes": ends, "cost": {"seconds": 2.5}}
    write_json(workdir.groups / f"{GROUP}.json", group)
    lanes = [{"run_id": run_id} for run_id in ids]
    write_json(workdir.plan, {"parts": {"": ids}, "trunks": [], "groups": [{"group": GROUP, "lanes": lanes}]})
    header = {
        "experiment": "browser",
        "preset": "smoke",
        "command": f"python -m experiments.browser --config.task.path='{SCRIPT}'",
        "config": {"task": {"path": SCRIPT}, "model": {"width": width}},
        "versions": {"lrstudy": "1", "jax": IMAGE},
        "devices": ["cpu: <b>"],
    }
    write_json(workdir.config, header)
    conclude(experiment(holds), workdir, json.loads(json.dumps(header)))
    return root
