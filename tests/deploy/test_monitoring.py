"""The dashboard and the alerts ask for what a server really has: every metric and every label, in PromQL.

The expressions are read by a parser of Prometheus's language, and the metrics by the official client's parser
from a running server's /metrics.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.errors import ErrorType
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime
from tests.service.routes.asking import hanging_up

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
(GROUP,) = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
GUIDE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")

OF_THE_TARGET = {"job", "instance"}
"""Labels that Prometheus adds to all that it scrapes."""

OF_PROMETHEUS = {"up"}
"""What it says itself of all that it scrapes."""


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression and where it is from, with Grafana's variables as it fills them in."""
    for panel in PANELS:
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "2m")
            yield panel["title"], filled.replace("$job", ".*").replace("$instance", ".*")
    for name, rule in RULES.items():
        yield name, rule["expr"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def scraped() -> dict[str, set[str]]:
    """The names of all samples of a server that has had traffic of every kind, and their labels."""
    runtime = FakeRuntime()
    with serving_runtime(runtime) as client:
        assert client.post("/v1/embed", json={"inputs": ["a b", "c"]}).status_code == 200
        assert client.post("/v1/embed", json={"inputs": []}).status_code == 422
        runtime.may_run.clear()
        with hanging_up(client, "a"):
            wait_until(runtime.running.is_set)
        runtime.may_run.set()
        return samples(client)


def samples(client: httpx.Client) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] |= sample.labels.keys()
    return found


def asked_for(expression: str) -> dict[str, set[str]]:
    """Return the metrics of an expression, and the labels that it wants of each."""
    found: dict[str, set[str]] = defaultdict(set)
    grouped: list[set[str]] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            grouped.append(set(node.modifier.labels) if node.modifier is not None else set())
        vector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(vector, promql_parser.VectorSelector):
            assert vector.name is not None
            found[vector.name] |= {matcher.name for matcher in vector.matchers.matchers}
            found[vector.name] |= set().union(*grouped)

    def leave(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            grouped.pop()

    promql_parser.walk(promql_parser.parse(expression), enter, leave)
    assert found, expression
    return found


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_every_metric_and_label_is_there(scraped: dict[str, set[str]], where: str, expression: str) -> None:
    for name, labels in asked_for(expression).items():
        if name in OF_PROMETHEUS:
            assert labels <= OF_THE_TARGET
            continue
        assert name in scraped, name
        assert labels - OF_THE_TARGET <= scraped[name], name


def test_a_parser_finds_labels_where_they_stand() -> None:
    expression = 'sum by (le) (rate(a{b="c"}[2m])) / on () group_left () max by (d) (e offset 5m) > 1'
    assert asked_for(expression) == {"a": {"b", "le"}, "e": {"d"}}
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        asked_for("sum by (le) (rate(a[2m])")


def test_values_of_labels_are_the_server_s() -> None:
    """Types of errors and probes, which expressions name."""
    text = json.dumps(DASHBOARD) + json.dumps(list(RULES.values()))
    types = re.findall(r'type[=~]+\\?"([a-z_|]+)', text)
    assert len(types) == 4
    assert {type for group in types for type in group.split("|")} <= ErrorType.__members__.keys()


def test_every_metric_has_a_panel_or_is_named_in_the_guide(scraped: dict[str, set[str]]) -> None:
    asked = {name for _, expression in EXPRESSIONS for name in asked_for(expression)}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in scraped}
    assert {name for name in ours - families if name not in GUIDE} == set()


def test_the_dashboard_can_be_provisioned() -> None:
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("polyseme", "Polyseme")
    assert "id" not in DASHBOARD  # Grafana gives it
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(variables[name]["datasource"] == chosen for name in ("job", "instance"))
    for panel in PANELS:
        assert all(target["datasource"] == chosen for target in [panel, *panel["targets"]])
        assert panel["description"]
        assert all("$job" in target["expr"] and "$instance" in target["expr"] for target in panel["targets"])
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_panel_lies_on_another() -> None:
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
        assert one["x"] + one["w"] <= 24


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert re.fullmatch(r"\d+[ms]", rule.get("for", "0s"))
    assert f"`{name}`" in GUIDE
    used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule)))
    labels = set().union(*asked_for(rule["expr"]).values())
    assert used <= labels
