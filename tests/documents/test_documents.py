"""The README and the pages beside it: their Python runs, their commands exist, their links lead somewhere."""

import functools
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from absl import flags

from lrstudy.schedules import Constant, Cosine
from lrstudy.study.command import parse, read_command
from lrstudy.study.errors import ConfigError
from lrstudy.study.main import define_common_flags
from tests.documents.reference import ROOT

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "WORKSPACE.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(#[^)\s]*)?\)")


@functools.cache
def text_of(page):
    return (ROOT / page).read_text()


def blocks(page, language):
    return [block for found, block in _BLOCK.findall(text_of(page)) if found == language]


def anchors(page):
    """The names of its headings in links, as GitHub makes them."""
    prose = _BLOCK.sub("", text_of(page))
    return {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for path, anchor in _LINK.findall(_BLOCK.sub("", text_of(page))):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor[1:] in anchors(target.resolve().relative_to(ROOT).as_posix()), path + anchor


def surroundings(page, folder):
    """What the blocks of a page speak of and do not make."""
    if page == "docs/curvature.md":
        params = {"w": jnp.float32([1, 2])}
        return {"loss": lambda p, batch: jnp.sum(batch * p["w"] ** 4), "params": params, "batch": jnp.ones(2)}
    if page == "docs/benchmark.md":
        return {"times": pd.DataFrame({"first": [1.0, 2.0], "second": [3.0, 2.0]}, index=["adamw", "lion"])}
    if page == "docs/schedules.md":
        return {"norms": np.linspace(1, 2, 500), "total_steps": 1000}
    if page == "docs/laws.md":
        return curves(folder)
    return {}


def curves(folder):
    """Files of curves that a law wrote, which it is then fitted to."""
    from lrstudy.laws import MultiPowerLaw

    law = MultiPowerLaw(2.6, 0.43, 0.55, 300.0, 1.0, 0.5, 0.5)
    made = {"cosine": Cosine(3e-3, 1000, warmup_steps=100), "constant": Constant(3e-3, warmup_steps=100)}
    (folder / "curves").mkdir()
    steps = np.arange(100, 1000, 20)
    for name, schedule in made.items():
        rates = np.asarray(schedule(np.arange(1000)))
        losses = law.predict(rates, steps=steps, warmup_steps=100)
        rows = pd.DataFrame({"step": steps, "lr": rates[steps], "loss": losses})
        rows.to_csv(folder / "curves" / f"{name}.csv", index=False)
    return {**made, "schedule": Cosine(3e-3, 1000, warmup_steps=100, end=1e-3)}


ON_DEVICES = """
import jax, jax.numpy as jnp, optax
from lrstudy.training import init_state

def loss(params, batch):
    return jnp.mean((batch - params["w"]) ** 2), {}

def make_transform(rate):
    return optax.sgd(rate)

hparams, batch, params = 0.1, jnp.arange(16.0), {"w": jnp.zeros(())}
state = init_state(params, make_transform(hparams), jax.random.key(0))
"""
APART = ("CONTRIBUTING.md", "docs/devices.md")
WITH_PYTHON = [page for page in PAGES if page not in APART and blocks(page, "python")]


def test_python_of_the_page_on_devices_runs_on_eight():
    code = "\n".join((ON_DEVICES, *blocks("docs/devices.md", "python")))
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::lrstudy.laws.ExtrapolationWarning")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_of_a_page_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = surroundings(page, tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102  the page's own code is what is tested


def commands(page):
    """The words of every command of a page: lines of its shell blocks, and what is quoted in its prose."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    quoted = re.findall(r"`((?:python -m|lrstudy|make) [^`]+)`", _BLOCK.sub("", text_of(page)))
    for line in (*lines, *(line.replace("\n", " ") for line in quoted)):
        words = shlex.split(line, comments=True)
        if words and words[0] in ("python", "lrstudy", "make") and "<name>" not in line:
            yield [word for word in words if word != "..."]


COMMANDS = {" ".join(words)[:90]: words for page in PAGES for words in commands(page)}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_page_exists_with_the_flags_that_it_names(line):
    program, *words = COMMANDS[line]
    if program == "make":
        (target,) = [word for word in words if "=" not in word]
        assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE)
    elif program == "lrstudy":
        assert set(words[0].split("|")) <= console_commands()
    elif words[0] == "-c":
        compile(words[1], line, "exec")
    else:
        assert words[0] == "-m"
        read(words[1], words[2:])


@functools.cache
def console_commands():
    """The names that the console command says it has."""
    done = subprocess.run([sys.executable, "-m", "lrstudy", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"\w+", done.stdout))


def read(name, words):
    """Reads the flags of a command and their values as the command does, and does nothing else."""
    if f"# experiments/{name.rpartition('.')[2]}.py" in text_of("CONTRIBUTING.md"):
        return  # a recipe's own study, which is run where it is applied
    assert importlib.util.find_spec(name), name
    module = importlib.import_module(name) if name.startswith(("experiments", "lrstudy")) else None
    parser = getattr(module, "parser", getattr(module, "_parser", None))
    if hasattr(module, "EXPERIMENT"):
        if {"KDecay", "cautious_adamw"} & set(re.split(r"[=,]", " ".join(words).replace(" ", "="))):
            return  # the same of a recipe's own schedule and optimizer
        values = flags.FlagValues()
        getattr(module, "define_flags", define_common_flags)(values)
        parse(module.EXPERIMENT, [name, *(word for word in words if word != "--helpfull")], values)
        read_command(module.EXPERIMENT, values)
    elif parser and words:
        parser().parse_args(words)


def test_a_flag_that_a_page_misspells_would_be_found():
    with pytest.raises(ConfigError, match="step"):
        read("experiments.sweep", ["--config.step=3"])
    with pytest.raises(SystemExit):
        read("experiments.benchmark", ["--submissions=adamw"])
