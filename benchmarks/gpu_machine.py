"""What JAX sees on this machine, as one line of JSON; ``benchmarks.gpu`` asks for it in a process of its own."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "pandas", "pyarrow", "torch")


def versions() -> dict[str, str | None]:
    """Versions of what the numbers depend on; ``None`` for what is not there."""

    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def driver() -> str | None:
    """The driver of the GPU; ``None`` where there is none to ask."""
    return _said(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])


def commit() -> str | None:
    """The commit of this checkout, and whether files differ from it; $COMMIT, or ``None``, where it is a plain copy."""
    root = Path(__file__).parents[1]
    found = _said(["git", "-C", str(root), "rev-parse", "HEAD"])
    changed = found and _said(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return f"{found}, changed" if changed else found or os.environ.get("COMMIT") or None


def _said(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def seen() -> dict[str, Any]:
    """The backend and its first device."""
    import jax

    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    return {"backend": jax.default_backend(), "device": device.device_kind, "bytes_limit": limit}


if __name__ == "__main__":
    print(json.dumps(seen()))
