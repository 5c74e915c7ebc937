"""Makes every notebook from its source and runs it: ``python -m notebooks.build [name ...]``.

A source is a `.py` of cells (jupytext's percent format). What all notebooks begin with, the badge and the cell that
installs the package where it is missing, is added here and nowhere else.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/lrstudy/lrstudy"
"""Where the package is installed from on Colab, and where the badges lead."""
NAMES = ("first_steps", "river_valley", "learning_rate_transfer", "sharpness", "your_own")
ROOT = Path(__file__).parent
TIMEOUT = 300
"""Seconds that one cell may take."""

_BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}/blob/main/notebooks/{name}.ipynb)"
_INSTALL = """\
# Does nothing where lrstudy is installed; on Colab it installs it.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lrstudy") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "git+{repository}"], check=True)
%matplotlib inline"""
_PLACES = r"(?<![\w.)<:/])/[\w.-]+/\S*"


def badge(name: str) -> str:
    """The link that opens a notebook on Colab, as Markdown."""
    colab = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github")
    return _BADGE.format(colab=colab, name=name)


def install() -> str:
    """The code of the first cell."""
    return _INSTALL.format(repository=REPOSITORY)


def made(name: str) -> Any:
    """The notebook of a source, not run yet: its badge and title, the cell that installs, and the source's other cells.

    Args:
        name: of the source, without its ending.

    Raises:
        ValueError: the source does not begin with a title.
    """
    import jupytext
    from nbformat.v4 import new_code_cell, new_notebook

    title, *rest = jupytext.read(ROOT / f"{name}.py", fmt="py:percent").cells
    if title.cell_type != "markdown" or not title.source.startswith("# "):
        raise ValueError(f"{name}.py must begin with a markdown cell '# <title>', got {title.source[:40]!r}")
    title.source = f"{badge(name)}\n\n{title.source}"
    cells = [title, new_code_cell(install()), *rest]
    for place, cell in enumerate(cells):
        cell.id, cell.metadata = f"{name}-{place:02d}", {}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def run(notebook: Any) -> Any:
    """Runs a notebook in a fresh kernel of this interpreter, where the notebooks are, and keeps what it shows."""
    from nbclient import NotebookClient

    metadata = dict(notebook.metadata)
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", record_timing=False, resources=resources).execute()
    notebook.metadata = metadata  # which would name this machine's Python
    return notebook


def shown(notebook: Any) -> str:
    """All text that the outputs of a notebook hold, one after the other."""
    parts = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        data = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
        parts += [output.get("text", ""), *output.get("traceback", ()), *map(str, data.values())]
    return "\n".join(parts)


def complaints(notebook: Any) -> list[str]:
    """What an executed notebook must not show: errors, warnings, and places of the machine that it ran on."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    found = [f"an output of kind {o.output_type}" for o in outputs if o.output_type == "error"]
    found += [f"on standard error: {o.text.strip()}" for o in outputs if o.get("name") == "stderr"]
    text = shown(notebook)
    found += [f"a warning: {match[0]}" for match in re.finditer(r".*Warning\b.*", text)]
    return found + [
        f"a path: {match[0]}" for match in re.finditer(r"(?<![\w.)<])/(?:tmp|home|root|usr|var|work)/\S*", text)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 1 if a notebook shows what it must not."""
    import nbformat

    parser = argparse.ArgumentParser("notebooks.build", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", choices=[*NAMES, []], metavar="name", help=f"of {', '.join(NAMES)}; default: all"
    )
    code = 0
    for name in parser.parse_args(argv).names or NAMES:
        began = time.monotonic()
        notebook = run(made(name))
        found = complaints(notebook)
        path = ROOT / f"{name}.ipynb"
        nbformat.write(notebook, path)
        size = path.stat().st_size / 1e3
        print(f"{name}: {time.monotonic() - began:.0f} s, {size:.0f} KB", flush=True)
        for complaint in found:
            print(f"error: {name} shows {complaint}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
