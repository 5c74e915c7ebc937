"""The real curves, for tests; skipped where there are none."""

import pytest

from benchmarks.real_curves import curves_of, folder


def real_curves(size):
    if folder() is None:
        pytest.skip("LRSTUDY_DATA names no folder with loss_curves")
    return curves_of(size)
