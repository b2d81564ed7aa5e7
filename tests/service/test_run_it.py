"""What the README and docs/operating.md tell operators is so: names of metrics, settings and paths."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import httpx

from service.declaration import flag_name, variable_name
from service.metrics import Metrics
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Run it\n")[2].partition("\n## ")[0]
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def test_every_metric_is_named_and_no_other() -> None:
    page = Metrics().exposition("")[0].decode()
    families = set(re.findall(r"^# TYPE (polyseme_\S+) ", page, re.MULTILINE))
    part = OPERATING.partition("\n## What to watch\n")[2].partition("\n## ")[0]
    named = {name.removesuffix("_sum") for name in re.findall(r"`(polyseme_\w+)`", part)}
    assert named == families


def test_flags_and_variables_exist() -> None:
    flags = {flag_name(setting.name) for setting in fields(Settings)} | {"--help"}
    flags |= {"--rm", "--read-only", "--tmpfs"}  # Docker's
    variables = {variable_name(setting.name) for setting in fields(Settings)}
    assert set(re.findall(r"--[a-z][a-z-]+", SECTION)) <= flags
    assert set(re.findall(r"POLYSEME_[A-Z_]+[A-Z]", SECTION)) <= variables


def test_paths_exist(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        assert f"`{path}`" in SECTION
        assert client.get(path).status_code == 200
