import numpy as np
import pytest

from lrstudy.benchmark.space import Range, points_of, read_space

SPACE = {"learning_rate": Range(1e-4, 1.0), "momentum": Range(0.0, 2.0, "linear")}


def test_a_range_goes_from_its_low_end_to_its_high_end():
    log, linear = SPACE["learning_rate"], SPACE["momentum"]
    # A power and a product in float64.
    assert [log.at(share) for share in (0, 0.25, 0.5, 1)] == pytest.approx([1e-4, 1e-3, 1e-2, 1.0], rel=1e-14)
    assert [linear.at(share) for share in (0, 0.25, 1)] == [0, 0.5, 2]
    assert Range(3, 3).at(0.7) == 3


@pytest.mark.parametrize("sequence", ["halton", "sobol"])
def test_points_fill_every_part_of_a_space(sequence):
    points = points_of(SPACE, 8, seed=3, sequence=sequence)
    rates = np.log10([point["learning_rate"] for point in points]) / 4 + 1
    # Of eight points of a sequence in base 2 there is one in every eighth of the first range, however scrambled.
    assert sorted(np.floor(8 * rates).astype(int)) == list(range(8))
    momenta = [point["momentum"] for point in points]
    assert 0 <= min(momenta) < 2 / 3
    assert 4 / 3 < max(momenta) <= 2


@pytest.mark.parametrize("sequence", ["halton", "sobol"])
def test_points_are_a_function_of_the_seed_and_fewer_are_the_first_of_more(sequence):
    first = points_of(SPACE, 5, seed=7, sequence=sequence)
    assert len(first) == 5
    assert points_of(SPACE, 5, seed=7, sequence=sequence) == first
    assert points_of(dict(reversed(SPACE.items())), 3, seed=7, sequence=sequence) == first[:3]
    assert points_of(SPACE, 5, seed=8, sequence=sequence) != first


def test_a_space_is_read_from_what_a_file_holds():
    found = read_space({"learning_rate": {"log": [1e-4, 1]}, "momentum": {"linear": [0, 2]}})
    assert found == SPACE
    assert read_space([{"learning_rate": 0.1}]) == [{"learning_rate": 0.1}]


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([], r"\[\]"),
        ({}, r"\{\}"),
        ([1], r"\[1\]"),
        ({"a": 1}, r"1 for a"),
        ({"a": {"log": 1}}, r"1 for a"),
        ({"a": {"log": [1, 2], "linear": [1, 2]}}, r"\{.*\} for a"),
    ],
)
def test_a_file_of_neither_ranges_nor_points_is_refused(value, got):
    with pytest.raises(ValueError, match=rf"^space must be ranges .* or a list of points .*, got {got}$"):
        read_space(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1), r"a range must have finite ends in order, got \(2, 1\)"),
        ((0, np.inf), r"a range must have finite ends in order, got \(0, inf\)"),
        (("a", "b"), r"a range must have finite ends in order, got \('a', 'b'\)"),
        ((0, 1), r"a range must have positive ends on a log scale, got \(0, 1\)"),
        ((1, 2, "lin"), r"scale must be one of \['log', 'linear'\].*, got 'lin'"),
    ],
)
def test_ranges_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Range(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, 1), r"space must have at least one range, got \{\}"),
        ((SPACE, 0), r"count must be a positive int, got 0"),
    ],
)
def test_points_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        points_of(*arguments, seed=0)
    with pytest.raises(ValueError, match=r"^sequence must be one of \['halton', 'sobol'\] .*, got 'halto'$"):
        points_of(SPACE, 2, seed=0, sequence="halto")
