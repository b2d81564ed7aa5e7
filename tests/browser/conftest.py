"""A real browser, and a real server whose page it opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.service.processes import server_process

# Debian's, or what CHROMIUM names: Playwright's own downloads come from a host that a closed network lacks.
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

FLAGS = [
    "--no-sandbox",  # as root, as in a container
    "--disable-background-networking",  # what is not this server is not to be asked
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "expected Debian's package chromium, or CHROMIUM=PATH; found neither"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the shipped bundle."""
    tasks: Path = tmp_path_factory.mktemp("tasks") / "tasks.db"
    with server_process("--tasks-path", tasks) as (_, client):
        yield str(client.base_url)


class Visit:
    """A page, and all that its console said and all that it asked for."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(30_000)
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, fragment: str = "") -> Page:
        self.page.goto(f"{self.address}/{fragment}")
        self.settled()
        return self.page

    def settled(self) -> None:
        """Wait until the page has done what it was asked for."""
        self.page.wait_for_selector("#main:not([aria-busy])")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """In English, as large as a laptop. Its console must stay silent, and no other host be asked."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, locale="en-GB")
    visited = Visit(context.new_page(), address)
    yield visited
    context.close()
    assert visited.complaints == []
    assert [url for url in visited.asked if not url.startswith((address, "data:"))] == []
