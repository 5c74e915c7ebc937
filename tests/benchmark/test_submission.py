import json

import optax
import pytest

from lrstudy.benchmark.space import Range
from lrstudy.benchmark.submission import RULESETS, Submission


def sgd(hyperparameters, step_hint):
    return optax.sgd(hyperparameters["rate"])


POINTS = [{"rate": float(rate)} for rate in range(1, 8)]


def test_the_rulesets_are_algoperfs():
    assert RULESETS == {"external": (3, 5, 1.0), "self": (3, 1, 1.5)}


def test_points_are_drawn_without_replacement():
    drawn = Submission("a", sgd, points=POINTS).draw(RULESETS["external"], seed=4)
    assert [len(study) for study in drawn] == [5, 5, 5]
    for study in drawn:
        assert len({point["rate"] for point in study}) == 5
        assert all(point in POINTS for point in study)
    assert drawn[0] != drawn[1]


def test_a_study_has_no_more_trials_than_there_are_points():
    drawn = Submission("a", sgd, points=POINTS[:2]).draw(RULESETS["external"], seed=4)
    assert [len(study) for study in drawn] == [2, 2, 2]
    assert Submission("a", sgd).draw(RULESETS["external"], seed=4) == [[{}], [{}], [{}]]
    assert Submission("a", sgd).draw(RULESETS["self"], seed=4) == [[{}], [{}], [{}]]


def test_every_study_draws_points_of_its_own_from_a_space():
    submission = Submission("a", sgd, {"rate": Range(0.1, 1)})
    drawn = submission.draw(RULESETS["external"], seed=4)
    rates = [point["rate"] for study in drawn for point in study]
    assert len(set(rates)) == 15
    assert all(0.1 <= rate <= 1 for rate in rates)
    assert drawn == submission.draw(RULESETS["external"], seed=4)
    assert drawn[1] == submission.draw(RULESETS["external"], seed=5)[0]


def test_what_tunes_itself_trains_at_the_middle_of_its_space():
    drawn = Submission("a", sgd, {"rate": Range(0.01, 1)}).untuned().draw(RULESETS["self"], seed=4)
    # A power in float64.
    assert [point["rate"] for study in drawn for point in study] == pytest.approx([0.1] * 3, rel=1e-14)
    alone = Submission("a", sgd, points=POINTS[:1])
    assert alone.untuned() is alone
    with pytest.raises(ValueError, match=r"^points of a must be one, as nothing is tuned, got 7$"):
        Submission("a", sgd, points=POINTS).untuned()


def test_another_space_is_another_identity():
    identities = [
        Submission("a", sgd, {"rate": Range(0.1, 1)}),
        Submission("a", sgd, {"rate": Range(0.1, 2)}),
        Submission("a", sgd, points=POINTS),
        Submission("a", sgd, origin={"row": "sgd"}),
    ]
    texts = {json.dumps(one.identity(), sort_keys=True) for one in identities}
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": POINTS, "space": {}}, r"points must be left out where a space is given, got both"),
        ({"points": []}, r"points must hold at least one point, got \[\]"),
        ({"points": [{"a": 1}, {"b": 1}]}, r"points must name the same hyperparameters, got \{'a': 1\} and \{'b': 1\}"),
        ({"points": [{"a": True}]}, r"points must hold numbers, got True in \{'a': True\}"),
        ({"points": [{"a": "b"}]}, r"points must hold numbers, got 'b' in \{'a': 'b'\}"),
        ({"gradients_per_step": 0}, r"gradients_per_step must be a number of at least 1, got 0"),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Submission("a", sgd, **arguments)
    with pytest.raises(ValueError, match=r"^name must be one that a folder can have, got '\.\./a'$"):
        Submission("../a", sgd, **arguments)
