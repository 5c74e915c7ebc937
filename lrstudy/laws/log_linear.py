"""Power laws of several variables, fitted as straight lines in the logarithms."""

import numpy as np

from lrstudy.laws.errors import LawError


def fit_powers(owner: str, target: np.ndarray, *variables: np.ndarray) -> np.ndarray:
    """``log target = c_0 + sum_i c_i log variable_i`` by least squares.

    Args:
        owner: whose error it is.
        target: shape (n,), positive.
        variables: each of shape (n,), positive.

    Returns:
        c, shape (1 + variables,).

    Raises:
        LawError: the rows do not determine it.
    """
    logs = [np.log(variable) for variable in variables]
    design = np.stack([np.ones(len(target)), *logs], axis=-1)
    # Columns of one size around 0, so that the rank does not depend on the units.
    centred = np.stack([log - log.mean() for log in logs], axis=-1)
    if len(target) < design.shape[1] or np.linalg.matrix_rank(centred, tol=1e-9 * max(1, np.abs(centred).max())) < len(
        logs
    ):
        raise LawError(f"{owner}: {design.shape[1]} coefficients need as many runs that differ in every variable")
    return np.linalg.lstsq(design, np.log(target))[0]
