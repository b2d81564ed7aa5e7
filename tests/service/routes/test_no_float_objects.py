"""No float of a vector becomes a Python object on its way into a reply.

Such an object costs ten times as much as the four bytes that it is made of. Three signs give it away:

- Python's own work, counted in instructions, grows with the dimension: a loop over the values;
- what turns arrays into objects is called (`tolist`, `item`);
- so many more objects are alive at once: `list(array)` and its like, whose loop is inside C.

The same request is asked of two models that differ in their dimension alone.
"""

from __future__ import annotations

import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.engine.backend import Backend, Floats, Integers
from service.mixes import Mix
from service.replies.accept import ARROW, NPZ
from tests.service.conftest import fake_settings, serving, wait_until
from tests.service.fake_backend import DIMENSION, NUM_LAYERS, FakeAlphabet, FakeRuntime, FakeTokenizer
from tests.service.given_mixes import GivenMixes

SERVICE = Path(__file__).resolve().parents[3] / "service"
Models = tuple["Watch", tuple[httpx.Client, FastAPI], tuple[httpx.Client, FastAPI]]

WATCHED = tuple(str(SERVICE / part) for part in ("replies", "routes", "foreign_texts.py"))
"""What stands between the engine's arrays and the bytes of a reply."""

MAKES_OBJECTS = {"tolist", "item", "__float__"}
SMALL, LARGE = 8, 1024
NUM_TOKENS = 8
TEXT = " ".join("abcdefghij"[:NUM_TOKENS])
FEW = LARGE // 2
"""Instructions that depend on who is first, objects that other threads make meanwhile. The values of a single
vector are twice as many."""


@dataclass
class Seen:
    """What Python did in the files that are watched."""

    num_instructions: int = 0
    called: set[str] = field(default_factory=set)
    most_objects: int = 0  # alive at once, in the whole process


class Watch:
    """Looks at some files, on every thread that begins while it is installed."""

    def __init__(self, *files: str) -> None:
        self._files = files
        self._seen = Seen()

    @contextmanager
    def installed(self) -> Iterator[None]:
        threading.settrace(self._trace)
        threading.setprofile(self._profile)
        try:
            yield
        finally:
            threading.settrace(None)
            threading.setprofile(None)

    def of(self, call: Callable[[], object]) -> Seen:
        """Return what is seen during the call; its objects are those beyond what was there before."""
        before = sys.getallocatedblocks()
        self._seen = Seen(most_objects=before)
        call()
        self._seen.most_objects -= before
        return self._seen

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._seen.num_instructions += 1
        else:
            self._count_objects()
        return self._trace

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.startswith(self._files):
            self._seen.called.add(argument.__name__)
            self._count_objects()

    def _count_objects(self) -> None:
        self._seen.most_objects = max(self._seen.most_objects, sys.getallocatedblocks())


def makes_objects(small: Seen, large: Seen) -> bool:
    return bool(
        large.num_instructions > small.num_instructions + FEW
        or large.called & MAKES_OBJECTS
        or large.most_objects > small.most_objects + FEW
    )


class WideRuntime(FakeRuntime):
    """The fake network, its few numbers repeated up to a dimension."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self._times = dimension // DIMENSION

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        layers, state = super().layer_slices(forward_TBD, backward_TBD, lengths_B, state_SR2BH)
        return np.tile(layers, self._times) / np.float32(3), state  # thirds have many digits


@contextmanager
def wide_model(dimension: int) -> Iterator[tuple[httpx.Client, FastAPI]]:
    tokenizer, alphabet = FakeTokenizer(), FakeAlphabet()
    backend = Backend("fake", "0" * 64, dimension, NUM_LAYERS, tokenizer, alphabet, WideRuntime(dimension))
    store = GivenMixes("0" * 64, {"one": Mix((1.0, 0.0, 0.0)), "two": Mix((0.0, 0.5, 0.5))})
    app = create_app(fake_settings(), lambda *_: backend, store)
    with serving(app) as client:
        yield client, app


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """A watch, and two servers that it looks at: of a small dimension and of a large one."""
    watch = Watch(*WATCHED)
    with watch.installed(), wide_model(SMALL) as small, wide_model(LARGE) as large:
        yield watch, small, large


EMBED: tuple[dict[str, Any], ...] = (
    {},
    {"layer": "all"},
    {"tasks": ["one", "two"]},
    {"pool": "word", "normalize": True, "dtype": "float16"},
)
FORMS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "*/*"),
    ({"encoding": "base64"}, "*/*"),
    ({}, ARROW),
    ({}, NPZ),
)
OPENAI = {"model": "fake", "input": [TEXT, "a b"]}
SIMILARITY = {"inputs": {"source_sentence": TEXT, "sentences": ["a", "b c"]}}
REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("/v1/embed", {"inputs": [TEXT], **fields, **form}, accept)
        for fields in EMBED
        for form, accept in FORMS
    ),
    *(("/v1/embeddings", {**OPENAI, "encoding_format": form}, "*/*") for form in ("float", "base64")),
    *(("/embed", {"inputs": [TEXT, "a"], "normalize": normalize}, "*/*") for normalize in (True, False)),
    ("/", {"inputs": TEXT}, "*/*"),
    ("/embed_all", {"inputs": [TEXT, "a"]}, "*/*"),
    ("/similarity", SIMILARITY, "*/*"),
]


@pytest.mark.parametrize(("path", "body", "accept"), REQUESTS)
def test_python_does_not_touch_the_values(
    models: Models, path: str, body: dict[str, Any], accept: str
) -> None:
    watch, *servers = models

    def ask(client: httpx.Client, app: FastAPI) -> None:
        reply = client.post(path, json=body, headers={"Accept": accept})
        assert reply.status_code == 200, reply.text
        wait_until(lambda: app.state.drain.num_in_flight == 0)

    for server in servers:
        ask(*server)  # what is done once for all requests
    small, large = (watch.of(partial(ask, *server)) for server in servers)
    assert small.num_instructions > 100, "nothing was looked at"
    assert not makes_objects(small, large), (small, large)


# Below is what the watch has to see; it looks at this file then.

WAYS: dict[str, Callable[[Any], object]] = {
    "tolist": lambda array: array.tolist(),
    "a loop": lambda array: [float(value) for value in array],
    "list": lambda array: list(array),
    "map": lambda array: list(map(float, array)),
    "struct": lambda array: struct.pack(f"{len(array)}f", *array),
    "none": lambda array: array.astype(np.float16).tobytes(),
}


def written(way: Callable[[Any], object], dimension: int) -> object:
    kept = way(np.arange(dimension, dtype=np.float32))
    return len(repr(type(kept)))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_make_objects_is_seen(way: str) -> None:
    watch = Watch(__file__)

    def seen(dimension: int) -> Seen:
        def on_a_thread() -> None:
            thread = threading.Thread(target=written, args=[WAYS[way], dimension])
            thread.start()
            thread.join()

        return watch.of(on_a_thread)

    with watch.installed():
        seen(SMALL)
        assert makes_objects(seen(SMALL), seen(LARGE)) == (way != "none")
