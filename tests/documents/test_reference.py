"""The pages of the API: built without a warning, complete and readable."""

import html
import importlib
import re
import subprocess
import sys

import pytest

from tests.documents import reference


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Module below the package to the text of its page, built as its user builds it: the tests' checks of shapes would
    be in the signatures."""
    folder = tmp_path_factory.mktemp("pages")
    code = f"from pathlib import Path; from tests.documents.reference import build; build(Path({str(folder)!r}))"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=reference.ROOT, check=True)
    found = {path.relative_to(folder).with_suffix("").as_posix(): path.read_text() for path in folder.rglob("*.html")}
    return {name.removeprefix("lrstudy/").replace("/", "."): text for name, text in found.items()}


def test_every_public_module_has_a_page(pages):
    assert {*reference.ROOMS, *reference.MODULES, "lrstudy", "index"} == set(pages)
    assert all(f"lrstudy/{room}.html" in pages["lrstudy"] for room in reference.ROOMS)


@pytest.mark.parametrize("room", reference.ROOMS)
def test_every_name_that_a_room_gives_out_is_described(pages, room):
    names = getattr(importlib.import_module(f"lrstudy.{room}"), "__all__", [])
    described = set(re.findall(r'<section id="(\w+)">', pages[room]))
    assert [name for name in names if name not in described and f"{room}.{name}" not in pages] == []


def test_signatures_are_what_a_person_would_write(pages):
    for name, text in pages.items():
        for signature in re.findall(r'<span class="(?:signature|annotation).*?</span>\s*</div>', text, re.DOTALL):
            shown = html.unescape(re.sub(r"<[^>]+>", "", signature))
            assert not re.search(r"ForwardRef|numpy\.bool|_src|jaxlib|collections\.abc|beartype", shown), (name, shown)
    # The arguments of a dataclass, not the `*args, **kwargs` of its base.
    assert (
        "decay_fraction"
        in pages["schedules"]
        .partition('id="WSD.__init__"')[2]
        .partition("</section>")[0]
        .partition('<div class="pdoc-code')[0]
    )


def test_a_page_names_no_folder_of_the_machine_that_made_it(pages):
    assert not any(str(reference.ROOT) in text for text in pages.values())
