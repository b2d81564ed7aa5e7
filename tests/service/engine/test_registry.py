"""Which model a request gets, and what it is told when there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.bundle import BundleError
from service.engine.cpu import usable_cpus
from service.engine.registry import Registry
from service.errors import ServiceError
from tests.service.conftest import fake_settings
from tests.service.fake_backend import open_fake


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    names: list[str] = getattr(request, "param", ["a"])
    registry = Registry(fake_settings(bundle=tuple(map(Path, names))), open_fake)
    registry.open()
    yield registry
    registry.close()


def refusal(registry: Registry, name: str | None) -> tuple[str, str, str | None]:
    with pytest.raises(ServiceError) as caught:
        registry.embedder(name)
    return caught.value.type.name, caught.value.message, caught.value.where


def test_one_model_needs_no_name(registry: Registry) -> None:
    assert registry.embedder(None) is registry.embedder("a")
    assert registry.names == ["a"]
    assert refusal(registry, "b") == ("unknown_model", 'expected "a", got the string "b"', "model")


@pytest.mark.parametrize("registry", [["a", "b"]], indirect=True)
def test_of_two_models_one_must_be_named(registry: Registry) -> None:
    assert [registry.embedder(name).name for name in registry.names] == ["a", "b"]
    assert refusal(registry, None) == ("unknown_model", 'expected "a" or "b", got null', "model")


def test_two_bundles_of_one_name_are_refused() -> None:
    registry = Registry(fake_settings(bundle=(Path("x/a"), Path("y/a"))), open_fake)
    with pytest.raises(BundleError) as caught:
        registry.open()
    assert str(caught.value) == 'y/a: expected another name than the string "a": it is served already'
    registry.close()


def test_it_is_ready_only_while_it_is_open() -> None:
    registry = Registry(fake_settings(), open_fake)
    states = [registry.is_ready]
    assert refusal(registry, None)[0] == "not_ready"
    registry.open()
    states.append(registry.is_ready)
    registry.close()
    states.append(registry.is_ready)
    assert states == [False, True, False]
    assert refusal(registry, None)[0] == "not_ready"


def test_workers_share_the_cpus() -> None:
    shares = [Registry(fake_settings(threads=0, workers=n), open_fake).num_threads for n in (1, 2, 256)]
    assert shares == [usable_cpus(), max(1, usable_cpus() // 2), max(1, usable_cpus() // 256)]
    assert Registry(fake_settings(threads=3, workers=2), open_fake).num_threads == 3


def test_a_reply_does_not_wait_behind_texts_that_are_tokenized(registry: Registry) -> None:
    """Under overload most of these are only to be refused."""
    written = threading.Event()
    tokenizing = registry.texts.submit(1, lambda: written.wait(30))
    registry.workers.submit(written.set).result(timeout=10)
    assert tokenizing.result()
