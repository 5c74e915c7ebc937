"""Published constants and worked values of the laws."""

import numpy as np
import pytest

from benchmarks.real_curves import rates, split
from lrstudy.laws import (
    BESIROGLU,
    HOFFMANN,
    AnnealingLaw,
    BatchTradeoff,
    ConvexBound,
    CriticalBatch,
    KaplanStepsLaw,
    MultiPowerLaw,
    PowerLearningRate,
    StepLaw,
    batch_tradeoff,
    scores,
)
from lrstudy.laws.rate_path import rate_path
from lrstudy.laws.scores import average
from lrstudy.schedules import Constant, bound
from tests.laws.real_curves import real_curves

# arXiv:2408.11029, figure 2: 594M parameters, highest rate 2e-4.
FIGURE_2 = AnnealingLaw(2.628, 0.429, 0.550, 0.411)


def cosine(steps):
    return 1e-4 * (1 + np.cos(np.pi * np.arange(1, steps + 1) / steps))


@pytest.mark.parametrize(("decay", "expected"), [(0.5, [0, 0, 2, 3, 4.5, 6.25]), (0.0, [0, 0, 2, 2, 3, 4])])
def test_sums_of_a_hand_made_schedule(decay, expected):
    path = rate_path(np.array([4.0, 4, 2, 2, 1, 0]), 6)
    rows = AnnealingLaw(1, 1, 1, 1, decay=decay).rows(path, np.arange(6))
    np.testing.assert_allclose(rows["S1"], [4, 8, 10, 12, 13, 13], rtol=1e-15)
    np.testing.assert_allclose(rows["S2"], expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (np.full(20_000, 2e-4), 2.828136),
        (cosine(20_000), 2.839812),
        (np.concatenate([np.full(40_000, 2e-4), cosine(10_000)]), 2.677610),
        (np.full(60_000, 2e-4), 2.737372),
    ],
)
def test_losses_of_the_annealing_law(schedule, expected):
    assert FIGURE_2.predict(schedule, steps=[len(schedule) - 1])[0] == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("steps", "share"), [(20_000, 0.26), (60_000, 0.18), (100_000, 0.14)])
def test_the_best_share_of_annealing_falls_with_the_length(steps, share):
    def loss(part):
        anneal = round(part * steps)
        schedule = np.concatenate([np.full(steps - anneal, 2e-4), cosine(anneal)])
        return FIGURE_2.predict(schedule, steps=[steps - 1])[0]

    grid = np.arange(1, 50) * 0.02
    assert grid[np.argmin([loss(part) for part in grid])] == pytest.approx(share, abs=1e-9)


# Parameters of the authors' released code, which counts the warmup's rise as a negative drop.
RELEASED = {
    "llama_25m": (MultiPowerLaw(3.04045, 0.52469, 0.50787, 363.788, 2.06561, 0.58279, 0.64142), 0.99880, 0.003760),
    "llama_100m": (MultiPowerLaw(2.65145, 0.60115, 0.45296, 437.946, 2.13246, 0.59785, 0.65524), 0.99830, 0.004348),
}


@pytest.mark.parametrize("size", RELEASED)
def test_the_released_multi_power_laws_predict_as_published(size):
    law, r2, mae = RELEASED[size]
    _, held_out = split(real_curves(size))
    found = []
    for name, curve in held_out.items():
        found.append(scores(law.predict(rates(name), steps=curve.steps), curve.losses))
    # The parameters are printed to five or six digits.
    assert average(found)["r2"] == pytest.approx(r2, abs=1e-5)
    assert average(found)["mae"] == pytest.approx(mae, abs=1e-5)


def test_chinchilla():
    assert BESIROGLU.predict(70e9, 1.4e12) == pytest.approx(1.97388, abs=5e-6)
    assert HOFFMANN.predict(70e9, 1.4e12) == pytest.approx(1.93665, abs=5e-6)
    size, tokens = BESIROGLU.best_split(5.76e23)
    assert size == pytest.approx(7.225e10, rel=1e-3)
    assert tokens / size == pytest.approx(18.4, abs=0.05)
    size, tokens = HOFFMANN.best_split(5.76e23)
    assert size == pytest.approx(3.219e10, rel=1e-3)
    assert tokens / size == pytest.approx(92.6, abs=0.1)
    # No other split of the budget does better.
    around = size * np.geomspace(0.5, 2, 101)
    assert HOFFMANN.predict(around, 5.76e23 / 6 / around).min() == pytest.approx(float(HOFFMANN.predict(size, tokens)))


def test_step_law():
    rate, batch = StepLaw().predict(7e9, 1.4e12)
    assert rate == pytest.approx(9.1656e-4, rel=1e-4)
    assert batch == pytest.approx(4_998_815, rel=1e-6)
    rate, batch = StepLaw().predict(1e9, 1e11)
    assert rate == pytest.approx(1.6325e-3, rel=1e-4)
    assert batch == pytest.approx(1_107_715, rel=1e-6)


def test_power_scheduler():
    assert PowerLearningRate().predict(1024, 1e13) == pytest.approx(0.00110423, abs=5e-9)


def test_at_the_critical_batch_both_are_doubled():
    critical = CriticalBatch()
    batch = critical.predict(3.0)
    assert critical.least_steps(1000.0, batch, 3.0) == pytest.approx(500)
    assert critical.least_compute(8.0, batch, 3.0) == pytest.approx(4)
    assert critical.predict(1.0) == pytest.approx(2.1e8)
    tradeoff = BatchTradeoff(2_000.0, 1e6)
    assert tradeoff.steps(tradeoff.critical_batch) == pytest.approx(4_000)
    batches = np.array([10.0, 100, 500, 3_000])
    steps = tradeoff.steps(batches)
    examples = steps * batches
    np.testing.assert_allclose((steps / 2_000 - 1) * (examples / 1e6 - 1), 1)
    assert batch_tradeoff(batches, steps) == pytest.approx(tradeoff)


def test_a_trajectory_solves_for_the_loss_on_both_sides():
    law, critical = KaplanStepsLaw(), CriticalBatch()
    size, steps, batch = np.array([1e7, 1e8, 1e9]), np.array([1e3, 1e5, 1e6]), np.array([[1e4], [1e6], [1e9]])
    loss = law.trajectory(size, steps, batch, critical)
    np.testing.assert_allclose(law.predict(size, critical.least_steps(steps, batch, loss)), loss, rtol=1e-12)
    assert (np.diff(loss, axis=0) < 0).all()
    # A batch far above the critical one needs the least updates.
    np.testing.assert_allclose(law.trajectory(size, steps, 1e30, critical), law.predict(size, steps), rtol=1e-9)


def test_the_convex_bound_is_that_of_the_schedules_room():
    constant = np.ones(400)
    assert ConvexBound().predict(constant, steps=[399])[0] == pytest.approx(3.78496485, abs=1e-8)
    law = ConvexBound(D=2.0, G=3.0, floor=1.5)
    assert law.predict(Constant(0.1), steps=[99])[0] == pytest.approx(
        1.5 + bound(Constant(0.1), G=3, D=2, total_steps=100)
    )
