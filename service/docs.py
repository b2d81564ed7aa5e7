"""GET /docs: Swagger UI from files in the package, so that no browser is sent to another host for them.

FastAPI's own page loads them from a content delivery network, which a server on a closed network cannot reach
and which would learn who reads the documentation. The large files are kept, and sent, compressed: 0.5 MB, not
1.9.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse

FOLDER = Path(__file__).parent / "static" / "docs"


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs and its files below it."""
    _add_file(app, "/docs", "index.html", "text/html")
    _add_file(app, "/docs/start.js", "start.js", "text/javascript")
    _add_file(app, "/docs/swagger-ui.js", "swagger-ui/swagger-ui-bundle.js.gz", "text/javascript")
    _add_file(app, "/docs/swagger-ui.css", "swagger-ui/swagger-ui.css.gz", "text/css")


def _add_file(app: FastAPI, path: str, name: str, media_type: str) -> None:
    headers = {"Content-Encoding": "gzip"} if name.endswith(".gz") else {}

    async def send_file() -> FileResponse:
        return FileResponse(FOLDER / name, headers=headers, media_type=media_type)

    app.add_api_route(path, send_file, response_class=FileResponse, include_in_schema=False)
