"""The losses whose curvature is measured, at points along their training."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from lrstudy.models.transformer import Transformer
from lrstudy.tasks import corpus

WIDTHS = (784, 256, 256, 128, 10)
"""Layers of the perceptron: 300,938 parameters."""
EXAMPLES, WINDOWS, CONTEXT, VOCABULARY = 512, 8, 64, 256
EDGE_WIDTHS, EDGE_EXAMPLES = (20, 64, 64, 1), 64
"""Layers of the small network that is trained to the edge of stability: 5,569 parameters."""
TRANSFORMER = Transformer(vocabulary=VOCABULARY, context=CONTEXT, width=128, layers=4, heads=4)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A loss on one fixed batch.

    Attributes:
        loss: ``(params, batch) ->`` a number; one function object, so that solvers are compiled once.
        params: initial ones.
        batch: fixed.
        transform: what trains it.
    """

    loss: Callable[[Any, Any], Any]
    params: Any
    batch: Any
    transform: optax.GradientTransformation


def perceptron(params: Any, inputs: Any) -> Any:
    """Outputs of tanh layers and a linear one."""
    for weights, bias in params[:-1]:
        inputs = jnp.tanh(inputs @ weights + bias)
    weights, bias = params[-1]
    return inputs @ weights + bias


def perceptron_init(widths: tuple[int, ...], seed: int) -> list[tuple[Any, Any]]:
    """Weights of variance 1/inputs, biases of zero."""
    keys = jax.random.split(jax.random.key(seed), len(widths) - 1)
    return [
        (jax.random.normal(key, (a, b)) / a**0.5, jnp.zeros(b))
        for key, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def classification(params: Any, batch: Any) -> Any:
    """Mean cross-entropy of the perceptron."""
    inputs, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(perceptron(params, inputs), labels).mean()


def regression(params: Any, batch: Any) -> Any:
    """Half the mean squared error of the perceptron's one output."""
    inputs, targets = batch
    return 0.5 * jnp.mean((perceptron(params, inputs)[:, 0] - targets) ** 2)


def language(params: Any, windows: Any) -> Any:
    """Mean cross-entropy of the transformer's next byte."""
    logits = TRANSFORMER.apply({"params": params}, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()  # pyright: ignore[reportArgumentType]


def digits() -> Problem:
    """The perceptron of 300,938 parameters on 512 digits, enlarged to 28 x 28; gradient descent."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(images))[:EXAMPLES]
    small = jnp.asarray(images[chosen].reshape(-1, 8, 8) / 16, jnp.float32)
    large = jax.image.resize(small, (EXAMPLES, 28, 28), "linear").reshape(EXAMPLES, -1)
    batch = ((large - large.mean()) / large.std(), jnp.asarray(labels[chosen], jnp.int32))
    return Problem(classification, perceptron_init(WIDTHS, 0), batch, optax.sgd(0.1))


def taught() -> Problem:
    """The same perceptron on Gaussian inputs that another one labels: its largest eigenvalues lie close together."""
    inputs = jax.random.normal(jax.random.key(3), (EXAMPLES, WIDTHS[0]))
    labels = jnp.argmax(perceptron(perceptron_init((WIDTHS[0], 64, WIDTHS[-1]), 5), inputs), axis=1)
    return Problem(classification, perceptron_init(WIDTHS, 0), (inputs, labels), optax.sgd(0.1))


def text() -> Problem:
    """The transformer of about 860 thousand parameters on 8 windows of 64 bytes of program text; Adam."""
    train = np.asarray(corpus.read(corpus.STANDARD_LIBRARY, "task.path").train)
    starts = np.random.default_rng(0).integers(0, len(train) - CONTEXT, WINDOWS)
    windows = jnp.asarray(np.stack([train[s : s + CONTEXT + 1] for s in starts]), jnp.int32)
    params = TRANSFORMER.init(jax.random.key(0), windows[:, :-1])["params"]
    return Problem(language, params, windows, optax.adam(1e-3))


def edge(transform: optax.GradientTransformation) -> Problem:
    """The network of 5,569 parameters on 64 examples of a smooth target."""
    inputs = jax.random.normal(jax.random.key(1), (EDGE_EXAMPLES, EDGE_WIDTHS[0]))
    targets = jnp.sin(2 * inputs[:, 0]) + inputs[:, 1] * inputs[:, 2]
    return Problem(regression, perceptron_init(EDGE_WIDTHS, 2), (inputs, targets), transform)


@functools.partial(jax.jit, static_argnames=("loss", "transform", "steps"))
def train(loss: Any, transform: Any, params: Any, state: Any, batch: Any, *, steps: int) -> tuple[Any, Any]:
    """Parameters and optimizer state some full-batch steps later."""

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = transform.update(jax.grad(loss)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), None, length=steps)[0]


def checkpoints(problem: Problem, steps: Mapping[str, int]) -> dict[str, Any]:
    """Parameters at the named steps of training, which ascend."""
    found, now, params = {}, 0, problem.params
    state = problem.transform.init(params)
    for name, stop in steps.items():
        for _ in range(stop - now):
            params, state = train(problem.loss, problem.transform, params, state, problem.batch, steps=1)
        found[name], now = params, stop
    return found
