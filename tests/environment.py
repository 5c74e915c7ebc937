"""Settings of every process that tests: they must be there before JAX is imported."""

import importlib.metadata
import os
import platform

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
