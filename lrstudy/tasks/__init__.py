"""Tasks, and the table of those that a configuration can name.

Adding a task is one new file and one row of ``TABLE``.
"""

from lrstudy.tasks.base import Task
from lrstudy.tasks.bigram import BigramTable
from lrstudy.tasks.continual_digits import ContinualDigits
from lrstudy.tasks.digits import Digits
from lrstudy.tasks.feature_noise import FeatureNoise
from lrstudy.tasks.federated_digits import FederatedDigits
from lrstudy.tasks.interpolation import DiagonalRegression, OrthogonalRegression, ReluRegression
from lrstudy.tasks.mixed_text import MixedText
from lrstudy.tasks.modular_arithmetic import ModularArithmetic
from lrstudy.tasks.noisy_digits import NoisyDigits
from lrstudy.tasks.noisy_regression import NoisyRegression
from lrstudy.tasks.polynomial_regression import PolynomialRegression
from lrstudy.tasks.quadratic import NoisyQuadratic
from lrstudy.tasks.random_features import RandomFeatures
from lrstudy.tasks.repeated_text import RepeatedText
from lrstudy.tasks.river import CurvedRiver
from lrstudy.tasks.separable import RandomHalfspace, TwoDirections
from lrstudy.tasks.tanh_regression import TanhRegression
from lrstudy.tasks.text import Text
from lrstudy.tasks.tfds import TensorflowDataset

TABLE: dict[str, type[Task]] = {
    "bigram": BigramTable,
    "continual_digits": ContinualDigits,
    "diagonal_regression": DiagonalRegression,
    "digits": Digits,
    "feature_noise": FeatureNoise,
    "federated_digits": FederatedDigits,
    "mixed_text": MixedText,
    "modular_arithmetic": ModularArithmetic,
    "noisy_digits": NoisyDigits,
    "noisy_regression": NoisyRegression,
    "orthogonal_regression": OrthogonalRegression,
    "polynomial_regression": PolynomialRegression,
    "quadratic": NoisyQuadratic,
    "random_features": RandomFeatures,
    "random_halfspace": RandomHalfspace,
    "relu_regression": ReluRegression,
    "repeated_text": RepeatedText,
    "river": CurvedRiver,
    "tanh_regression": TanhRegression,
    "text": Text,
    "tfds": TensorflowDataset,
    "two_directions": TwoDirections,
}

__all__ = [
    "TABLE",
    "BigramTable",
    "ContinualDigits",
    "CurvedRiver",
    "DiagonalRegression",
    "Digits",
    "FeatureNoise",
    "FederatedDigits",
    "MixedText",
    "ModularArithmetic",
    "NoisyDigits",
    "NoisyQuadratic",
    "NoisyRegression",
    "OrthogonalRegression",
    "PolynomialRegression",
    "RandomFeatures",
    "RandomHalfspace",
    "ReluRegression",
    "RepeatedText",
    "TanhRegression",
    "Task",
    "TensorflowDataset",
    "Text",
    "TwoDirections",
]
