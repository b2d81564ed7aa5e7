"""A real tiny bundle, and the command with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model.bundle import Bundle
from service.command_line import main
from tests.service.bulk.reference import Reference
from tests.service.tiny_bundle import write_tiny_bundle

Embed = Callable[..., int]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def reference(bundle: Bundle) -> Reference:
    return Reference(bundle)


@pytest.fixture
def embed(bundle: Bundle) -> Embed:
    """Run `polyseme embed` in this process, and return its exit status."""

    def run(*arguments: object) -> int:
        return main(["embed", *map(str, arguments), "--bundle", str(bundle.folder), "--threads", "3"])

    return run
