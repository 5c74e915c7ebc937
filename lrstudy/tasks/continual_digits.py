"""Handwritten digits task after task: every task sees the pixels in another order."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task, data_key
from lrstudy.tasks.digits import CLASSES, SIDE, TRAIN_EXAMPLES, check_batch_size, epoch_examples, splits

PERMUTE, ROTATE = "permute", "rotate"
QUARTER_TURNS = 4


class ContinualDigits(Task):
    """Ten-way classification by one readout, ``steps_per_task`` updates on each task and then the next.

    The protocol under which the stability gap was found (De Lange et al. 2023, arXiv 2205.13452): accuracy on every
    task can be evaluated after every update. Task 0 has the pixels as they are. At replay 0 and in the first task the
    batches are those of ``Digits``, their pixels in the task's order.

    Attributes:
        steps_per_task: updates of every task; the last one goes on for ever.
        replay: probability that an example of a later task's batch is one of an earlier task, in [0, 1].
        exponent: a of the power law by which the earlier task is drawn, in proportion to (t - j)^-a for task j during
            task t; 0: all alike.
        memory: examples of every earlier task that are kept for replay, the same ones of each, in [1, 1437].
        tasks: how many.
        transform: ``permute``, a fixed permutation of the pixels for each task, or ``rotate``, a quarter turn more for
            each, of which there are four.
        permutation_seed: of the permutations.
        batch_size: examples a step, replayed ones included.
    """

    lane_fields = ("steps_per_task", "replay", "exponent", "memory")
    model_names = ("mlp", "convnet", "resnet")
    objective = "validation_loss"
    of_examples = True

    steps_per_task: int = 200
    replay: float = 0.0
    exponent: float = 0.0
    memory: int = 100
    tasks: int = 3
    transform: str = PERMUTE
    permutation_seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of its range.
        """
        check_batch_size(self.batch_size)
        if self.transform not in (PERMUTE, ROTATE):
            raise ValueError(f"task.transform must be {PERMUTE!r} or {ROTATE!r}, got {self.transform!r}")
        if self.transform == ROTATE and self.tasks > QUARTER_TURNS:
            raise ValueError(f"task.tasks must be at most {QUARTER_TURNS} for rotations, got {self.tasks!r}")
        for name in ("tasks", "steps_per_task"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be a positive int, got {getattr(self, name)!r}")
        if not 0 <= self.replay <= 1:
            raise ValueError(f"task.replay must be in [0, 1], got {self.replay!r}")
        if not 0 <= self.exponent < np.inf:
            raise ValueError(f"task.exponent must be a finite number of at least 0, got {self.exponent!r}")
        if not 1 <= self.memory <= TRAIN_EXAMPLES:
            raise ValueError(f"task.memory must be in [1, {TRAIN_EXAMPLES}], got {self.memory!r}")
        if not 0 <= self.permutation_seed < 2**31:
            raise ValueError(f"task.permutation_seed must be an int of at least 0, got {self.permutation_seed!r}")

    def model_arguments(self) -> Mapping[str, Any]:
        """Ten scores."""
        return {"outputs": CLASSES}

    def load(self) -> Data:
        """Both splits, and the place from which every task takes each pixel, shape (tasks, 64)."""
        return {**splits(), "orders": self.pixel_orders()}

    def pixel_orders(self) -> Int[np.ndarray, "tasks pixels"]:
        """The place from which every task takes each of its pixels."""
        places = np.arange(SIDE**2, dtype=np.int32)
        if self.transform == ROTATE:
            return np.stack([np.rot90(places.reshape(SIDE, SIDE), turns).ravel() for turns in range(self.tasks)])
        rng = np.random.default_rng(self.permutation_seed)
        return np.stack([places, *(rng.permutation(places) for _ in range(self.tasks - 1))])

    def tokens_per_step(self) -> int:
        """Examples in a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self.init_model(key, jnp.zeros((1, SIDE**2)))

    def task_at(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """The task that is learnt at a step, from 0."""
        return jnp.minimum(step // jnp.asarray(self.steps_per_task, jnp.int32), self.tasks - 1)

    def replay_shares(self, current: Int[Array, ""]) -> Float[Array, " tasks"]:
        """The probability of every earlier task among replayed examples, summing to 1; zeros during the first task."""
        age = current - jnp.arange(self.tasks)
        weights = jnp.where(age > 0, jnp.maximum(age, 1) ** -jnp.asarray(self.exponent, float), 0.0)
        return weights / jnp.where(current > 0, jnp.sum(weights), 1.0)

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """(pixels, labels) of shapes (batch, 64) and (batch,)."""
        current = self.task_at(step)
        shares = self.replay_shares(current)
        is_old, which, place = jax.random.split(data_key(seed, step), 3)
        replayed = jax.random.bernoulli(is_old, self.replay, (self.batch_size,)) & (current > 0)
        earlier = jax.random.categorical(which, jnp.log(shares), shape=(self.batch_size,))
        kept = jax.random.randint(place, (self.batch_size,), 0, jnp.asarray(self.memory, jnp.int32))
        task = jnp.where(replayed, earlier, current)
        chosen = jnp.where(replayed, kept, epoch_examples(seed, step, self.batch_size))
        pixels = jnp.take_along_axis(jnp.asarray(data["train_pixels"])[chosen], data["orders"][task], axis=1)
        return pixels, jnp.asarray(data["train_labels"])[chosen]

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the batch, in nats."""
        pixels, labels = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(self.apply(params, pixels), labels)), {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Accuracy on the 360 validation examples of every task, seen or not, and means over the tasks.

        ``accuracy_0``, ``accuracy_1``, ...; ``validation_accuracy`` and ``validation_loss`` (nats) are the means.
        """
        labels = jnp.asarray(data["validation_labels"])
        pixels = jnp.asarray(data["validation_pixels"])[:, jnp.asarray(data["orders"])]
        logits = self.apply(params, jnp.moveaxis(pixels, 1, 0))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.broadcast_to(labels, logits.shape[:2]))
        accuracies = jnp.mean(jnp.argmax(logits, axis=-1) == labels, axis=1)
        own = {f"accuracy_{task}": accuracies[task] for task in range(self.tasks)}
        return {"validation_loss": jnp.mean(losses), "validation_accuracy": jnp.mean(accuracies), **own}
