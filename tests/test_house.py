"""The house rules that no linter knows: which room may use which, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lrstudy

ROOT = Path(lrstudy.__file__).parent
LEAVES = {"schedules", "optimizers", "parametrization", "models", "tasks", "curvature", "laws"}
# A room may use itself, the schedules' types, the neutral modules and what is named here.
NEUTRAL = {"pytrees", "feedback", "ghosts", "stablemax"}
MAY_USE = {
    **{room: set() for room in LEAVES},
    **{module: set() for module in NEUTRAL},
    # Rates of tensors are put around rows of the optimizers' table.
    "parametrization": {"optimizers"},
    "training": {"tasks", "curvature"},
    "benchmark": {"models", "optimizers", "tasks", "training"},
    "study": LEAVES | {"training"},
    "__main__": {"study"},
}
# Flags, files, clocks, devices and processes appear in these files alone, beside `study`.
OUTSIDE_WORLD = {
    "training": {"loop.py", "checkpoint.py", "devices.py", "read_ahead.py"},
    "benchmark": {"clock.py", "loading.py", "targets.py"},
}
# Reading a text is what a corpus is for, reading curves what their reader is for, and data sets are folders.
READERS = {
    "laws/reading.py": {"pathlib"},
    "tasks/corpus.py": {"pathlib"},
    "tasks/tfds/catalogue.py": {"pathlib"},
    "tasks/tfds/counts.py": {"os", "pathlib", "tempfile"},
    "tasks/tfds/storage.py": {"pathlib"},
    "tasks/tfds/tokens.py": {"pathlib"},
}
WORLDLY = {"time", "os", "pathlib", "shutil", "subprocess", "signal", "absl", "multiprocessing", "socket", "tempfile"}


def modules():
    return sorted(ROOT.rglob("*.py"))


def imported(path):
    """Absolute names of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    room = room_of(path)
    if room == "__init__":
        assert not list(imported(path))
        return
    allowed = MAY_USE[room] | {room, "schedules"} | NEUTRAL
    used = {name.split(".")[1] for name in imported(path) if name.startswith("lrstudy.")}
    assert used <= allowed | {"__version__"}
    assert not any(name.startswith(("experiments", "tests", "benchmarks")) for name in imported(path))


@pytest.mark.parametrize("room", [*sorted(LEAVES), *OUTSIDE_WORLD])
def test_only_the_loop_and_its_like_touch_the_outside_world(room):
    for path in (ROOT / room).rglob("*.py"):
        if path.name in OUTSIDE_WORLD.get(room, ()):
            continue
        worldly = {name.split(".")[0] for name in imported(path)} & WORLDLY
        assert worldly <= READERS.get(path.relative_to(ROOT).as_posix(), set()), path


def loaded_by(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_is_cheap():
    assert not {"jax", "numpy", "absl"} & loaded_by("import lrstudy")


def test_heavy_libraries_are_imported_where_they_are_used():
    loaded = loaded_by("import experiments.river_valley, experiments.sweep, experiments.benchmark")
    assert not {"matplotlib", "pandas", "sklearn", "scipy.stats", "orbax.checkpoint", "tqdm", "tensorflow"} & loaded
    assert not {"tensorflow_datasets", "grain", "array_record", "sentencepiece", "PIL", "tensorboardX"} & loaded


def test_every_module_says_what_it_is_for():
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text())), path
