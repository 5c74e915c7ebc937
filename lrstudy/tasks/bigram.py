"""A bigram table: half of the contexts have one successor, half have all."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task, data_key


class BigramTable(Task):
    """Learns next-token logits of every context from sampled pairs; contexts are equally frequent.

    The first half of the contexts is deterministic (token i is followed by i + 1), the second half uniform. At the
    optimum the Hessian block of context i has trace p_i (1 - sum_j P_ij^2): zero for a deterministic context, largest
    for a uniform one, so the uncertain contexts are the hills and the deterministic ones the river (Wen et al. 2024,
    section 4).

    Attributes:
        vocabulary: number of tokens, an even number.
        batch_size: pairs a step.
    """

    objective = "excess"
    of_examples = True

    vocabulary: int = 20
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: the vocabulary is not a positive even number, or the batch is empty.
        """
        if self.vocabulary < 2 or self.vocabulary % 2:
            raise ValueError(f"task.vocabulary must be a positive even int, got {self.vocabulary!r}")
        if self.batch_size < 1:
            raise ValueError(f"task.batch_size must be a positive int, got {self.batch_size!r}")

    def tokens_per_step(self) -> int:
        """Pairs in a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """Zero logits: every context starts uniform."""
        del key
        return {"logits": jnp.zeros((self.vocabulary, self.vocabulary))}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(contexts, successors), each int32 of shape (batch_size,)."""
        del data
        context_key, next_key = jax.random.split(data_key(seed, step))
        contexts = jax.random.randint(context_key, (self.batch_size,), 0, self.vocabulary)
        uniform = jax.random.randint(next_key, (self.batch_size,), 0, self.vocabulary)
        return contexts, jnp.where(self.is_deterministic(contexts), contexts + 1, uniform)

    def is_deterministic(self, contexts: Int[Array, " n"]) -> Array:
        """Whether a context has a single successor."""
        return contexts < self.vocabulary // 2

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the batch, in nats."""
        contexts, successors = batch
        log_probabilities = jax.nn.log_softmax(params["logits"][contexts])
        return -jnp.mean(jnp.take_along_axis(log_probabilities, successors[:, None], axis=1)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Expected cross-entropy above the entropy, in nats, averaged over the contexts of each kind."""
        del data
        log_probabilities = jax.nn.log_softmax(params["logits"])
        contexts = jnp.arange(self.vocabulary)
        deterministic = self.is_deterministic(contexts)
        # Only deterministic rows are read from this gather; clipping keeps the last uniform row in range.
        successors = jnp.minimum(contexts + 1, self.vocabulary - 1)
        certain = -log_probabilities[contexts, successors]
        uncertain = -jnp.mean(log_probabilities, axis=1) - jnp.log(self.vocabulary)
        return {
            "excess": jnp.mean(jnp.where(deterministic, certain, uncertain)),
            "deterministic_excess": jnp.mean(certain, where=deterministic),
            "uncertain_excess": jnp.mean(uncertain, where=~deterministic),
        }
