"""A browser that is there; nothing is downloaded, and where there is none these tests are skipped by name."""

import os
import shutil

import pytest

from tests.browser.folders import RATES, make

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable(driver):
    """A Chromium of the system, or one that playwright was made to install."""
    found = next(filter(None, map(shutil.which, NAMES)), driver.chromium.executable_path)
    return found if os.path.exists(found) else None  # noqa: PTH110 -- the driver gives a string


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as driver:
        path = executable(driver)
        if path is None:
            pytest.skip("no Chromium is installed")
        flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        with driver.chromium.launch(executable_path=path, args=flags) as own:
            yield own


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Two studies: the second has a rate more, a seed less, another width, and a claim that fails."""
    root = tmp_path_factory.mktemp("studies")
    first = make(root / "first")
    return first, make(root / "second", rates=(*RATES, 0.1), seeds=(0,), width=128, holds=False)


class Opened:
    """A page, and everything that it asked for or complained about."""

    def __init__(self, browser, path, **context):
        context.setdefault("viewport", {"width": 1280, "height": 800})
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(5000)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.context.route("**/*", self._answer)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.url = path.as_uri()
        self.page.goto(self.url)

    def _answer(self, route):
        self.requests.append(route.request.url)
        route.continue_() if route.request.url.split("#")[0] == self.url else route.abort()


@pytest.fixture
def opened(browser):
    """Opens a file in a context of its own: ``opened(path, viewport=..., color_scheme=...)``."""
    all_opened = []

    def open_(path, **context):
        all_opened.append(Opened(browser, path, **context))
        return all_opened[-1]

    yield open_
    for one in all_opened:
        one.context.close()
