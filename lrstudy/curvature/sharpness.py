"""The sharpness of a loss, asked for outside of a compiled program: it raises where it means nothing."""

from typing import Any

from jaxtyping import Array, Key

from lrstudy.curvature.errors import AsymmetricCurvatureError, NonFiniteCurvature
from lrstudy.curvature.hessian import Loss, hessian
from lrstudy.curvature.lanczos import EigResult, Status, top_eigs


def sharpness(
    loss: Loss, params: Any, batch: Any, key: Key[Array, ""], *, step: int | None = None, **options: Any
) -> EigResult:
    """The largest eigenvalue of the Hessian of ``loss(params, batch)``.

    Args:
        loss: see ``hessian``.
        params: where.
        batch: a fixed one.
        key: of the start vector.
        step: of training, for the error's message.
        options: of ``top_eigs``; by default it compares two products first.

    Raises:
        NonFiniteCurvature: a product was not finite.
        AsymmetricCurvatureError: the loss changes between calls.
        ValueError: a bad argument.
    """
    return checked(top_eigs(hessian(loss, params, batch), key, **{"check_symmetry": True, **options}), step=step)


def checked(result: EigResult, *, step: int | None = None) -> EigResult:
    """The result, if it means something.

    Args:
        result: of a solve, not traced.
        step: of training, for the error's message.

    Raises:
        NonFiniteCurvature: a product was not finite.
        AsymmetricCurvatureError: products contradict each other.
    """
    where = "" if step is None else f" at step {step}"
    status = int(result.status)
    if status == Status.NON_FINITE:
        raise NonFiniteCurvature(
            f"a Hessian-vector product{where} is not finite after {int(result.matvecs)} products; check that the loss, "
            "its gradient and the parameters are"
        )
    if status == Status.ASYMMETRIC:
        raise AsymmetricCurvatureError(
            f"two Hessian-vector products{where} contradict each other: the loss must be the same function at every "
            "call, so fix its batch, switch dropout off and batch statistics to evaluation"
        )
    return result
