"""A study's smoke preset, run as its user runs it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def smoke_run(experiment, folder, *flags):
    """Runs it and checks that nothing is missing: every claim, figure, table and probe.

    Args:
        experiment: the study.
        folder: of the run.
        flags: further ones of the command line.

    Returns:
        Claim id to its entry of ``claims.json``.
    """
    line = [sys.executable, "-W", "error", "-m", f"experiments.{experiment.name}", "--preset=smoke"]
    line += [f"--workdir={folder}", *flags]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = json.loads((folder / "claims.json").read_text())["claims"]
    assert [entry["id"] for entry in entries] == [claim.claim_id for claim in experiment.claims], done.stderr
    assert {path.stem for path in (folder / "figures").iterdir()} == {figure.name for figure in experiment.figures}
    report = (folder / "report.html").read_text()
    assert "not drawn" not in report
    assert "not made" not in report
    return {entry["id"]: entry for entry in entries}
