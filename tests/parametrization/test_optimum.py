import math

import numpy as np
import pytest

from lrstudy.parametrization import Optimum, optimal_learning_rate

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


def parabola(rates, vertex, curvature, floor=1.7):
    return [floor + curvature * (math.log(rate) - math.log(vertex)) ** 2 for rate in rates]


@pytest.mark.parametrize("vertex", [2.5e-4, 3e-4, 7e-4, 1e-3, 1.6e-3, 5.1e-3])
@pytest.mark.parametrize("curvature", [1e-3, 0.3, 40.0])
def test_a_parabola_in_log_rate_has_its_own_vertex(vertex, curvature):
    losses = parabola(RATES, vertex, curvature)
    # With neighbours about h = 1.1 apart, an error e in each loss moves the vertex by about e / (curvature h), so
    # log(value) by at most a few eps * loss / curvature: ten of them leave room for the least squares' own rounding.
    tolerance = 10 * np.finfo(float).eps * (max(losses) / curvature + abs(math.log(vertex)))
    optimum = optimal_learning_rate(RATES, losses)
    assert not optimum.on_edge
    assert abs(math.log(optimum.value / vertex)) <= tolerance


def test_neighbours_need_not_be_evenly_spaced():
    rates = [1e-5, 1e-3, 1.5e-3, 9e-2]
    optimum = optimal_learning_rate(rates, parabola(rates, 1.3e-3, 0.1))
    # The same bound with a smallest spacing of h = 0.4, which enters squared.
    assert abs(math.log(optimum.value / 1.3e-3)) < 1e-12


def test_only_the_lowest_point_and_its_neighbours_count():
    losses = parabola(RATES, 1.2e-3, 0.1)
    outer = [9.0, *losses[1:4], math.inf]
    assert optimal_learning_rate(RATES, outer) == optimal_learning_rate(RATES, losses)


def test_the_order_of_the_grid_does_not_matter():
    losses = parabola(RATES, 7e-4, 0.1)
    order = [3, 0, 4, 2, 1]
    shuffled = optimal_learning_rate([RATES[i] for i in order], [losses[i] for i in order])
    assert shuffled == optimal_learning_rate(RATES, losses)


def test_scaling_the_rates_scales_the_optimum_and_the_loss_scale_does_not_matter():
    losses = parabola(RATES, 7e-4, 0.1)
    value = optimal_learning_rate(RATES, losses).value
    scaled = optimal_learning_rate([1000 * rate for rate in RATES], [4 * loss + 3 for loss in losses]).value
    # Rounding alone, by the bound of the first test: the loss over the curvature is about 1.7 / 0.1.
    assert math.isclose(scaled, 1000 * value, rel_tol=1e-13)


@pytest.mark.parametrize(("losses", "value"), [([1, 2, 3, 4, 5], 1e-4), ([5, 4, 3, 2, 1], 1e-2)])
def test_an_optimum_on_either_edge_is_flagged(losses, value):
    assert optimal_learning_rate(RATES, losses) == Optimum(value, on_edge=True)


@pytest.mark.parametrize(
    ("losses", "value"), [([5, 4, 3, 2, 2], 1e-2), ([2, 2, 3, 4, 5], 1e-4), ([2, 3, 2, 3, 2], 1e-2)]
)
def test_a_tie_with_an_edge_is_no_optimum(losses, value):
    assert optimal_learning_rate(RATES, losses) == Optimum(value, on_edge=True)


def test_the_edge_is_that_of_the_rates_and_not_of_the_list():
    assert optimal_learning_rate([1e-3, 1e-4, 1e-2], [1.0, 2.0, 3.0]).on_edge is False
    assert optimal_learning_rate([1e-3, 1e-4, 1e-2], [3.0, 1.0, 2.0]) == Optimum(1e-4, on_edge=True)


def test_one_rate_is_an_edge():
    assert optimal_learning_rate([1e-3], [2.0]) == Optimum(1e-3, on_edge=True)


@pytest.mark.parametrize("diverged", [math.inf, math.nan, -math.inf])
def test_a_diverged_neighbour_leaves_the_rate_of_the_grid(diverged):
    losses = [3.0, 2.0, 1.0, diverged, 4.0]
    assert optimal_learning_rate(RATES, losses) == Optimum(1e-3, on_edge=False)


@pytest.mark.parametrize("diverged", [math.inf, math.nan, -math.inf])
def test_the_last_rate_before_divergence_is_inside_the_grid(diverged):
    losses = [3.0, 2.0, 1.5, 1.0, diverged]
    assert optimal_learning_rate(RATES, losses) == Optimum(3e-3, on_edge=False)
    assert optimal_learning_rate(RATES, [diverged] * 4 + [5.0]) == Optimum(1e-2, on_edge=True)


def test_a_plateau_does_not_bend_upwards():
    optimum = optimal_learning_rate(RATES, [2.0, 1.0, 1.0, 1.0, 2.0])
    # Its first point is the lowest found, and its parabola bends: the vertex lies between it and the next.
    assert 3e-4 < optimum.value < 1e-3
    assert optimal_learning_rate(RATES, [1.0] * 5).on_edge


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        ([1e-3, 1e-2], [1.0], r"losses must hold one value a rate, got \(1,\) for \(2,\)"),
        ([], [], "losses must hold one value a rate"),
        ([[1e-3]], [[1.0]], "losses must hold one value a rate"),
        ([0.0, 1e-3], [1.0, 2.0], "learning_rates must be positive, finite and different"),
        ([-1e-3, 1e-3], [1.0, 2.0], "learning_rates must be positive, finite and different"),
        ([math.nan, 1e-3], [1.0, 2.0], "learning_rates must be positive, finite and different"),
        ([1e-3, 1e-2, 1e-3], [1.0, 2.0, 3.0], "learning_rates must be positive, finite and different"),
        ([1e-3, 1e-2], [math.nan, math.inf], "losses must hold a finite value: every rate diverged"),
    ],
)
def test_errors(rates, losses, message):
    with pytest.raises(ValueError, match=message):
        optimal_learning_rate(rates, losses)
