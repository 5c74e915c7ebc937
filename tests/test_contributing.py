"""The recipes of CONTRIBUTING.md: each is applied to a copy of the project, where its commands are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrstudy

ROOT = Path(lrstudy.__file__).parents[1]
PARTS = ("README.md", "benchmarks", "docs", "experiments", "lrstudy", "pyproject.toml", "tests")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"# (?P<file>\S+\.py)(?:, (?P<side>below|above): (?P<line>.+))?")
RECIPES = ("A schedule", "An optimizer", "A study")


def recipe(title):
    """The language and the text of every block below a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return _BLOCK.findall(text.partition(f"\n## {title}\n")[2].partition("\n## ")[0])


def put(block, folder):
    """Writes a block where its first line says; returns the file."""
    first, _, body = block.partition("\n")
    place = _PLACE.fullmatch(first)
    assert place, first
    path = folder / place["file"]
    if place["side"] is None:
        assert not path.exists(), f"{path} is there already"
        path.write_text(body)
        return path
    lines = path.read_text().splitlines(keepends=True)
    (found,) = [i for i, line in enumerate(lines) if line.strip() == place["line"].strip()]
    lines.insert(found, f"{body}\n\n") if place["side"] == "above" else lines.insert(found + 1, body)
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A copy of the project with all recipes in it, and the files that they wrote."""
    folder = tmp_path_factory.mktemp("lrstudy")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    written = [put(block, folder) for title in RECIPES for language, block in recipe(title) if language == "python"]
    return folder, sorted(set(written))


def run(folder, *line):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_the_recipes_write_is_in_the_style_of_the_house(applied):
    folder, written = applied
    for command in (["check"], ["format", "--check"]):
        done = run(folder, sys.executable, "-m", "ruff", *command, *map(str, written))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("title", RECIPES)
def test_the_commands_of_a_recipe_do_what_it_says(title, applied):
    folder, _ = applied
    printed = ""
    for language, block in recipe(title):
        if language == "sh":
            for command in commands(block):
                done = run(folder, sys.executable, *command[1:])
                assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
                printed = done.stdout
        elif language != "python":
            assert all(line in printed for line in block.splitlines())


def commands(block):
    """The command lines of a block, but for those that take minutes."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["python", "-m"], line
        if not line.endswith("# minutes"):
            yield words
