"""The documentation page works where no other host can be reached."""

from __future__ import annotations

import re

import httpx
import pytest


def test_the_page_asks_only_this_server(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links == ["docs/swagger-ui.css", "data:,", "docs/swagger-ui.js", "docs/start.js"]


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/docs/start.js", "text/javascript", 'url: "openapi.json"'),
        ("/docs/swagger-ui.js", "text/javascript", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
        ("/openapi.json", "application/json", '"/v1/embed"'),
    ],
)
def test_its_files_are_there(client: httpx.Client, path: str, media_type: str, content: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith(media_type)
    assert content in reply.text
