import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        ({"modulus": 3, "batch_size": 4}, r"task\.batch_size must be in \[1, 3\], got 4"),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ModularArithmetic(**arguments)
