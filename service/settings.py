"""Every setting of the service, declared once: its default, its range, and what raising or lowering it costs.

A setting `queue_tokens` is the variable POLYSEME_QUEUE_TOKENS and the flag --queue-tokens; a flag wins over
the variable, the variable over the default. The help page, the table in docs/settings.md, the checks and the
values all come from the class below.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import model
from model.files import Precision
from service.declaration import (
    Given,
    Secrets,
    SettingsError,
    convert,
    declare,
    flag_name,
    help_text,
    is_service_link,
    metavar,
    refuse_unknown,
    variable_name,
)
from service.task_store.target import DATABASE_FORM, PostgreSQL, file_path, postgresql

__all__ = ["SHIPPED_BUNDLE", "Settings", "SettingsError", "add_flags", "read_settings"]

SHIPPED_BUNDLE = Path(model.__file__).parent / "pretrained" / "enko"

KEY = r"[!-+\--~]{16,}"  # visible ASCII without the comma, which separates keys


def address(text: str) -> str:
    """Return an address or host name as sockets take it. Raises ValueError.

    An IPv6 address may stand in brackets, as it does in a URL.
    """
    found = re.fullmatch(r"\[(.+:.*)\]|([^\s\[\]/]+)", text)
    if found is None:  # an empty one would be every interface
        raise ValueError(f"expected an address or a host name, got {text!r}")
    return found[1] or found[2]


@dataclass(frozen=True)
class Settings:
    """The values of one running server."""

    host: str = declare(
        "127.0.0.1",
        "Address or host name to listen on; 0.0.0.0 is every IPv4 interface of the machine, :: every one of "
        "both protocols.",
        metavar="ADDRESS",
        read=address,
    )
    port: int = declare(8000, "Port to listen on; 0 takes any free one and says which.", most=65535)
    bundle: tuple[Path, ...] = declare(
        (SHIPPED_BUNDLE,),
        f"Folder of a bundle to serve. Give the flag once for each; in the variable they are separated "
        f"by {os.pathsep!r}. Default: the English and Korean bundle that comes with the package.",
        metavar="FOLDER",
    )
    workers: int = declare(
        1,
        "Processes that share the port, each with its own copy of every model, queue and cache.",
        raising="tokenising and serialising in more than one process; memory for each (165 MB with the "
        "shipped bundle), fewer compute threads for one request, and limits that count for each process",
        lowering="every CPU for one batch, one queue and one cache; Python's own work on one CPU",
        least=1,
        most=256,
    )
    threads: int = declare(
        0,
        "Compute threads of one process; 0 shares the CPUs that the cgroup's quota and the affinity leave "
        "equally among the workers.",
        raising="faster batches, up to the CPUs there really are; beyond them, every batch is slower",
        lowering="leaves CPU to other processes, and to this one's tokenising and serialising",
        most=1024,
    )
    precision: Precision = declare(
        "float32",
        "Arithmetic of the recurrent layers. int8 takes less than half of the time and moves a vector "
        "by about a hundredth of its length; neighbours change nothing either way. Not every bundle has a "
        "graph for it.",
        choices=("float32", "int8"),
    )
    batch_tokens: int = declare(
        1024,
        "Most tokens in one batch, padding counted. A longer sentence runs in a batch of its own.",
        raising="more tokens a second under load, and more memory; a short request waits longer",
        lowering="a short request waits less for the batch before it; fewer tokens a second",
        least=1,
    )
    batch_age_ms: int = declare(
        100,
        "Under load short sentences go first, until one has waited this long: the next batch is built "
        "around it.",
        raising="less padding and a lower mean latency; long sentences wait longer",
        lowering="nearer to first come, first served; more padding",
    )
    queue_tokens: int = declare(
        32768,
        "Most tokens waiting for the engine. A request that does not fit beside what waits gets 429, one "
        "that could never fit gets 413. Before it is known how many tokens a text has, 8 characters count as "
        "one; requests of up to 10,000 characters do not wait for longer ones.",
        raising="longer bursts and larger requests are taken; the last in the queue waits longer, and a "
        "large reply takes more memory (11 kB a token as JSON with 1,024 dimensions)",
        lowering="overload is refused sooner, so what is accepted is answered sooner",
        least=1,
    )
    slice_tokens: int = declare(
        128,
        "Tokens of one input that run at once. A longer one runs in slices that carry the network's state, "
        "and short requests pass between them; its vectors are the same.",
        raising="a little more speed for long documents; a short request waits longer for one",
        lowering="a short request waits less; long documents take longer",
        least=1,
    )
    cache_tokens: int = declare(
        16384,
        "Token vectors kept, the least recently used leaving first; 0 keeps none. Replies are the same.",
        raising="fewer tokens go through the character CNN again; memory, 4 bytes x half the dimension each",
        lowering="less memory; rare tokens are computed more often",
        most=10_000_000,
    )
    max_inputs: int = declare(
        2048,
        "Most inputs in one request; more get 413.",
        raising="fewer round trips for bulk work; larger replies, which are built in memory",
        lowering="bounds what one request can cost",
        least=1,
    )
    max_characters: int = declare(
        200_000,
        "Most characters (code points) in one input; a longer one gets 413, never a silent cut.",
        raising="longer documents in one piece; each holds the engine, and its memory, for longer",
        lowering="bounds how long one input can hold the engine",
        least=1,
    )
    max_filled_characters: int = declare(
        2 * 1024 * 1024,
        "Most characters around the blanks of one /v1/cloze request: those of its text, for each candidate "
        "or proposal again; more get 413.",
        raising="longer texts or more candidates at once; memory for each copy of the text",
        lowering="bounds the memory and the time of one request",
        least=1,
    )
    max_body_bytes: int = declare(
        2 * 1024 * 1024,
        "Most bytes in a request's body; a larger one gets 413 before it is parsed or even read.",
        raising="larger requests; all else stops while JSON is parsed, longest for hostile JSON",
        lowering="bounds what one client can make the server read",
        least=1,
    )
    max_reply_bytes: int = declare(
        512 * 1024 * 1024,
        "Most bytes in one reply with vectors, a JSON number counted as 17; a request for more gets 413 "
        "before anything is computed.",
        raising="larger replies, each built in memory beside its vectors",
        lowering="bounds the memory that one request can take",
        least=1,
        most=2**31 - 1,  # offsets in Arrow's lists and strings have 31 bits
    )
    held_bytes: int = declare(
        1024 * 1024 * 1024,
        "Most bytes of vectors and replies that all requests hold together, from their admission until their "
        "clients have read them, as many as they can become. A request that does not fit beside the others "
        "gets 429, one that could never fit gets 413. The model and its batches come on top.",
        raising="more and larger replies at once, and slow readers; memory, up to this much",
        lowering="bounds memory; under load more requests get 429, and the largest ones always 413",
        least=1,
    )
    body_timeout_s: int = declare(
        30,
        "Seconds that a request's body may take to arrive; then the answer is 408.",
        raising="slower connections can send large requests; one that sends nothing is held for longer",
        lowering="a client that stops in the middle is dropped sooner, and so is a slow one",
        least=1,
    )
    write_timeout_s: int = declare(
        60,
        "Seconds in which a client must take 64 KiB more of a reply that waits for it, or the connection is "
        "cut off.",
        raising="slower readers get their reply; one that reads nothing holds its reply's memory for longer",
        lowering="memory is free sooner; slow readers lose their reply",
        least=1,
    )
    keep_alive_s: int = declare(
        75,
        "Seconds that an idle connection is kept, and that a request's headers may take to arrive.",
        raising="fewer new connections; more idle ones that are held (a load balancer's own limit should be "
        "the shorter)",
        lowering="fewer idle connections; clients connect again more often",
        least=1,
    )
    request_timeout_ms: int = declare(
        0,
        "Milliseconds after which a request's work is given up and its answer is 504; 0 for never. A client "
        "can ask for less with the header X-Request-Timeout-Ms.",
        raising="long documents end well under load; work that no client waits for any more is done",
        lowering="bounds how long a request can wait; under load, more requests fail",
        most=86_400_000,
    )
    stall_ms: int = declare(
        1500,
        "Milliseconds after which a batch that still runs makes /readyz answer 503.",
        raising="slow batches are tolerated; a hung engine is noticed later",
        lowering="a hung engine is noticed sooner; a slow batch takes the server out of its balancer's list",
        least=1,
    )
    hang_ms: int = declare(
        10_000,
        "Milliseconds after which a batch that still runs is given up, and its engine's thread replaced.",
        raising="very slow batches end well; what waits behind a hung one waits longer",
        lowering="a hung engine is replaced sooner; a batch that is only slow is computed for nothing",
        least=1,
    )
    drain_s: int = declare(
        30,
        "Seconds that requests in flight have to end after SIGTERM or Ctrl-C; then they are cut off.",
        raising="long replies end well; a stop takes longer",
        lowering="a stop is quick; slow readers lose their reply",
    )
    log_level: str = declare(
        "info",
        "Least severe message to log, on standard error.",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = declare(
        "text",
        "Form of the log, on standard error: lines for people, or one JSON object a line.",
        choices=("text", "json"),
    )
    api_keys: tuple[str, ...] = declare(
        Secrets(),
        "Keys that may ask for everything but changes, separated by commas; `Authorization: Bearer KEY`. "
        "Without any key, everybody may do everything. Prefer the variable: others can read flags.",
        metavar="KEYS",
        pattern=KEY,
        items="keys of at least 16 visible ASCII characters, separated by commas",
    )
    admin_keys: tuple[str, ...] = declare(
        Secrets(),
        "Keys that may also change what the server keeps, separated by commas. Prefer the variable here too.",
        metavar="KEYS",
        pattern=KEY,
        items="keys of at least 16 visible ASCII characters, separated by commas",
    )
    cors_origins: tuple[str, ...] = declare(
        (),
        "Origins whose web pages may read replies, separated by commas, as https://example.org; * is every "
        "one. Default: none.",
        metavar="ORIGINS",
        pattern=r"\*|https?://[^\s/*,]+",
        items="origins as https://example.org, or *, separated by commas",
    )
    max_fits: int = declare(
        2,
        "Most tasks that one process learns at the same time; another fit gets 429.",
        raising="more users learn at once; memory for each (see max_fit_examples), and all take longer",
        lowering="bounds memory and what learning takes from requests",
        least=1,
        most=64,
    )
    max_fit_examples: int = declare(
        32_768,
        "Most sentences, words to tag, or marked words in one fit; more get 413.",
        raising="larger fits; memory for each, 4 bytes x layers x dimension (12 kB with the shipped bundle), "
        "for marked words a layer more (16 kB)",
        lowering="bounds the memory and time of a fit",
        least=10,
    )
    max_fit_labels: int = declare(
        1000,
        "Most labels in one fit, or senses of all its words; more get 413.",
        raising="larger tasks, 4 bytes x dimension for each label, which every process keeps in memory",
        lowering="bounds the size of a task and the time to learn it",
        least=2,
    )
    max_task_bytes: int = declare(
        32 * 1024 * 1024,
        "Most bytes in an uploaded task, or in examples that are streamed (NDJSON); more get 413.",
        raising="larger tasks and more text for one fit; parsing an uploaded one stops all else for a moment",
        lowering="bounds what one client can make the server read",
        least=1,
    )
    tasks_path: Path | None = declare(
        None,
        "SQLite file that keeps learned tasks, made at their first use; on a local disk, for one machine. "
        "Default: polyseme/tasks.sqlite in $XDG_STATE_HOME, or in ~/.local/state without it.",
        metavar="FILE",
        read=file_path,
    )
    database_url: PostgreSQL | None = declare(
        None,
        f"PostgreSQL database that keeps learned tasks instead, for many machines: {DATABASE_FORM}. "
        "It must exist; its tables are made at their first use. Needs the extra postgres. Prefer the "
        "variable: others can read flags.",
        metavar="URL",
        read=postgresql,
    )


def read_settings(environment: Mapping[str, str], flags: Mapping[str, Given | None]) -> Settings:
    """Return the settings that the flags and the variables give; a flag that was not given is None.

    Raises SettingsError with one line, also for a variable that begins like ours and is none.
    """
    refuse_unknown(environment, [setting.name for setting in fields(Settings)])
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        variable = variable_name(setting.name)
        given = flags.get(setting.name)
        if given is not None:
            values[setting.name] = convert(setting, given, flag_name(setting.name))
        elif isinstance(setting.default, Secrets) and environment.get(variable) == "":
            # A secret that was never filled in; an open server is not what its operator wanted.
            raise SettingsError(f"{variable}: expected keys, got an empty value; unset it to need none")
        elif (text := environment.get(variable)) and not is_service_link(variable, text):
            values[setting.name] = convert(setting, text, variable)
    return Settings(**values)


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add one flag for each setting, or for those named; their values stay text, so that variables and flags
    are checked alike."""
    for setting in fields(Settings):
        if names and setting.name not in names:
            continue
        parser.add_argument(
            flag_name(setting.name),
            action="append" if setting.name == "bundle" else "store",
            metavar=metavar(setting),
            help=help_text(setting).replace("%", "%%"),
        )
