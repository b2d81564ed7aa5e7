"""The playground and the documentation work where no other host can be reached."""

from __future__ import annotations

import re

import httpx
import pytest

from service.pages import FOLDER, PLAYGROUND


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/docs", ["docs/swagger-ui.css", "data:,", "docs/swagger-ui.js", "docs/start.js"]),
        (
            "/",
            ["playground/style.css", "data:,", "playground/chart.js", "playground/page.js", "#main", "docs"],
        ),
    ],
)
def test_a_page_asks_only_this_server(client: httpx.Client, path: str, expected: list[str]) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    assert re.findall(r'(?:src|href)="([^"]+)"', page.text) == expected


def test_the_playground_may_do_less_than_swagger_ui(client: httpx.Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "style-src 'self' 'unsafe-inline';" in client.get("/docs").headers["content-security-policy"]


def test_every_module_of_the_playground_is_served(client: httpx.Client) -> None:
    modules = sorted(file.name for file in (FOLDER / "playground").glob("*.js"))
    assert [f"/playground/{name}" for name in modules] == sorted(
        path for path, file in PLAYGROUND.items() if file.endswith(".js")
    )
    for name in modules:
        text = client.get(f"/playground/{name}").text
        assert text == (FOLDER / "playground" / name).read_text(encoding="utf-8")
        for imported in re.findall(r'from "\./([^"]+)"', text):
            assert imported in modules


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/docs/start.js", "text/javascript", 'url: "openapi.json"'),
        ("/docs/swagger-ui.js", "text/javascript", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
        ("/playground/style.css", "text/css", "prefers-color-scheme: dark"),
        ("/playground/chart.js", "text/javascript", "Chart.js v4"),
        ("/openapi.json", "application/json", '"/v1/embed"'),
    ],
)
def test_its_files_are_there(client: httpx.Client, path: str, media_type: str, content: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith(media_type)
    assert content in reply.text
