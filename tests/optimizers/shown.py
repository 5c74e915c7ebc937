"""Prints what the tests of optimizers check: how far each is from what it expects, and which row keeps which promise.

python -m tests.optimizers.shown errors
python -m tests.optimizers.shown promises
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
_WHERE = {"errors": ("tests/optimizers", "tests/faults/test_optax.py"), "promises": ("tests/conformance",)}


class Listener:
    """Notes, test by test, its outcome and the largest difference from what ``assert_allclose`` was told to expect."""

    def __init__(self) -> None:
        self.errors: dict[str, list[float]] = {}
        self.outcomes: dict[str, str] = {}
        self._current = ""
        self._compare = np.testing.assert_allclose
        np.testing.assert_allclose = self._noted

    def _noted(self, actual, desired, *arguments, **options):
        with np.errstate(invalid="ignore"):
            found = np.abs(np.asarray(actual, np.float64) - np.asarray(desired, np.float64))
        scale = np.abs(np.asarray(desired, np.float64))
        if found.size and np.isfinite(found).all():
            relative = (found / np.where(scale > 0, scale, 1)).max()
            worst = self.errors.setdefault(self._current, [0.0, 0.0])
            self.errors[self._current] = [max(worst[0], float(found.max())), max(worst[1], float(relative))]
        self._compare(actual, desired, *arguments, **options)

    def pytest_runtest_setup(self, item):
        self._current = item.nodeid

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome


def errors(listener: Listener) -> list[str]:
    """One line a test that compares numbers."""
    lines = [f"{'absolute':>10} {'relative':>10}  test"]
    for test, (absolute, relative) in sorted(listener.errors.items()):
        lines.append(f"{absolute:>10.1e} {relative:>10.1e}  {test.removeprefix('tests/')}")
    return lines


def promises(listener: Listener) -> list[str]:
    """One line a row of the table, one column a promise; a hyperparameter's tests are one."""
    found: dict[str, dict[str, set[str]]] = {}
    for test, outcome in listener.outcomes.items():
        match = re.fullmatch(r".*::test_(\w+)\[([a-z_]+)(?:-.*)?\]", test)
        if match:
            found.setdefault(match[2], {}).setdefault(match[1], set()).add(outcome)
    columns = list(dict.fromkeys(promise for row in found.values() for promise in row))
    lines = [f"{chr(ord('A') + i)}: {name.replace('_', ' ')}" for i, name in enumerate(columns)]
    lines += ["", f"{'row':<22}" + "  ".join(chr(ord("A") + i) for i in range(len(columns)))]
    for row in sorted(found):
        marks = [_mark(found[row].get(promise, set())) for promise in columns]
        lines.append(f"{row:<22}" + "  ".join(marks))
    return lines


def _mark(outcomes: set[str]) -> str:
    """x for a promise that is kept, F for one that is not, nothing for one that was not asked of the row."""
    return " " if not outcomes else "F" if "failed" in outcomes else "s" if "skipped" in outcomes else "x"


def main(what: str) -> int:
    """Runs the tests, prints the table; returns the tests' exit code."""
    listener = Listener()
    code = pytest.main(["-q", "-p", "no:cacheprovider", *(str(ROOT / one) for one in _WHERE[what])], plugins=[listener])
    print("\n".join({"errors": errors, "promises": promises}[what](listener)))
    return int(code)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in _WHERE:
        sys.exit("usage: python -m tests.optimizers.shown errors|promises")
    sys.exit(main(sys.argv[1]))
