"""Every notebook is what its source gives, and shows what a reader may see; `pytest --nbmake notebooks/` runs them."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from notebooks import build

MOST_BYTES = 400_000
LINK = re.compile(r"\]\(([^)#]+)\)")


@pytest.fixture(scope="module", params=build.NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def kept(name):
    return nbformat.read(build.ROOT / f"{name}.ipynb", as_version=4)


def test_every_source_is_named_and_made():
    made = {path.stem for path in build.ROOT.glob("*.ipynb")}
    sources = {path.stem for path in build.ROOT.glob("*.py")} - {"__init__", "build", "conftest"}
    assert made == sources == set(build.NAMES)


def test_it_is_what_its_source_gives(name, kept):
    def written(notebook):
        return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]

    made = build.made(name)
    assert written(kept) == written(made), f"run python -m notebooks.build {name}"
    assert kept.metadata == made.metadata
    nbformat.validate(kept)


def test_it_begins_with_a_badge_and_a_cell_that_installs(name, kept):
    title, install = kept.cells[:2]
    assert title.source.startswith(f"{build.badge(name)}\n\n# ")
    assert f"/notebooks/{name}.ipynb" in build.badge(name)
    assert install.source == build.install()
    assert build.REPOSITORY in install.source
    assert f"/github/{build.REPOSITORY.removeprefix('https://github.com/')}/" in build.badge(name)


def test_it_was_run_from_its_first_cell_to_its_last(kept):
    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    images = [o for c in kept.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})]
    assert len(images) >= 3


def test_it_shows_no_error_warning_or_place_of_a_machine(kept):
    assert build.complaints(kept) == []


def test_it_is_small_enough_to_be_looked_at(name):
    assert (build.ROOT / f"{name}.ipynb").stat().st_size < MOST_BYTES


def test_it_says_where_to_go_next_and_its_links_lead_somewhere(kept):
    text = "\n\n".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    last = kept.cells[-1].source
    assert last.startswith("## Where to go next") or "\n## Where to go next" in last
    assert "python -m experiments." in last
    local = [link for link in LINK.findall(text) if not link.startswith("http")]
    assert local
    for link in local:
        assert (build.ROOT / link).is_file(), link


def test_its_seeds_have_decided_nothing(name):
    source = (build.ROOT / f"{name}.py").read_text()
    for seeds in re.findall(r"seeds?=\(?([\d, ]+)", source):
        assert all(0 <= int(seed) <= 9 for seed in seeds.replace(" ", "").strip(",").split(",")), seeds


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (new_output("error", ename="E", evalue="", traceback=[]), "an output of kind error"),
        (new_output("stream", name="stderr", text="slow\n"), "on standard error: slow"),
        (
            new_output("stream", name="stdout", text="a\nx.py:3: UserWarning: no\n"),
            "a warning: x.py:3: UserWarning: no",
        ),
        (new_output("execute_result", {"text/plain": "PosixPath('/tmp/abc')"}), "a path: /tmp/abc')"),
        (new_output("stream", name="stdout", text="in /home/me/runs"), "a path: /home/me/runs"),
    ],
)
def test_what_must_not_be_shown_is_found(output, complaint):
    assert build.complaints(new_notebook(cells=[new_code_cell("", outputs=[output])])) == [complaint]


def test_an_address_and_a_fraction_are_no_places():
    shown = new_output("stream", name="stdout", text="https://arxiv.org/abs/1 and 2/var and steps/s")
    assert build.complaints(new_notebook(cells=[new_code_cell("", outputs=[shown])])) == []


def test_a_source_without_a_title_is_refused(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text("# %%\nprint(1)\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"odd.py must begin with a markdown cell '# <title>', got 'print"):
        build.made("odd")


def test_a_notebook_is_built_and_what_it_must_not_show_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "odd.py").write_text("# %% [markdown]\n# # Odd\n\n# %%\nimport sys\nprint('so', file=sys.stderr)\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "NAMES", ("odd",))
    assert build.main([]) == 1
    assert "error: odd shows on standard error: so" in capsys.readouterr().err
    built = nbformat.read(tmp_path / "odd.ipynb", as_version=4)
    assert [cell.id for cell in built.cells] == ["odd-00", "odd-01", "odd-02"]
    assert built.cells[1].outputs == []
