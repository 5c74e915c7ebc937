"""The study of loss laws: its smoke run, its names, and the curves that ship with it."""

import numpy as np
import pytest

from experiments import loss_laws as study
from experiments import loss_laws_measures as measures
from experiments.loss_laws_curves import SHIPPED, shipped_curves, write_curves
from lrstudy.laws import AnnealingLaw, MultiPowerLaw
from lrstudy.laws.scores import average
from lrstudy.study.config import resolve
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run


@takes_minutes
def test_smoke(tmp_path):
    entries = smoke_run(study.EXPERIMENT, tmp_path)
    assert all(entry["measured"] is not None for entry in entries.values())


@pytest.mark.parametrize("preset", study.SCALES)
def test_every_run_has_a_name_of_its_own(preset):
    scale = study.SCALES[preset]
    parts = study.parts(scale)
    for part, names in (("curves", (*measures.FITTED, *measures.PREDICTED)), ("hand", measures.HAND_MADE)):
        configs = list(parts[part].configs())
        seeds = len({config.seed for config in configs})
        found = [measures.name_of(resolve(c).schedule, c.steps > scale.steps) for c in configs[::seeds]]
        assert found == list(names)


def test_the_shipped_curves_are_fitted_without_training():
    curves = shipped_curves()
    assert list(curves) == sorted((*measures.FITTED, *measures.PREDICTED))
    fitted = {name: curves[name] for name in measures.FITTED}
    others = {name: curves[name] for name in measures.PREDICTED}
    law = MultiPowerLaw.fit(fitted, starts=16, resamples=0).law
    # As claim b1 has it.
    assert average(law.scores(others).values())["relative_error"] <= 0.0075


def test_curves_are_written_as_they_are_read(tmp_path):
    write_curves(shipped_curves(), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == SHIPPED.read_text()


def test_fits_of_the_same_curves_are_made_once():
    law, steps = AnnealingLaw(1.2, 0.9, 0.3, 2.0), np.arange(20, 200, 5)
    from lrstudy.laws import Curve

    rates = {name: np.full(200, 1e-2) * np.linspace(1, 1 - i / 5, 200) for i, name in enumerate(measures.FITTED)}
    curves = {n: Curve(steps, r[steps], law.predict(r, steps=steps), schedule=r) for n, r in rates.items()}
    asked = ("annealing", "convex bound")
    first, again = (measures.fits(dict(curves), resamples=0, laws=asked) for _ in range(2))
    assert all(first[name] is again[name] for name in asked)
    with pytest.raises(RuntimeError, match="no run of constant has finished"):
        measures.fits({n: c for n, c in curves.items() if n != "constant"})
