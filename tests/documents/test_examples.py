"""The examples in docstrings say what comes out."""

import doctest
import importlib

import pytest

import lrstudy
from lrstudy.schedules import TABLE
from tests.documents.reference import ROOT

FILES = [path for path in sorted((ROOT / "lrstudy").rglob("*.py")) if ">>>" in path.read_text()]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed, "see what was printed"


@pytest.mark.parametrize("name", TABLE)
def test_every_schedule_shows_its_rates(name):
    assert f">>> schedule = {name}(" in TABLE[name].__doc__


def test_examples_are_looked_for_where_they_are():
    assert lrstudy.__file__.startswith(str(ROOT))
    assert len(MODULES) > 30
