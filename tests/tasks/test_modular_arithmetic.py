import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import BiasFreeMLP
from lrstudy.tasks import ModularArithmetic

RESULTS = {
    "addition": lambda a, b: (a + b) % 5,
    "subtraction": lambda a, b: (a - b) % 5,
    "multiplication": lambda a, b: a * b % 5,
}


@pytest.mark.parametrize("operation", RESULTS)
def test_every_pair_is_in_one_part_with_its_result(operation):
    data = ModularArithmetic(modulus=5, operation=operation, train_share=0.5, batch_size=3).load()
    assert {name: len(values) for name, values in data.items()} == {
        "train_pairs": 12,
        "train_results": 12,
        "validation_pairs": 13,
        "validation_results": 13,
    }
    pairs = np.concatenate([data["train_pairs"], data["validation_pairs"]])
    assert sorted(map(tuple, pairs.tolist())) == [(a, b) for a in range(5) for b in range(5)]
    results = np.concatenate([data["train_results"], data["validation_results"]])
    assert results.tolist() == [RESULTS[operation](a, b) for a, b in pairs.tolist()]


def test_an_epoch_visits_the_pairs_once_and_another_in_another_order():
    task = ModularArithmetic(modulus=5, train_share=0.5, batch_size=4)
    data = task.load()
    drawn = jax.jit(jax.vmap(task.batch, in_axes=(None, None, 0)))(data, jnp.int32(1), jnp.arange(6))
    first, second = np.asarray(drawn[0]).reshape(2, 12, 2)
    seen = sorted(map(tuple, data["train_pairs"].tolist()))
    assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist())) == seen
    assert not np.array_equal(first, second)


def test_another_split_has_other_pairs():
    first, second = (ModularArithmetic(split_seed=seed).load()["train_pairs"] for seed in (0, 1))
    assert len(first) == len(second) == int(0.4 * 113**2)
    assert not np.array_equal(first, second)


def test_a_share_of_the_results_that_are_seen_is_wrong():
    whole = ModularArithmetic(modulus=11, batch_size=1).load()
    wrong = {}
    for share in (0.1, 0.25, 1.0):
        data = ModularArithmetic(modulus=11, batch_size=1, corrupted=share).load()
        for name in ("train_pairs", "validation_pairs", "validation_results"):
            np.testing.assert_array_equal(data[name], whole[name])
        assert data["train_results"].dtype == np.int32
        assert set(data["train_results"].tolist()) <= set(range(11))
        wrong[share] = data["train_results"] != whole["train_results"]
        assert wrong[share].sum() == round(share * 48)
    # A larger share keeps what a smaller one has.
    assert (wrong[0.25] >= wrong[0.1]).all()
    small, large = (
        ModularArithmetic(modulus=11, batch_size=1, corrupted=s).load()["train_results"] for s in (0.1, 1.0)
    )
    np.testing.assert_array_equal(small[wrong[0.1]], large[wrong[0.1]])


def test_wrong_results_are_evenly_distributed_and_the_split_seeds():
    right, first, second = (
        ModularArithmetic(modulus=61, train_share=0.99, split_seed=seed, corrupted=share).load()
        for seed, share in ((0, 0.0), (0, 1.0), (1, 1.0))
    )
    errors = (first["train_results"] - right["train_results"]) % 61
    counts = np.bincount(errors, minlength=61)
    assert counts[0] == 0
    # Each of 60 errors is as likely: the sum of squares of 60 normal numbers, but for one, below its 99.99% quantile.
    expected = len(errors) / 60
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 110
    others = dict(zip(map(tuple, second["train_pairs"].tolist()), second["train_results"].tolist(), strict=True))
    pairs = map(tuple, first["train_pairs"].tolist())
    same = [others[p] == r for p, r in zip(pairs, first["train_results"].tolist(), strict=True) if p in others]
    assert np.mean(same) < 0.1


SCORES = np.float32([[17, 0, -100], [16, 0, -100], [0, 0, 0]])
"""By the first residue. In float32 1 + exp(-17) is 1 and 1 + exp(-16) is not: half a last bit of one is exp(-16.6)."""


@pytest.fixture(scope="module", params=["softmax", "stablemax"])
def known(request):
    """A task whose scores are known, its data, and the evaluation."""
    model = BiasFreeMLP(outputs=3, layers=0)
    task = ModularArithmetic(modulus=3, train_share=0.9, batch_size=8, cross_entropy=request.param, model=model)
    params = {"readout": {"kernel": jnp.concatenate([SCORES, jnp.zeros((3, 3))])}}
    data = task.load()
    return task, data, params, jax.jit(task.evaluate)(params, data)


def test_a_pair_collapses_where_the_largest_score_leaves_nothing_of_the_others(known):
    task, data, _, metrics = known
    first, results = data["train_pairs"][:, 0], data["train_results"]
    right = (first == 0) & (results == 0)
    assert 0 < right.sum() < (first == 0).sum()
    # It is what a softmax would do with these scores, whichever loss is trained.
    assert metrics["softmax_collapse"] == np.mean(first == 0)
    # A collapsed pair of another result has a loss of 17 or more and pulls at its score. The loss of the softmax is the
    # difference of 16 + log(1 + exp(-16)) and 16, which is lost before its gradient is.
    softmax = task.cross_entropy == "softmax"
    assert metrics["zero_pull"] == softmax * np.mean(right)
    assert metrics["zero_loss"] == softmax * np.mean((first < 2) & (results == 0))
    assert metrics["train_accuracy"] == np.mean(results == 0)


def test_the_loss_is_the_chosen_cross_entropy(known):
    task, data, params, metrics = known
    scores = SCORES.astype(np.float64)
    stable = np.where(scores >= 0, 1 + scores, 1 / (1 + np.abs(scores)))
    weights = np.exp(scores) if task.cross_entropy == "softmax" else stable
    losses = -np.log(weights / weights.sum(1, keepdims=True))
    for part in ("train", "validation"):
        pairs, results = data[f"{part}_pairs"], data[f"{part}_results"]
        expected = losses[pairs[:, 0], results].mean()
        found = (
            metrics["validation_loss"]
            if part == "validation"
            else task.loss(params, tuple(map(jnp.asarray, (pairs, results))))[0]
        )
        # Means of at most eight losses of at most 120, each good to a few roundings of 6e-8.
        np.testing.assert_allclose(found, expected, rtol=8 * 6e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modulus": 1}, r"task\.modulus must be an int of at least 2, got 1"),
        ({"operation": "adition"}, r"task\.operation must be one of \[.*\] \(nearest: 'addition'\), got 'adition'"),
        (
            {"train_share": 1.0},
            r"task\.train_share must be a share that leaves at least one of 12769 pairs .* got 1\.0",
        ),
        (
            {"modulus": 2, "train_share": 0.2},
            r"task\.train_share must be a share that leaves .* of 4 pairs .* got 0\.2",
        ),
        (
            {"cross_entropy": "softmix"},
            r"task\.cross_entropy must be one of \['softmax', 'stablemax'\] \(nearest: 'softmax'\), got 'softmix'",
        ),
        ({"corrupted": 1.5}, r"task\.corrupted must be in \[0, 1\], got 1\.5"),
        ({"modulus": 3, "batch_size": 4}, r"task\.batch_size must be in \[1, 3\], got 4"),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ModularArithmetic(**arguments)
