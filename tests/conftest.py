"""Settings of every test: shapes are checked at run time, and programs compiled here are kept apart from the user's."""

import importlib.util
import os
import sys

import pytest
from jaxtyping import install_import_hook

import tests.environment  # noqa: F401

ROOMS = ("lrstudy.models", "lrstudy.tasks", "lrstudy.training", "lrstudy.optimizers")

SHAPES_CHECKED = importlib.util.find_spec("beartype") is not None

if SHAPES_CHECKED and not any(room in sys.modules for room in ROOMS):
    install_import_hook(ROOMS, "beartype.beartype")


def pytest_report_header():
    """Says what is not tested on this machine."""
    return [] if SHAPES_CHECKED else "beartype is not installed: array shapes are not checked"


def pytest_collection_modifyitems(items):
    """Skips by name what is marked ``gpu`` where JAX has none; ``LRSTUDY_GPU_TESTS=1`` runs it on what there is."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked or os.environ.get("LRSTUDY_GPU_TESTS"):
        return
    import jax

    if jax.default_backend() != "gpu":
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU, and JAX_PLATFORMS=cuda,cpu"))


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory, monkeypatch):
    """Tests share one cache of compiled programs and leave the user's alone."""
    cache = tmp_path_factory.getbasetemp().parent / "lrstudy-test-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
