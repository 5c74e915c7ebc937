"""The largest eigenvalue of the perceptron's Hessian by other libraries: products, error and time.

matfree and JAX's LOBPCG are given this project's linearised products; PyHessian and curvlinops run the same network in
torch.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse.linalg import lobpcg_standard
from scipy.sparse.linalg import LinearOperator, eigsh

from benchmarks.curvature_problems import Problem
from lrstudy.curvature import Operator, hessian, top_eigs
from lrstudy.curvature.lanczos import flat_matvec
from lrstudy.curvature.vectors import random_like


@dataclasses.dataclass(frozen=True)
class Peer:
    """A solve by another library.

    Attributes:
        value: what it finds.
        products: that it makes.
        run: solves once more, to be timed.
    """

    value: float
    products: int
    run: Callable[[], Any]


class _Counted:
    """A function and how often it was called."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.count = call, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.count += 1
        return self.call(*arguments, **named)


def _jax_peer(problem: Problem, params: Any, solve: Callable[[Any, Any], Any]) -> Peer:
    """A solver of flat products, once with a count and once without."""
    made: list[int] = []

    def program(operator: Operator, *, counted: bool) -> Any:
        plain = flat_matvec(operator)

        def counting(vector: Any) -> Any:
            jax.debug.callback(lambda: made.append(1))
            return plain(vector)

        return solve(counting if counted else plain, random_like(jax.random.key(0), operator.example))

    compiled = jax.jit(program, static_argnames="counted")
    operator = hessian(problem.loss, params, problem.batch)
    value = float(compiled(operator, counted=True))
    jax.effects_barrier()
    return Peer(value, len(made), lambda: compiled(operator, counted=False))


def own(problem: Problem, params: Any) -> Peer:
    """This project's solver."""
    operator = hessian(problem.loss, params, problem.batch)
    result = top_eigs(operator, jax.random.key(0))
    return Peer(float(result.values[0]), int(result.matvecs), lambda: top_eigs(operator, jax.random.key(0)))


def jax_peers(problem: Problem, params: Any) -> dict[str, Peer]:
    """Matfree's tridiagonalisation of two sizes and JAX's LOBPCG at its default tolerance and at a tight one."""
    matfree: Any = importlib.import_module("matfree.decomp")

    def tridiagonal(size: int) -> Callable[[Any, Any], Any]:
        decompose = matfree.tridiag_sym(size)
        return lambda matvec, start: jnp.linalg.eigvalsh(decompose(matvec, start).J_small)[-1]

    def lobpcg(tol: float | None) -> Callable[[Any, Any], Any]:
        def solve(matvec: Any, start: Any) -> Any:
            def columns(block: Any) -> Any:
                return jax.lax.map(matvec, block.T).T

            return lobpcg_standard(columns, start[:, None], m=100, tol=tol)[0][0]

        return solve

    return {
        "matfree tridiag_sym, 17 products": _jax_peer(problem, params, tridiagonal(17)),
        "matfree tridiag_sym, 32 products": _jax_peer(problem, params, tridiagonal(32)),
        "JAX lobpcg_standard, default tol": _jax_peer(problem, params, lobpcg(None)),
        "JAX lobpcg_standard, tol 1e-10": _jax_peer(problem, params, lobpcg(1e-10)),
    }


def _torch_network(torch: Any, params: Any) -> Any:
    layers = []
    for weights, bias in params:
        linear = torch.nn.Linear(*weights.shape)
        linear.weight.data = torch.tensor(np.asarray(weights).T.copy())
        linear.bias.data = torch.tensor(np.asarray(bias))
        layers += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def torch_peers(problem: Problem, params: Any) -> dict[str, Peer]:
    """PyHessian's power iteration at two tolerances; scipy's eigsh over curvlinops as examples and studies call it."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    network = _torch_network(torch, params)
    batch = tuple(torch.tensor(np.asarray(x)) for x in problem.batch)
    data = batch[0], batch[1].long()
    criterion = torch.nn.CrossEntropyLoss()
    found = {f"PyHessian, tol {tol:g}": _pyhessian(torch, network, criterion, data, tol) for tol in (1e-3, 1e-4)}
    for name, count, which in (("k=1 LA", 1, "LA"), ("k=6 LM", 6, "LM")):
        found[f"curvlinops and eigsh, {name}, tol 1e-3"] = _curvlinops(network, criterion, data, count, which)
    return found


def _pyhessian(torch: Any, network: Any, criterion: Any, data: Any, tol: float) -> Peer:
    module: Any = importlib.import_module("pyhessian.hessian")
    torch.manual_seed(0)

    def solve() -> float:
        return float(module.hessian(network, criterion, data=data, cuda=False).eigenvalues(tol=tol)[0][0])

    plain = module.hessian_vector_product
    counted = _Counted(plain)
    module.hessian_vector_product = counted
    try:
        value = solve()
    finally:
        module.hessian_vector_product = plain
    return Peer(value, counted.count, solve)


def _curvlinops(network: Any, criterion: Any, data: Any, count: int, which: str) -> Peer:
    curvlinops: Any = importlib.import_module("curvlinops")
    parameters = list(network.parameters())
    linear = curvlinops.HessianLinearOperator(network, criterion, parameters, [data]).to_scipy()
    counted = _Counted(linear.matvec)
    operator = LinearOperator(linear.shape, counted, dtype=np.float32)
    begin = np.random.default_rng(0).normal(size=linear.shape[0]).astype(np.float32)

    def solve() -> float:
        values = eigsh(operator, count, which=which, tol=1e-3, v0=begin, return_eigenvectors=False)
        return float(np.max(values))

    value = solve()
    return Peer(value, counted.count, solve)
