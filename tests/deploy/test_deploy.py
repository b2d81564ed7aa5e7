"""The manifests agree with the program: every path, variable, port and time that they name."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.declaration import variable_name
from service.routes.health import PROBES
from service.settings import Settings
from tests.deploy.image import SCRATCH

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = {
    manifest["kind"]: manifest
    for manifest in yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))
}
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("kind", MANIFESTS)
def test_kubernetes_would_take_it(kind: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], kubernetes_validate.latest_version(), strict=True)


def test_there_is_one_of_each() -> None:
    assert list(MANIFESTS) == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]


def test_they_choose_the_same_pods() -> None:
    labels = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", MANIFESTS["Deployment"]["metadata"]["name"])


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_are_paths_of_the_server(probe: str) -> None:
    assert CONTAINER[probe]["httpGet"]["path"] in PROBES
    assert CONTAINER[probe]["httpGet"]["port"] == CONTAINER["ports"][0]["name"]


def variables() -> list[str]:
    return [
        *(entry["name"] for entry in CONTAINER["env"]),
        *COMPOSE["services"]["polyseme"]["environment"],
        *re.findall(r"(POLYSEME_\w+)=", DOCKERFILE),
    ]


def test_variables_are_settings() -> None:
    known = {variable_name(setting.name) for setting in fields(Settings)}
    assert variables()
    assert [name for name in variables() if name not in known] == []


def test_there_is_time_to_drain() -> None:
    drain_s = {entry["name"]: entry.get("value") for entry in CONTAINER["env"]}["POLYSEME_DRAIN_S"]
    wait_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > float(drain_s) + wait_s
    grace = COMPOSE["services"]["polyseme"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings().drain_s


def test_user_and_port_are_the_image_s() -> None:
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == [str(POD["securityContext"]["runAsUser"])]
    port = CONTAINER["ports"][0]["containerPort"]
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [str(port)]
    assert re.findall(r"POLYSEME_PORT=(\d+)", DOCKERFILE) == [str(port)]
    assert COMPOSE["services"]["polyseme"]["ports"] == [f"{port}:{port}"]


def test_nothing_is_written_but_to_volumes() -> None:
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert [mount["mountPath"] for mount in CONTAINER["volumeMounts"]] == ["/tmp"]
    assert COMPOSE["services"]["polyseme"]["read_only"] is True
    assert COMPOSE["services"]["polyseme"]["tmpfs"] == ["/tmp"]
    volumes = re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)
    assert ("/tmp", *volumes) == SCRATCH


def test_the_database_s_password_is_one() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    password = services["database"]["environment"]["POSTGRES_PASSWORD"]
    assert f":{password}@database:5432/" in services["polyseme"]["environment"]["POLYSEME_DATABASE_URL"]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    run = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")
