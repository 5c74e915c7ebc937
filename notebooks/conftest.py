"""Kernels that run the notebooks as a test compile as the tests do, and leave the user's compiled programs alone."""

import os
import tempfile

import tests.environment  # noqa: F401

# They have this process's environment; no fixture reaches them.
_CACHE = tempfile.TemporaryDirectory(prefix="lrstudy-notebooks-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name
