import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lrstudy.benchmark import profile, score, speedup

INF = math.inf


def table(columns, index):
    return pd.DataFrame({name: [float(x) for x in values] for name, values in columns.items()}, index=list(index))


HAND = table({"w1": (10, 20, 41), "w2": (20, 10, 25), "w3": (30, 45, INF), "w4": (40, INF, 160)}, "ABC")

# The v0.5 leaderboards of AlgoPerf, as published.
LEADERBOARDS = {
    "external": {
        "shampoo_submission": 0.7784,
        "schedule_free_adamw": 0.7077,
        "generalized_adam": 0.6383,
        "cyclic_lr": 0.6301,
        "nadamp": 0.5909,
        "baseline": 0.5707,
        "amos": 0.4918,
        "caspr_adaptive": 0.4722,
        "lawa_queue": 0.3699,
        "lawa_ema": 0.3384,
        "schedule_free_prodigy": 0.0,
    },
    "self": {
        "schedule_free_adamw": 0.8542,
        "baseline": 0.8194,
        "nadamw_sequential": 0.3308,
        "sinv6_75": 0.1420,
        "sinv6": 0.0903,
        "adamg": 0.0,
    },
}


@pytest.mark.parametrize("ruleset", LEADERBOARDS)
def test_the_published_leaderboards_are_reproduced(ruleset):
    path = Path(os.environ.get("LRSTUDY_DATA", "")).parent / "spec" / f"algoperf_v05_{ruleset}_times.csv"
    if "LRSTUDY_DATA" not in os.environ or not path.is_file():
        pytest.skip(f"there is no {path.name} in the neighbour of the folder that LRSTUDY_DATA names")
    times = pd.read_csv(path, index_col="submission")
    found = score(times, rule="parity")
    assert {name: round(value, 4) for name, value in found.items()} == LEADERBOARDS[ruleset]
    assert found == score(times, rule="parity", workloads=8)
    # A trapezoid over a step function is off by half a cell at most, of which there are 99.
    for name, value in score(times).items():
        assert abs(value - found[name]) <= 0.5 / 99


@pytest.mark.parametrize(
    ("tau", "shares"),
    [(1, (0.75, 0.25, 0)), (1.4848, (0.75, 0.25, 0)), (1.5, (0.75, 0.5, 0)), (2, (1, 0.75, 0)), (4, (1, 0.75, 0.5))],
)
def test_the_profile_of_the_table_made_by_hand(tau, shares):
    found = profile(HAND, [tau])
    assert list(found.index) == ["A", "B", "C"]
    assert list(found.columns) == [tau]
    assert tuple(found[tau]) == shares


def test_the_scores_of_the_table_made_by_hand():
    assert score(HAND, rule="parity") == pytest.approx({"A": 0.917929, "B": 0.626263, "C": 0.126263}, abs=5e-7)
    assert score(HAND) == pytest.approx({"A": 0.916667, "B": 0.625, "C": 0.125}, abs=5e-7)
    # A grid of 1000 points lies between the two.
    taus = np.linspace(1, 4, 1000)
    areas = np.trapezoid(profile(HAND, taus).to_numpy(), taus, axis=1) / 3
    np.testing.assert_allclose(areas, (0.916792, 0.625125, 0.125125), atol=5e-7)


def test_the_exact_score_is_the_integral_of_the_profile():
    rng = np.random.default_rng(0)
    times = table({f"w{i}": rng.uniform(1, 9, 6) for i in range(5)}, "ABCDEF").mask(rng.random((6, 5)) < 0.2)
    for tau_max in (1.5, 4.0, 11.0):
        # Both ends of every step of the profile, so that its area is exact.
        ratios = np.unique((times / times.min()).to_numpy())
        edges = np.concatenate([[1.0], ratios[(ratios > 1) & (ratios < tau_max)], [tau_max]])
        areas = profile(times, edges[:-1], tau_max=tau_max).to_numpy() @ np.diff(edges) / (tau_max - 1)
        np.testing.assert_allclose(list(score(times, tau_max=tau_max).values()), areas, rtol=1e-12)


def test_more_than_four_times_the_fastest_is_strict():
    times = table({"w": (10, 40, 40.0001), "w_wide": (1, 1, 1)}, "ABC")
    assert list(profile(times, [4])[4]) == [1, 1, 0]
    # On a variant too: just four times as long is met, more is a miss of the workload.
    times = table({"w": (10, 10, 10), "w_wide": (10, 40, 40.0001)}, "ABC")
    assert score(times) == {"A": 1, "B": 1, "C": 0}
    assert score(times, tau_max=4.00002) == {"A": 1, "B": 1, "C": 1}


def test_held_out_variants_follow_their_rules_in_order():
    columns = {
        "w": (5, 10, 16, INF),
        "w_wide": (100, 20, 30, 2),  # D's is not counted: it missed the workload, so the fastest is B's
        "v": (10, 10, 20, 20),
        "v_deep": (INF, 1, np.nan, 2),
    }
    # A is 5 times slower than the fastest on w_wide, so it has no time on w, and 10 is the fastest there.
    assert score(table(columns, "ABCD")) == pytest.approx({"A": 0, "B": 1, "C": 2.4 / 6, "D": 2 / 6})
    without = {name: values for name, values in columns.items() if "_" not in name}
    assert score(table(without, "ABCD"))["A"] == 1


def test_a_variant_belongs_to_the_longest_workload_that_its_name_begins_with():
    times = table({"net": (1, 1), "net_big": (1, 8), "network": (3, 1)}, "AB")
    # net_big is held out; network, which also begins so, is a workload.
    assert score(times) == pytest.approx({"A": (1 + 1 / 3) / 2, "B": 1 / 2})
    # Names are prefixes of one another twice over: the first is the workload of both.
    times = table({"net": (1, 1), "net_big": (1, 1), "net_big_wide": (1, 9)}, "AB")
    assert score(times) == {"A": 1, "B": 0}


def test_a_workload_that_nobody_solves_is_counted():
    times = table({"w": (1, 2), "v": (INF, np.nan)}, "AB")
    for rule in ("exact", "parity"):
        assert score(times, rule=rule)["A"] == 0.5
    assert score(times[["w"]], workloads=2)["A"] == 0.5


def test_nothing_is_changed_and_the_order_is_kept():
    columns = {"w": (9, 1, 2), "w_wide": (1, 9, 1)}
    times = table(columns, "BCA")
    assert list(score(times)) == ["B", "C", "A"]
    pd.testing.assert_frame_equal(times, table(columns, "BCA"))


def test_a_speedup_above_one_is_a_faster_submission():
    times = table({"w": (10, 40), "w_wide": (1, 50), "v": (20, 20)}, "AB")
    # sqrt(4 * 1); the variant does not count.
    assert speedup(times, "A", "B") == pytest.approx(2)
    assert speedup(times, "B", "A") == pytest.approx(0.5)
    assert speedup(times, "A", "A") == 1
    missed = table({"w": (10, INF), "v": (20, 20)}, "AB")
    assert speedup(missed, "A", "B", budgets={"w": 90}) == pytest.approx(3)
    with pytest.raises(ValueError, match=r"^budgets must hold a positive number for 'w', which was missed, got None$"):
        speedup(missed, "A", "B")
    with pytest.raises(ValueError, match=r"^baseline must be one of \['A', 'B'\], got 'C'$"):
        speedup(times, "A", "C")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"w": 1}, r"times must be a DataFrame with a submission and a workload at least, got dict of shape \(\)"),
        (pd.DataFrame(), r"times must be a DataFrame with a .* at least, got DataFrame of shape \(0, 0\)"),
        (table({"w": (1, 2)}, "AA"), r"times must have submissions of different names, got 'A' twice"),
        (pd.DataFrame({"submission": ["A"], "w": [1.0]}), r"times must be numbers, got 'A' in column 'submission'"),
        (table({"w": (1, 0)}, "AB"), r"times must be positive, infinite for a miss, got 0\.0 for 'B' on 'w'"),
        (table({"w": (1, -INF)}, "AB"), r"times must be positive, infinite for a miss, got -inf for 'B' on 'w'"),
    ],
)
def test_a_table_that_is_none_is_refused(times, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        score(times)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "exakt"}, r"rule must be one of \['exact', 'parity'\] \(nearest: 'exact'\), got 'exakt'"),
        ({"tau_max": 1.0}, r"tau_max must be a finite number above 1, got 1\.0"),
        ({"tau_max": INF, "rule": "parity"}, r"tau_max must be a finite number above 1, got inf"),
        ({"workloads": 3}, r"workloads must be None or an int of at least 4, those there are, got 3"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        score(HAND, **arguments)


@pytest.mark.parametrize("taus", [[], [0.5], [math.nan], 2.0])
def test_ratios_below_one_are_refused(taus):
    with pytest.raises(ValueError, match=r"^taus must be one or more ratios of at least 1, got "):
        profile(HAND, taus)
