"""Settings of every test: shapes are checked at run time, and programs compiled here are kept apart from the user's."""

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest
from jaxtyping import install_import_hook

ROOMS = ("lrstudy.models", "lrstudy.tasks", "lrstudy.training", "lrstudy.optimizers")

if not any(room in sys.modules for room in ROOMS):
    install_import_hook(ROOMS, "beartype.beartype")


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory, monkeypatch):
    """Tests share one cache of compiled programs and leave the user's alone."""
    cache = tmp_path_factory.getbasetemp().parent / "lrstudy-test-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
