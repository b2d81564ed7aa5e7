"""The application on Ray Serve: what it takes, and how a replica says how it is. With a running Ray:
test_ray_replicas.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from model.bundle import BundleError
from service.ray_app import Replica, Scaling, app, read_arguments
from service.settings import Settings, SettingsError
from tests.service.conftest import fake_settings, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend
from tests.service.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of Ray's own modules
    from ray import serve
    from ray.serve.schema import ServeDeploySchema


def built(arguments: dict[str, Any]) -> Any:
    """Return the deployment that the arguments make."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        application = app(arguments)
    assert isinstance(application, serve.Application)
    return application._bound_deployment


def test_variables_and_arguments_are_settings() -> None:
    environment = {"POLYSEME_PRECISION": "int8", "POLYSEME_QUEUE_TOKENS": "1000", "POLYSEME_HOST": "::"}
    settings, scaling = read_arguments(environment, {"queue_tokens": 2000, "max_replicas": "7"})
    assert (settings.precision, settings.queue_tokens) == ("int8", 2000)
    assert scaling == Scaling(max_replicas=7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queue_token": 1}, "queue_token: expected a setting or one of min_replicas, max_replicas, "),
        ({"queue_tokens": "x"}, "--queue-tokens: expected a whole number of at least 1, got 'x'"),
        ({"min_replicas": 0}, "min_replicas: expected a whole number of at least 1, got '0'"),
        ({"min_replicas": 5}, "max_replicas: expected at least 5, as min_replicas is, got 4"),
        ({"port": 80}, "port: expected none on Ray Serve, whose proxy holds the connections"),
        ({"workers": 2}, "workers: expected none on Ray Serve"),
    ],
)
def test_what_has_no_meaning_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_arguments({}, arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_a_deployment_leaves_refusing_to_the_application() -> None:
    deployment = built({"threads": 3, "drain_s": 50, "hang_ms": 8000, "min_replicas": 2, "queued_tokens": 9})
    assert (deployment.name, deployment.ray_actor_options["num_cpus"]) == ("polyseme", 3)
    assert deployment.max_ongoing_requests >= Settings().queue_tokens / 4  # the least that a request counts
    assert deployment._deployment_config.graceful_shutdown_timeout_s > 50
    assert deployment._deployment_config.health_check_period_s == 4
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 4)
    assert scaling.policy.policy_function == "service.ray_scaling:QueuedTokens"
    assert scaling.policy.policy_kwargs == {"target": 9}


def test_without_the_extra_one_line_names_it() -> None:
    code = "import sys; sys.modules['ray'] = None\nfrom service.ray_app import app\napp({})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1].endswith(
        "SettingsError: Ray Serve needs the extra cluster: pip install 'polyseme[cluster]'"
    )


def test_the_configuration_that_is_shipped_is_taken() -> None:
    document = yaml.safe_load((ROOT / "deploy" / "ray.yaml").read_text(encoding="utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = ServeDeploySchema.model_validate(document)
    (application,) = config.applications
    assert (application.import_path, application.route_prefix) == ("service.ray_app:app", "/")
    settings, scaling = read_arguments({}, application.args)
    assert scaling.max_replicas > scaling.min_replicas > 1
    assert built(application.args).ray_actor_options["num_cpus"] == settings.threads


def test_a_replica_says_how_it_is(tmp_path: Path, runtime: FakeRuntime) -> None:
    """Its engine runs, waits, hangs for longer than stall_ms, and is well again."""
    settings = fake_settings(bundle=(write_tiny_bundle(tmp_path / "tiny").folder,), stall_ms=200)
    replica = Replica(settings, lambda *_: fake_backend("fake", runtime))

    async def live() -> None:
        app = replica.__serve_build_asgi_app__()
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://ray") as client,
        ):
            await replica.check_health()
            assert (await replica.record_autoscaling_stats())["queued_tokens"] == 0
            runtime.may_run.clear()
            asked = [asyncio.create_task(client.post("/v1/embed", json={"inputs": ["a"]}))]
            await asyncio.to_thread(wait_until, runtime.running.is_set)
            asked.append(asyncio.create_task(client.post("/v1/embed", json={"inputs": ["b c d"]})))
            embedder = app.state.registry.embedder(None)
            await asyncio.to_thread(wait_until, lambda: embedder.queue_depth == 5)
            assert (await replica.record_autoscaling_stats())["queued_tokens"] == 5
            await asyncio.to_thread(wait_until, lambda: not embedder.is_alive)
            with pytest.raises(RuntimeError, match='the engine of "fake" is lost or hangs'):
                await replica.check_health()
            runtime.may_run.set()
            replies = await asyncio.gather(*asked)
            assert [reply.status_code for reply in replies] == [200, 200]
            assert "X-Request-Id" not in replies[0].headers  # Ray's proxy adds it
            await replica.check_health()
            busy = (await replica.record_autoscaling_stats())["busy"]
            assert busy > 0

    asyncio.run(live())


def test_a_replica_without_a_bundle_says_why(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="none"):
        Replica(fake_settings(bundle=(tmp_path / "none",)))
