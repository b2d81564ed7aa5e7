"""The package's version, as pip knows it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return it, or what stands for it when the package is run from its source."""
    try:
        return version("polyseme")
    except PackageNotFoundError:
        return "(run from its source, not installed)"
