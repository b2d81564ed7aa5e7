"""GET / and /docs: the playground and Swagger UI, from files in the package.

No browser is sent to another host for them: a server on a closed network could not reach one, and it would
learn who reads. Large files are kept, and sent, compressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse

FOLDER = Path(__file__).parent / "static"

DOCS = {
    "/docs": "docs/index.html",
    "/docs/start.js": "docs/start.js",
    "/docs/swagger-ui.js": "docs/swagger-ui/swagger-ui-bundle.js.gz",
    "/docs/swagger-ui.css": "docs/swagger-ui/swagger-ui.css.gz",
}

_MODULES = (
    "cloze",
    "elements",
    "examples",
    "layers",
    "link",
    "naturalness",
    "page",
    "senses",
    "server",
    "tasks",
    "words",
)

PLAYGROUND = {
    "/": "playground/index.html",
    "/playground/style.css": "playground/style.css",
    "/playground/chart.js": "playground/chartjs/chart.umd.min.js.gz",
    **{f"/playground/{name}.js": f"playground/{name}.js" for name in _MODULES},
}
"""The page holds nothing that is not public: it is sent without a key, and asks its user for one."""

# Stricter than what Swagger UI needs (headers.py): no style but the page's own file, no picture but an empty
# icon.
_PLAYGROUND_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def add_pages(app: FastAPI) -> None:
    """Serve both pages and their files."""
    _add(app, DOCS, {})
    _add(app, PLAYGROUND, {"Content-Security-Policy": _PLAYGROUND_POLICY})


def _add(app: FastAPI, files: Mapping[str, str], headers: Mapping[str, str]) -> None:
    for path, name in files.items():
        _add_file(app, path, FOLDER / name, headers)


def _add_file(app: FastAPI, path: str, file: Path, headers: Mapping[str, str]) -> None:
    is_compressed = file.suffix == ".gz"
    media_type = _MEDIA_TYPES[file.with_suffix("").suffix if is_compressed else file.suffix]
    sent_with = {**headers, "Content-Encoding": "gzip"} if is_compressed else headers

    async def send_file() -> FileResponse:
        return FileResponse(file, headers=sent_with, media_type=media_type)

    app.add_api_route(path, send_file, response_class=FileResponse, include_in_schema=False)
