"""Settings of every test: shapes are checked at run time, and programs compiled here are kept apart from the user's."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Numbers depend by rounding on how many devices train; tests that want several say so.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")
# Most of the tests' time is compilation, of programs that then run for moments. Without the last passes it is a
# fifth, and programs differ by the last bits of their arithmetic at most: AVX has no fused multiply-add, which those
# passes would place. `XLA_FLAGS= make test` compiles as users do. A flag that XLA does not know ends the process, hence
# the release that knows these. On a GPU they would leave its programs unoptimised too.
if os.environ["JAX_PLATFORMS"] == "cpu" and (
    importlib.metadata.version("jaxlib").startswith("0.10.") and platform.machine() == "x86_64"
):
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX"
    os.environ.setdefault("XLA_FLAGS", flags)

import pytest
from jaxtyping import install_import_hook

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
