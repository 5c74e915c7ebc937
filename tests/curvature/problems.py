"""Operators and losses whose curvature is known, for the tests of this folder."""

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.curvature import Operator
from lrstudy.curvature.vectors import flatten, unflattener

KEY = jax.random.key(0)


def times(matrix, vector):
    return matrix @ vector


def matrix_operator(matrix):
    """A symmetric matrix by its products; an operator of another matrix of this size compiles nothing anew."""
    matrix = jnp.asarray(matrix)
    return Operator(jax.tree_util.Partial(times, matrix), jnp.zeros(matrix.shape[0], matrix.dtype))


def rotated(eigenvalues, seed=0):
    """Q diag(eigenvalues) Q^T in float32 for a random rotation Q."""
    eigenvalues = np.asarray(eigenvalues, float)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(eigenvalues.size,) * 2))
    return jnp.asarray((q * eigenvalues) @ q.T, jnp.float32)


def path_laplacian(n):
    return jnp.asarray(2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1), jnp.float32)


def counting(matrix):
    """The operator of a matrix, and a list that grows by one at every product that is really made."""
    made = []

    def product(vector):
        jax.debug.callback(lambda: made.append(1))
        return matrix @ vector

    return Operator(product, jnp.zeros(matrix.shape[0], matrix.dtype)), made


@jax.jit
def dense(operator):
    """All entries of an operator, each column by a product."""
    unflatten = unflattener(operator.example)
    return jax.lax.map(lambda v: flatten(operator(unflatten(v))), jnp.eye(operator.n)).T


def quadratic(weights, matrix):
    return 0.5 * weights @ matrix @ weights


def scalar_chain(params, target):
    """Half the squared error of the product of two scalars, a two-layer linear network."""
    return 0.5 * (params["a"] * params["b"] - target) ** 2


def linear_regression(weights, batch):
    inputs, targets = batch
    return 0.5 * jnp.mean((inputs @ weights - targets) ** 2)


def logistic(weights, batch):
    """Labels are -1 and 1."""
    inputs, labels = batch
    return jnp.mean(jax.nn.softplus(-labels * (inputs @ weights)))


def softmax(weights, batch):
    inputs, labels = batch
    scores = jax.nn.log_softmax(inputs @ weights)
    return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))


def regression_data(examples=30, features=6, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((examples, features), (examples,)))


def network(params, batch):
    """Outputs of one tanh layer."""
    return jnp.tanh(batch[0] @ params["in"] + params["bias"]) @ params["out"]


def squares(outputs, batch):
    return 0.5 * jnp.mean((outputs - batch[1]) ** 2)


def network_loss(params, batch):
    return squares(network(params, batch), batch)


def network_params(features=6, width=3, seed=1, kind=jnp.float32):
    rng = np.random.default_rng(seed)
    sizes = {"in": (features, width), "bias": (width,), "out": (width,)}
    return {name: jnp.asarray(rng.normal(size=size) / 2, kind) for name, size in sizes.items()}


def dense_hessian(loss, params, batch):
    """The Hessian as a matrix, by JAX's own second derivative."""
    unflatten = unflattener(params)
    return np.asarray(jax.hessian(lambda w: loss(unflatten(w), batch))(flatten(params)))
