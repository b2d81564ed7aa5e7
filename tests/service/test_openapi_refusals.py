"""What the document says of the layers around the routes is what they do."""

from __future__ import annotations

from typing import Any

import httpx

from service.app import create_app
from service.settings import Settings
from service.work import TIMEOUT_HEADER


def document() -> Any:
    return create_app(Settings()).openapi()


def test_keys_are_documented_and_probes_need_none() -> None:
    present = document()
    assert present["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert present["security"] == [{"bearer": []}, {}]
    open_paths = {
        path for path, ways in present["paths"].items() if ways.get("get", {}).get("security") == []
    }
    assert open_paths == {"/livez", "/readyz", "/health"}


def test_every_other_path_names_what_may_refuse_it() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if path in {"/livez", "/readyz", "/health"}:
                assert "401" not in operation["responses"]
                continue
            named = " ".join(response["description"] for response in operation["responses"].values())
            assert "`unauthorized`" in named
            assert "`internal_error`" in named
            assert ("`not_ready`" in named) == (path != "/metrics")
            assert ("`body_timeout`" in named) == ("requestBody" in operation)
            changes = method in {"put", "patch", "delete"} or (method, path[-4:]) == ("post", "/fit")
            assert ("`forbidden`" in named) == changes
            assert list(operation["responses"]) == sorted(operation["responses"])


def test_a_deadline_is_documented_where_it_is_kept_and_nowhere_else(client: httpx.Client) -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            parameters = {each["name"]: each for each in operation.get("parameters", [])}
            reply = client.request(
                method, path.format(name="x", model="fake"), json={}, headers={TIMEOUT_HEADER: "soon"}
            )
            is_kept = TIMEOUT_HEADER in reply.text
            assert is_kept == (TIMEOUT_HEADER in parameters) == ("504" in operation["responses"]), path
            if is_kept:
                assert parameters[TIMEOUT_HEADER]["schema"] == {"type": "integer", "minimum": 1}
                assert str(reply.status_code) in operation["responses"]


def test_what_a_route_has_named_itself_stays() -> None:
    responses = document()["paths"]["/v1/embed"]["post"]["responses"]
    assert responses["503"]["description"].count("`not_ready`") == 1
    assert responses["413"]["description"].count("`body_too_large`") == 1
