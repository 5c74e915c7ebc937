"""Handwritten digits of which some labels are wrong, visited in the order of the chance of that."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, stream_key
from lrstudy.tasks.digits import CLASSES, TRAIN_EXAMPLES, Digits
from lrstudy.tasks.ordering import check_ordering, qualities, visited

_LABEL_STREAM = 2**31 - 1


class NoisyDigits(Digits):
    """``Digits`` whose training labels are replaced by a random class with a probability that falls with the quality.

    The quality of an example is its place in the training set, which was shuffled once for all. Which labels are
    replaced, and by what, is the run's seed's; an example's label is the same whenever it is visited. The validation
    labels are right.

    Attributes:
        corruption: the probability of the worst example; it falls linearly to 0 for the best.
        ordering: 0 visits the examples at random, 1 from the worst to the best (see ``ordering.visited``).
    """

    lane_fields = ("corruption", "ordering")

    corruption: float = 1.0
    ordering: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        super().__post_init__()
        check_ordering(self.ordering, TRAIN_EXAMPLES)
        if not 0 <= self.corruption <= 1:
            raise ValueError(f"task.corruption must be in [0, 1], got {self.corruption!r}")

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(pixels, labels) of shapes (batch, 64) and (batch,)."""
        chosen = visited(seed, step, self.ordering, (TRAIN_EXAMPLES, self.batch_size))
        replaced, random = self.replacements(seed)
        labels = jnp.where(replaced[chosen], random[chosen], jnp.asarray(data["train_labels"])[chosen])
        return jnp.asarray(data["train_pixels"])[chosen], labels

    def replacements(self, seed: Int[Array, ""]) -> tuple[Bool[Array, " examples"], Int[Array, " examples"]]:
        """Whether each training label is replaced, and the random class that stands ready for it."""
        key = jax.random.fold_in(stream_key(seed, DATA_STREAM), _LABEL_STREAM)
        chance_key, class_key = jax.random.split(key)
        replaced = jax.random.uniform(chance_key, (TRAIN_EXAMPLES,)) < self.corruption * (1 - qualities(TRAIN_EXAMPLES))
        return replaced, jax.random.randint(class_key, (TRAIN_EXAMPLES,), 0, CLASSES)
