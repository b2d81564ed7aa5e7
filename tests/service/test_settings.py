"""The settings table: precedence, checks with one clear line, and nothing undocumented on the help page."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from service.declaration import declaration_of, flag_name, help_text, variable_name
from service.settings import SHIPPED_BUNDLE, Settings, SettingsError, add_flags, read_settings
from service.settings_page import PAGE, page


def parse(*arguments: str) -> dict[str, str | list[str] | None]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(arguments))


def test_defaults_are_within_their_own_limits() -> None:
    given = {
        variable_name(setting.name): str(setting.default)
        for setting in fields(Settings)
        if isinstance(setting.default, int | str)
    }
    assert read_settings(given, {}) == Settings() == read_settings({}, parse())
    assert Settings().bundle == (SHIPPED_BUNDLE,)
    assert SHIPPED_BUNDLE.parts[-3:] == ("model", "pretrained", "enko")


def test_a_flag_wins_over_the_variable_and_the_variable_over_the_default() -> None:
    environment = {"POLYSEME_PORT": "1", "POLYSEME_QUEUE_TOKENS": "2", "POLYSEME_HOST": ""}
    settings = read_settings(environment, parse("--port", "3"))
    assert (settings.port, settings.queue_tokens, settings.host) == (3, 2, "127.0.0.1")


def test_several_bundles() -> None:
    assert read_settings({}, parse("--bundle", "a", "--bundle", "b")).bundle == (Path("a"), Path("b"))
    assert read_settings({"POLYSEME_BUNDLE": f"a{os.pathsep}b"}, {}).bundle == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "http"], "--port: expected a whole number from 0 to 65535, got 'http'"),
        (["--port", "65536"], "--port: expected a whole number from 0 to 65535, got '65536'"),
        (["--batch-tokens", "0"], "--batch-tokens: expected a whole number of at least 1, got '0'"),
        (["--batch-tokens", "1.5"], "--batch-tokens: expected a whole number of at least 1, got '1.5'"),
        (["--log-level", "loud"], "--log-level: expected one of debug, info, warning, error, got 'loud'"),
        (["--host", ""], "--host: expected an address or a host name, got ''"),
        (["--host", "[]"], "--host: expected an address or a host name, got '[]'"),
        (["--host", "[127.0.0.1]"], "--host: expected an address or a host name, got '[127.0.0.1]'"),
        (["--host", "a b"], "--host: expected an address or a host name, got 'a b'"),
        (["--host", "http://a"], "--host: expected an address or a host name, got 'http://a'"),
        (["--bundle", ""], "--bundle: expected the folder of a bundle, got an empty name"),
    ],
)
def test_a_wrong_flag_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, parse(*arguments))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "host"),
    [("[::1]", "::1"), ("::1", "::1"), ("[fe80::1%eth0]", "fe80::1%eth0"), ("localhost", "localhost")],
)
def test_an_address_may_stand_in_brackets_as_in_a_url(given: str, host: str) -> None:
    assert read_settings({}, parse("--host", given)).host == host
    assert read_settings({"POLYSEME_HOST": given}, {}).host == host


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("POLYSEME_QEUE_TOKENS", "did you mean POLYSEME_QUEUE_TOKENS?"),
        ("POLYSEME_API_KEY", "did you mean POLYSEME_API_KEYS"),
        ("POLYSEME_ZZZZZZ", "polyseme serve --help lists them"),
    ],
)
def test_an_unknown_variable_is_refused(variable: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({variable: "1", "OTHER": "2"}, {})
    message = f"{variable}: expected the variable of a setting, got an unknown name; {hint}"
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_none_of_ours() -> None:
    links = {
        "POLYSEME_SERVICE_HOST": "10.0.0.11",
        "POLYSEME_SERVICE_PORT": "8000",
        "POLYSEME_SERVICE_PORT_HTTP": "8000",
        "POLYSEME_PORT": "tcp://10.0.0.11:8000",
        "POLYSEME_PORT_8000_TCP": "tcp://10.0.0.11:8000",
        "POLYSEME_PORT_8000_TCP_ADDR": "10.0.0.11",
    }
    assert read_settings(links, {}) == Settings()


KEY, ADMIN_KEY = "0123456789abcdef", "/+=._~-:;0123456789"


def test_lists_are_separated_by_commas() -> None:
    given = parse("--api-keys", f"{KEY}, {ADMIN_KEY}", "--cors-origins", "https://a.example,http://b:8080")
    settings = read_settings({"POLYSEME_ADMIN_KEYS": ADMIN_KEY}, given)
    assert settings.api_keys == (KEY, ADMIN_KEY)
    assert settings.admin_keys == (ADMIN_KEY,)
    assert settings.cors_origins == ("https://a.example", "http://b:8080")


@pytest.mark.parametrize(
    "form", [repr, str, lambda settings: repr(vars(settings)), lambda s: f"{s.api_keys}"]
)
def test_keys_are_shown_to_nobody(form: Callable[[Settings], str]) -> None:
    settings = read_settings({"POLYSEME_API_KEYS": f"{KEY},{ADMIN_KEY}"}, {})
    shown = form(settings)
    assert KEY not in shown
    assert "<2 secrets>" in shown


@pytest.mark.parametrize("wrong", ["short", "0123456789abcdef,", "0123456789 abcdef", "0123456789abcdefé"])
def test_a_wrong_key_is_not_repeated(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"POLYSEME_API_KEYS": wrong}, {})
    assert str(caught.value) == (
        "POLYSEME_API_KEYS: expected keys of at least 16 visible ASCII characters, separated by commas"
    )


@pytest.mark.parametrize("wrong", ["a.example", "https://a.example/path", "https://a.example,", "ftp://x"])
def test_a_wrong_origin(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, parse("--cors-origins", wrong))
    expected = "origins as https://example.org, or *, separated by commas"
    assert str(caught.value) == f"--cors-origins: expected {expected}, got {wrong!r}"


def test_the_page_of_all_settings_is_the_present_one() -> None:
    renew = "a wanted change? `python -m service.settings_page` renews the page"
    assert PAGE.read_text(encoding="utf-8") == page(), renew


def test_a_wrong_variable_is_named_as_the_variable() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"POLYSEME_THREADS": "-1"}, {})
    assert str(caught.value) == "POLYSEME_THREADS: expected a whole number from 0 to 1024, got '-1'"


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: Field[Any]) -> None:
    """A setting says what it is; a limit also says what raising it costs, and what lowering it costs."""
    text = help_text(setting)
    declaration = declaration_of(setting)
    assert re.match(r"[A-Z].*\. .*\[POLYSEME_[A-Z_]+(, default \S+)?\]$", text, re.DOTALL)
    is_limit = isinstance(setting.default, int) and setting.name != "port"
    assert bool(declaration.raising) == bool(declaration.lowering) == is_limit


def test_the_help_page_lists_every_flag_and_variable() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    page = " ".join(parser.format_help().split())
    for setting in fields(Settings):
        assert f"{flag_name(setting.name)} " in page
        assert f"[{variable_name(setting.name)}" in page


@pytest.mark.parametrize("name", ["POLYSEME_API_KEYS", "POLYSEME_ADMIN_KEYS"])
def test_a_secret_that_was_never_filled_in_does_not_open_the_server(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected keys, got an empty value"):
        read_settings({name: ""}, {})
