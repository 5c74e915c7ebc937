"""Settings of every test: shapes are checked at run time, and programs compiled here are kept apart from the user's."""

import importlib.metadata
import os
import platform
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Numbers depend by rounding on how many devices train; tests that want several say so.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")
# Most of the tests' time is compilation, of programs that then run for moments. Without the last passes it is a
# fifth, and programs differ by the last bits of their arithmetic at most: AVX has no fused multiply-add, which those
# passes would place. `XLA_FLAGS= make test` compiles as users do. A flag that XLA does not know ends the process, hence
# the release that knows these.
if importlib.metadata.version("jaxlib").startswith("0.10.") and platform.machine() == "x86_64":
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX"
    os.environ.setdefault("XLA_FLAGS", flags)

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
