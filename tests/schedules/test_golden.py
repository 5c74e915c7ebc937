"""Published and independently recomputed values: G1 to G13 to 2e-7 of the peak in float32, to 1e-12 in float64.

In float64 the printed digits are what limits a comparison with them; the formulas that reproduce those digits are then
compared with to 1e-12.
"""

import jax
import numpy as np
import pytest

from lrstudy.schedules import WSD, Exponential, Power, Tabulated

from .cases import highest
from .golden import EXPONENT, FLOAT32, FLOAT64, ROWS, exact, in_float64
from .reference import rates

IDS = [f"{row.table}-{row.name}" for row in ROWS]


@pytest.fixture(scope="module")
def float64():
    return dict(zip(IDS, in_float64(ROWS), strict=True))


def test_every_table_has_rows():
    assert {row.table for row in ROWS} == {f"G{i}" for i in range(1, 14)}
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_float32(row):
    found = rates(row.schedule, row.steps)
    assert found.dtype == np.float32
    slack = row.float32 * row.unit()
    if row.cut is None:
        np.testing.assert_allclose(found, row.values, rtol=0, atol=slack)
    else:
        behind = found - row.values
        assert (behind >= -slack).all()
        assert (behind < row.printed() + slack).all()
    np.testing.assert_allclose(found, exact(row), rtol=0, atol=slack)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_float64(row, float64):
    found = float64[f"{row.table}-{row.name}"]
    assert found.dtype == np.float64
    slack = FLOAT64 * row.unit()
    np.testing.assert_allclose(found, exact(row), rtol=0, atol=slack)
    assert (np.abs(found - row.values) <= row.printed() + slack).all()


# Rates of the law itself, min(0.02, beta a n**b), at n tokens.
LAW_TOKENS = [1e9, 1e10, 1e11, 1e12, 1e13]
LAW = {
    1024: [0.02, 0.02, 0.0100544877186, 0.00310713374732, 0.000960196122755],
    128: [0.0131604264078, 0.00406696056179, 0.00125681096483, 0.000388391718415],
}
# Where the cap stops binding: n with beta a n**b = 0.02.
CROSSINGS = {1024: 2.5964051e10, 128: 4.4015716e8}


@pytest.mark.parametrize("batch_size", LAW)
def test_power_law(batch_size):
    schedule = Power(batch_size=batch_size, sequence_length=1024)
    tokens = np.array(LAW_TOKENS[: len(LAW[batch_size])])
    np.testing.assert_allclose(schedule.law(tokens), LAW[batch_size], rtol=0, atol=EXPONENT * 0.02)
    with jax.enable_x64(True):
        # Printed to twelve digits.
        np.testing.assert_allclose(schedule.law(tokens), LAW[batch_size], rtol=5e-12, atol=FLOAT64 * 0.02)
        around = np.asarray(schedule.law(CROSSINGS[batch_size] * np.array([1 - 1e-7, 1 + 1e-7])))
    # The crossings are printed to eight digits.
    assert around[0] == 0.02 > around[1]


def test_power_law_of_the_paper():
    # 4.6 n**-0.51 a sequence: the paper prints 0.0011 for 1024 sequences and 1e13 tokens.
    law = Power(1.0, batch_size=1024, sequence_length=4096, a=4.6).law(1e13)
    np.testing.assert_allclose(law, 0.00110422554, rtol=FLOAT32 + 9.5e-9 * np.log(1e13))


def test_half_life_is_an_exponential():
    powers = 0.5 ** np.arange(5)
    for schedule in (
        WSD(1.0, 100, decay_steps=20, shape="exponential", end=2**-4),
        Exponential(1.0, 100, warmup_steps=80, half_life=5.0),
    ):
        found = rates(schedule, [80, 85, 90, 95, 100])
        np.testing.assert_allclose(found, powers, rtol=0, atol=FLOAT32 * highest(schedule))
    # Whole halvings are powers of two, without a rounding.
    np.testing.assert_array_equal(rates(Exponential(1.0, 500, half_life=5.0), [0, 5, 10, 500]), [1, 0.5, 0.25, 2**-100])


def test_tabulated():
    table = [1.0, 0.5, 0.0]
    np.testing.assert_array_equal(rates(Tabulated(table), [0, 1, 2, 9]), [1, 0.5, 0, 0])
    np.testing.assert_array_equal(rates(Tabulated(table, total_steps=5), range(6)), [1, 0.75, 0.5, 0.25, 0, 0])
    held = Tabulated(table, total_steps=5, mode="hold", scale=2.0)
    np.testing.assert_array_equal(rates(held, range(6)), [2, 2, 1, 1, 0, 0])
