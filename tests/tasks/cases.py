"""One small instance of every task, with its data and parameters away from the start."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.models import MLP, Transformer
from lrstudy.tasks import (
    BigramTable,
    ContinualDigits,
    CurvedRiver,
    DiagonalRegression,
    Digits,
    FeatureNoise,
    FederatedDigits,
    MixedText,
    ModularArithmetic,
    NoisyDigits,
    NoisyQuadratic,
    NoisyRegression,
    OrthogonalRegression,
    PolynomialRegression,
    RandomFeatures,
    RandomHalfspace,
    ReluRegression,
    RepeatedText,
    TanhRegression,
    Task,
    TensorflowDataset,
    Text,
    TwoDirections,
)
from tests.tasks.tfds.made import shared_folder

TASKS: dict[str, Task] = {
    "bigram": BigramTable(vocabulary=6, batch_size=40),
    "continual_digits": ContinualDigits(
        steps_per_task=3,
        replay=0.25,
        exponent=1.0,
        memory=40,
        permutation_seed=3,
        batch_size=50,
        model=MLP(outputs=10, width=7, layers=1),
    ),
    "diagonal_regression": DiagonalRegression(2, samples=7, directions=9, batch_size=3, nonzeros=2, initial_size=0.4),
    "digits": Digits(model=MLP(outputs=10, width=7, layers=1), batch_size=50),
    "mixed_text": MixedText(
        paths=(__file__, "stdlib"),
        boundaries=(5, 100),
        shares=(0.0, 0.3, 0.9),
        context=5,
        batch_size=8,
        validation_windows=9,
        model=Transformer(vocabulary=256, context=5, width=8, layers=1, heads=2),
    ),
    "modular_arithmetic": ModularArithmetic(
        model=MLP(outputs=7, width=6, layers=1),
        modulus=7,
        operation="subtraction",
        train_share=0.6,
        batch_size=9,
        split_seed=2,
    ),
    "feature_noise": FeatureNoise(
        weak=0.4,
        strong=1.2,
        share=0.5,
        noise=0.2,
        initial_size=0.3,
        data_seed=4,
        samples=400,
        directions=5,
        filters=3,
        batch_size=6,
        test_samples=7,
    ),
    "federated_digits": FederatedDigits(
        model=MLP(outputs=10, width=7, layers=1), clients=12, active=3, local_steps=2, batch_size=5, split_seed=3
    ),
    "noisy_digits": NoisyDigits(model=MLP(outputs=10, width=7, layers=1), batch_size=50, corruption=0.8, ordering=0.3),
    "noisy_regression": NoisyRegression((2.0, 0.5), 3.0, 0.2, 0.3, samples=93, batch_size=6, chains=4),
    "orthogonal_regression": OrthogonalRegression(1, samples=7, directions=14, batch_size=3),
    "polynomial_regression": PolynomialRegression(
        2.0, 0.5, directions=3, units=4, samples=7, batch_size=3, data_seed=1
    ),
    "quadratic": NoisyQuadratic((3.0, 0.5), (0.7, 2.0), (1.0, -2.0), chains=6),
    "random_halfspace": RandomHalfspace(examples=9, features=3, gap=0.2),
    "relu_regression": ReluRegression(3, samples=33, directions=4, batch_size=3, width=6, teacher_width=2),
    "river": CurvedRiver(curvature=7.0, slope=0.3, noise=2.0, chains=6),
    "tanh_regression": TanhRegression(
        1.5, 0.7, width=5, layers=2, residual=True, directions=4, samples=33, batch_size=3, test_samples=9
    ),
    "random_features": RandomFeatures(features=6, noise=0.3, data_seed=2, samples=9, directions=4, most=8),
    "repeated_text": RepeatedText(
        path=__file__,
        unique=40,
        repeated=3,
        every=4,
        data_seed=1,
        context=5,
        batch_size=8,
        validation_windows=9,
        model=Transformer(vocabulary=256, context=5, width=8, layers=1, heads=2),
    ),
    "text": Text(
        path=__file__,  # any text will do
        context=5,
        batch_size=8,
        validation_windows=9,
        model=Transformer(vocabulary=256, context=5, width=8, layers=1, heads=2),
    ),
    "tfds": TensorflowDataset(
        name="made_texts",
        data_dir=shared_folder(),
        side=6,
        context=5,
        batch_size=8,
        validation_windows=9,
        model=Transformer(vocabulary=257, context=5, width=8, layers=1, heads=2),
    ),
    "two_directions": TwoDirections((0.5, -1.5), (0.25, 1.0), examples=7),
}
LANDSCAPES = ("quadratic", "river")


@dataclasses.dataclass(frozen=True)
class Case:
    task: Task
    data: Any
    params: Any
    jitted_batch: Any

    def batch(self, seed: int, step: int) -> Any:
        return to_numpy(self.jitted_batch(self.data, jnp.int32(seed), jnp.int32(step)))


@functools.cache
def case(name: str) -> Case:
    task = TASKS[name]
    rng = np.random.default_rng(0)
    initial = jax.eval_shape(task.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), initial)
    return Case(task, jax.device_put(task.load()), params, jax.jit(task.batch))


def to_numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def same(first: Any, second: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))
