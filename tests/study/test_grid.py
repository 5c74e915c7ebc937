import pytest

from lrstudy.study.grid import parse_values


def test_a_list():
    assert parse_values("1, 2,3", int) == [1, 2, 3]
    assert parse_values("a,b", str) == ["a", "b"]


def test_semicolons_separate_values_that_hold_commas():
    assert parse_values("1,2;3", str) == ["1,2", "3"]


def test_ranges_hit_their_ends_exactly():
    assert parse_values("0:1:5", float) == [0.0, 0.25, 0.5, 0.75, 1.0]
    values = parse_values("1e-4:1e-1:4:log", float)
    assert values == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1], rel=1e-11)
    assert (values[0], values[-1]) == (1e-4, 1e-1)


def test_whole_numbers_in_a_range_stay_whole():
    assert parse_values("0:10:6", int) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    "text", ["", "1,,2", "1:2:1", "1:1:3", "0:1:3:log", "1:2:3:lin", "1:2:x", "-1:1:3:log", "1:inf:3"]
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_values(text, float)


def test_a_path_with_colons_is_one_value():
    assert parse_values("a:b:c", str) == ["a:b:c"]


def test_a_range_without_its_count_is_called_one():
    with pytest.raises(ValueError, match=r"a range must be lo:hi:n or lo:hi:n:log, got '1e-4:1e-1'"):
        parse_values("1e-4:1e-1", float)
