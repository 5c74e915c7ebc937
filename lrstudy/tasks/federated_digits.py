"""The digits learned by clients that keep their examples: one step is one round of federated averaging."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrstudy.feedback import ServerFeedback, find
from lrstudy.tasks.base import Batch, Data, Metrics, Params, data_key
from lrstudy.tasks.clients import NO_FEEDBACK, train_client
from lrstudy.tasks.digits import TRAIN_EXAMPLES, Digits
from lrstudy.tasks.split import dirichlet_split


class FederatedDigits(Digits):
    """Federated averaging (McMahan et al. 2017, arXiv 1602.05629) over clients with unlike classes.

    In a round a sample of the clients trains locally from the server's weights; the optimizer is given the weights less
    their mean over the sample, weighted by the clients' numbers of examples. ``sgd`` at a constant rate of 1 is FedAvg.
    A client goes through its examples in an order of the round's own, again and again, in ``local_steps`` batches: all
    clients do the same work, whatever they hold.

    Attributes:
        clients: among whom the 1437 training examples are divided.
        active: clients that take part in a round.
        local_steps: of a client in a round.
        batch_size: examples of a local step.
        learning_rate: of the clients.
        momentum: of the clients, which they begin anew in every round.
        alpha: of the Dirichlet distribution of every class over the clients; small: unlike clients.
        split_seed: of the division, which all runs share whatever their own seed.
    """

    of_examples = False

    lane_fields = ("learning_rate", "momentum")

    clients: int = 50
    active: int = 10
    local_steps: int = 10
    batch_size: int = 10
    learning_rate: float = 0.1
    momentum: float = 0.5
    alpha: float = 0.5
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the sizes and the numbers.

        Raises:
            ValueError: one of them is out of range.
        """
        super().__post_init__()
        limits = {"clients": TRAIN_EXAMPLES, "active": self.clients, "local_steps": 2**31 - 1}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"task.{name} must be in [1, {most}], got {getattr(self, name)!r}")
        if self.split_seed < 0:
            raise ValueError(f"task.split_seed must be an int of at least 0, got {self.split_seed!r}")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"task.alpha must be a positive finite number, got {self.alpha!r}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"task.learning_rate must be a positive finite number, got {self.learning_rate!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum must be in [0, 1), got {self.momentum!r}")

    def load(self) -> Data:
        """Both splits, the examples of every client and how many they are."""
        data = super().load()
        members, sizes = dirichlet_split(data["train_labels"], self.clients, self.alpha, self.split_seed)
        return {**data, "members": members, "sizes": sizes}

    def tokens_per_step(self) -> int:
        """Examples that the clients of a round train on, each counted as often as it is used."""
        return self.active * self.local_steps * self.batch_size

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """The round's (pixels, labels, weights): (active, local_steps, batch_size, 64), without the 64, and (active,).

        The weights are the clients' shares of the examples and sum to one.
        """
        choice_key, order_key = jax.random.split(data_key(seed, step))
        chosen = jax.random.choice(choice_key, self.clients, (self.active,), replace=False)
        members, sizes = jnp.asarray(data["members"])[chosen], jnp.asarray(data["sizes"])[chosen]
        keys = jax.random.split(order_key, self.active)
        examples = jax.vmap(functools.partial(_passes, count=self.local_steps * self.batch_size))(keys, members, sizes)
        examples = examples.reshape(self.active, self.local_steps, self.batch_size)
        weights = sizes.astype(jnp.float32) / jnp.sum(sizes)
        return jnp.asarray(data["train_pixels"])[examples], jnp.asarray(data["train_labels"])[examples], weights

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Cross-entropy in nats of the clients' first local batches, weighted like the clients; no further scalars."""
        pixels, labels, weights = batch
        first = jax.vmap(functools.partial(self._cross_entropy, params))((pixels[:, 0], labels[:, 0]))
        return weights @ first, {}

    def gradient(self, params: Params, batch: Batch, opt_state: Any) -> tuple[tuple[Float[Array, ""], Metrics], Params]:
        """The pseudo-gradient of the round: the server's weights less the weighted mean of its clients'.

        Returns:
            ``((loss, scalars), pseudo-gradient)``: the loss is that of ``loss``; ``client_loss`` is the mean over the
            local steps, ``client_learning_rate`` the clients' mean rate at their last step.
        """
        pixels, labels, weights = batch
        feedback = find(opt_state, ServerFeedback)
        client = functools.partial(
            train_client,
            self._cross_entropy,
            params,
            feedback=NO_FEEDBACK if feedback is None else feedback,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            active=self.active,
        )
        changes, losses, rates = jax.vmap(client)((pixels, labels))
        pseudo_gradient = jax.tree.map(lambda change: -jnp.tensordot(weights, change, axes=1), changes)
        scalars = {"client_loss": weights @ jnp.mean(losses, axis=1), "client_learning_rate": weights @ rates}
        return (weights @ losses[:, 0], scalars), pseudo_gradient

    def _cross_entropy(self, params: Params, examples: Batch) -> Float[Array, ""]:
        return Digits.loss(self, params, examples)[0]


def _passes(key: Array, members: Int[Array, " largest"], size: Int[Array, ""], *, count: int) -> Int[Array, " count"]:
    """The first ``count`` examples of passes through the first ``size`` members, all in one random order."""
    places = jnp.arange(members.shape[0])
    # Sorting random numbers shuffles; members past the size are sorted behind the others.
    order = jnp.argsort(jnp.where(places < size, jax.random.uniform(key, members.shape), 2.0))
    return members[order[jnp.arange(count) % size]]
