"""What a study runs on: versions and devices, and where a user's machine keeps what can be made again."""

import os
from pathlib import Path


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import platform
    from importlib import metadata

    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    from lrstudy import __version__

    return {"lrstudy": __version__, "python": platform.python_version(), **{n: metadata.version(n) for n in names}}


def devices() -> list[str]:
    """The devices that train."""
    import jax

    return [f"{d.platform}: {d.device_kind}" for d in jax.local_devices()]


def cores() -> int:
    """Those that this process may use, where the system tells, and all of them elsewhere."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_compilation_cache() -> None:
    """Keeps compiled programs under the user's cache folder, so that a second start does not compile.

    Those that compile in under half a second are not kept, unless JAX's own environment variable says otherwise.
    """
    import jax

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def cache_folder() -> Path:
    """Where what can be made again is kept for the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrstudy"
