"""Modular arithmetic: a table of results of which a part is seen, and the rest to be understood."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from lrstudy.schedules.checks import one_of
from lrstudy.stablemax import stablemax_cross_entropy
from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, stream_key

OPERATIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "addition": np.add,
    "subtraction": np.subtract,
    "multiplication": np.multiply,
}
CROSS_ENTROPIES: Mapping[str, Callable[[Array, Array], Array]] = {
    "softmax": optax.softmax_cross_entropy_with_integer_labels,
    "stablemax": stablemax_cross_entropy,
}
"""Name to scores and results to a loss for each."""

_LABEL_STREAM = 1


@functools.cache
def splits(
    modulus: int, operation: str, train_share: float, split_seed: int, corrupted: float = 0.0
) -> dict[str, np.ndarray]:
    """All pairs of residues and their results, shuffled by a seed and cut into what is seen and what is not.

    Of the results that are seen a share is wrong. Which pairs are seen does not depend on that share, and those whose
    results are wrong under a small one are among those under a larger one, with the same wrong results.
    """
    pairs = np.stack(np.divmod(np.arange(modulus**2, dtype=np.int32), modulus), axis=1)
    pairs = np.random.default_rng(split_seed).permutation(pairs)
    results = (OPERATIONS[operation](pairs[:, 0], pairs[:, 1]) % modulus).astype(np.int32)
    count = train_examples(modulus, train_share)
    return {
        "train_pairs": pairs[:count],
        "train_results": _with_errors(results[:count], modulus, corrupted, split_seed),
        "validation_pairs": pairs[count:],
        "validation_results": results[count:],
    }


def _with_errors(results: np.ndarray, modulus: int, share: float, seed: int) -> np.ndarray:
    """Results of which a share, to the nearest whole number, is replaced by another residue, each as likely."""
    generator = np.random.default_rng([seed, _LABEL_STREAM])
    order = generator.permutation(len(results))
    errors = generator.integers(1, modulus, len(results))
    errors[order[round(share * len(results)) :]] = 0
    return ((results + errors) % modulus).astype(np.int32)


def train_examples(modulus: int, train_share: float) -> int:
    """Pairs that are seen."""
    return int(train_share * modulus**2)


class ModularArithmetic(Task):
    """Classification of a pair of residues by a ∘ b modulo p, the pair given as two one-hot vectors side by side.

    The table can be learned by heart long before its rule: networks that train on come to generalise (Power et al.
    2022, arXiv 2201.02177). The defaults are the table of Prieto et al. 2025 (arXiv 2501.04697), in batches. Each
    epoch is a fresh permutation of the pairs that are seen, without the rest that fills no batch.

    Attributes:
        modulus: p, the residues and the classes.
        operation: one of ``OPERATIONS``.
        train_share: share of the p^2 pairs that is seen; the others are for validation.
        batch_size: pairs a step.
        split_seed: of which pairs are seen, and of wrong results; a run's seed does not change it.
        cross_entropy: of ``CROSS_ENTROPIES``, what is trained and evaluated: ``softmax`` or ``stablemax``.
        corrupted: share of the results that are seen that is replaced by random wrong ones.
    """

    model_names = ("mlp", "bias_free_mlp")
    objective = "validation_loss"
    of_examples = True

    modulus: int = 113
    operation: str = "addition"
    train_share: float = 0.4
    batch_size: int = 512
    split_seed: int = 0
    cross_entropy: str = "softmax"
    corrupted: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(modulus=2, split_seed=0)
        if self.operation not in OPERATIONS:
            raise ValueError(
                f"task.operation must be {one_of(list(OPERATIONS), self.operation)}, got {self.operation!r}"
            )
        if self.cross_entropy not in CROSS_ENTROPIES:
            rule = one_of(list(CROSS_ENTROPIES), self.cross_entropy)
            raise ValueError(f"task.cross_entropy must be {rule}, got {self.cross_entropy!r}")
        if not 0 <= self.corrupted <= 1:
            raise ValueError(f"task.corrupted must be in [0, 1], got {self.corrupted!r}")
        count = train_examples(self.modulus, self.train_share) if 0 < self.train_share < 1 else 0
        if not 0 < count < self.modulus**2:
            rule = f"a share that leaves at least one of {self.modulus**2} pairs to either part"
            raise ValueError(f"task.train_share must be {rule}, got {self.train_share!r}")
        if not 1 <= self.batch_size <= count:
            raise ValueError(f"task.batch_size must be in [1, {count}], got {self.batch_size!r}")

    def model_arguments(self) -> Mapping[str, Any]:
        """A score for every residue."""
        return {"outputs": self.modulus}

    def load(self) -> Data:
        """Both splits."""
        return splits(self.modulus, self.operation, self.train_share, self.split_seed, float(self.corrupted))

    def tokens_per_step(self) -> int:
        """Pairs in a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, 2 * self.modulus)))

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(pairs, results) of shapes (batch, 2) and (batch,)."""
        count = train_examples(self.modulus, self.train_share)
        epoch, position = jnp.divmod(step, count // self.batch_size)
        order = jax.random.permutation(jax.random.fold_in(stream_key(seed, DATA_STREAM), epoch), count)
        chosen = jax.lax.dynamic_slice_in_dim(order, position * self.batch_size, self.batch_size)
        return jnp.asarray(data["train_pairs"])[chosen], jnp.asarray(data["train_results"])[chosen]

    def logits(self, params: Params, pairs: Int[Array, "pairs 2"]) -> Float[Array, "pairs modulus"]:
        """Scores of every residue."""
        return self.apply(params, jnp.reshape(jax.nn.one_hot(pairs, self.modulus), (-1, 2 * self.modulus)))

    def losses(self, logits: Float[Array, "pairs modulus"], results: Int[Array, " pairs"]) -> Float[Array, " pairs"]:
        """The cross-entropy of every pair, in nats."""
        return CROSS_ENTROPIES[self.cross_entropy](logits, results)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the batch, in nats."""
        pairs, results = batch
        return jnp.mean(self.losses(self.logits(params, pairs), results)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """What the pairs that are not seen and those that are say of the parameters.

        Returns:
            ``validation_loss`` (nats) and ``validation_accuracy`` of those that are not seen, ``train_accuracy`` of
            those that are, and three shares of these, all counted in the type of the scores: ``softmax_collapse``,
            whose sum of exp(score - largest score) is exactly 1, because all terms but one are lost in it;
            ``zero_pull``, whose loss has a derivative of exactly 0 for the score of their own result; ``zero_loss``,
            whose loss is exactly 0, as that of the softmax is earlier: it is the difference of two numbers of the
            size of the largest score.
        """
        logits, results = self.logits(params, data["validation_pairs"]), data["validation_results"]
        seen, own = self.logits(params, data["train_pairs"]), jnp.asarray(data["train_results"])
        sums = jnp.sum(jnp.exp(seen - jnp.max(seen, axis=-1, keepdims=True)), axis=-1)
        losses, back = jax.vjp(lambda scores: self.losses(scores, own), seen)
        pull = jnp.take_along_axis(back(jnp.ones_like(losses))[0], own[:, None], axis=-1)
        return {
            "validation_loss": jnp.mean(self.losses(logits, results)),
            "validation_accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == results),
            "train_accuracy": jnp.mean(jnp.argmax(seen, axis=-1) == own),
            "softmax_collapse": jnp.mean(sums == 1),
            "zero_loss": jnp.mean(losses == 0),
            "zero_pull": jnp.mean(pull == 0),
        }
