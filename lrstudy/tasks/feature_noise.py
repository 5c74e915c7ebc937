"""Examples with a weak feature, often a strong one, and noise; a network that may learn any of the three."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.base import DATA_STREAM, Batch, Data, Metrics, Params, Task, data_key, stream_key

_TEST_KEY = 2**31 - 1
Patches = Float[Array, "batch 3 directions"]


class FeatureNoise(Task):
    """A two-layer network on three patches, squared loss (after Lu et al. 2023, Benign Oscillation, arXiv 2310.17074).

    The label y is -1 or 1. The first patch of every example is ``weak`` y e_1; the second is ``strong`` y e_2 in a
    share of the examples, and noise in the others; the third is noise, normal in all directions but these two. The
    output is f(x) = F_1 - F_2, where F_j is the mean over filters of the sum over patches of relu(w . patch)^2, and the
    loss (f(x) - y)^2 / 2. Test examples have noise in the second patch: only the weak feature tells their label. The
    paper's own constants are not at hand; those here are ours.

    Attributes:
        weak: size of the weak feature.
        strong: size of the strong one.
        share: of the training examples that have it.
        noise: standard deviation of the noise's coordinates.
        initial_size: standard deviation of the initial weights.
        data_seed: of the training sample.
        samples: in it; a batch draws from it with replacement.
        directions: size of a patch, the two features' directions included.
        filters: of either sign.
        batch_size: examples a step.
        test_samples: that are evaluated, the same for all runs.
    """

    lane_fields = ("weak", "strong", "share", "noise", "initial_size", "data_seed")
    objective = "sample_loss"

    weak: float = 0.3
    strong: float = 1.0
    share: float = 0.7
    noise: float = 0.15
    initial_size: float = 0.03
    data_seed: int = 0
    samples: int = 40
    directions: int = 50
    filters: int = 10
    batch_size: int = 1
    test_samples: int = 1000

    def __post_init__(self) -> None:
        """Checks the fields that are plain numbers.

        Raises:
            ValueError: one is out of range.
        """
        self.check_least(samples=1, directions=3, filters=1, batch_size=1, test_samples=1, data_seed=0)
        for name in ("weak", "strong", "noise", "initial_size"):
            value = getattr(self, name)
            if isinstance(value, float) and not 0 < value < np.inf:
                raise ValueError(f"task.{name} must be a finite positive number, got {value!r}")
        if isinstance(self.share, float) and not 0 <= self.share <= 1:
            raise ValueError(f"task.share must be in [0, 1], got {self.share!r}")

    def tokens_per_step(self) -> int:
        """Examples of a batch."""
        return self.batch_size

    def init(self, key: Key[Array, ""]) -> Params:
        """Normal filters, of shape (signs, filters, directions)."""
        return {"filters": self.initial_size * jax.random.normal(key, (2, self.filters, self.directions))}

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Examples of the training sample, drawn with replacement: patches and labels."""
        del data
        drawn = jax.random.randint(data_key(seed, step), (self.batch_size,), 0, self.samples)
        return self._training(drawn)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean squared loss of the batch."""
        patches, labels = batch
        return jnp.mean(jnp.square(outputs(params, patches) - labels)) / 2, {}

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Loss and accuracy on the whole training sample, and errors where only the weak feature tells the label."""
        del data
        patches, labels = self._training(jnp.arange(self.samples))
        found = outputs(params, patches)
        test_patches, test_labels = self._examples(jax.random.key(_TEST_KEY), jnp.arange(self.test_samples), 0.0)
        return {
            "sample_loss": jnp.mean(jnp.square(found - labels)) / 2,
            "sample_error": jnp.mean(found * labels <= 0),
            "test_error": jnp.mean(outputs(params, test_patches) * test_labels <= 0),
        }

    def _training(self, places: Int[Array, " batch"]) -> tuple[Patches, Float[Array, " batch"]]:
        key = stream_key(jnp.asarray(self.data_seed, jnp.int32), DATA_STREAM)
        return self._examples(key, places, self.share)

    def _examples(
        self, key: Key[Array, ""], places: Int[Array, " batch"], share: float | Array
    ) -> tuple[Patches, Float[Array, " batch"]]:
        """An example is the same whenever it is asked for, whatever is asked for beside it."""

        def one(place: Int[Array, ""]) -> tuple[Float[Array, "3 directions"], Float[Array, ""]]:
            keys = jax.random.split(jax.random.fold_in(key, place), 3)
            label = jnp.where(jax.random.bernoulli(keys[0]), 1.0, -1.0)
            noise = self.noise * jax.random.normal(keys[1], (3, self.directions)).at[:, :2].set(0.0)
            is_strong = jax.random.uniform(keys[2]) < share
            first = jnp.zeros(self.directions).at[0].set(self.weak * label)
            second = jnp.where(is_strong, jnp.zeros(self.directions).at[1].set(self.strong * label), noise[1])
            return jnp.stack([first, second, noise[2]]), label

        return jax.vmap(one)(places)


def outputs(params: Params, patches: Patches) -> Float[Array, " batch"]:
    """F_1 - F_2 of every example."""
    responses = jnp.square(jax.nn.relu(jnp.einsum("jmd,npd->njmp", params["filters"], patches, precision="highest")))
    signs = jnp.mean(jnp.sum(responses, axis=3), axis=2)
    return signs[:, 0] - signs[:, 1]
