"""Runs that take minutes on two cores, most of them compilation: ``LRSTUDY_SLOW=1 make test`` has them too."""

import os

import pytest

takes_minutes = pytest.mark.skipif("LRSTUDY_SLOW" not in os.environ, reason="takes minutes; LRSTUDY_SLOW=1 runs it")
