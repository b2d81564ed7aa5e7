"""How a client reads each form of a reply of /v1/embed: with json, pyarrow and numpy alone.

Every reader returns the same: for each input its tokens, its rows (the axis of layers or tasks first, where
there is one), and where the form tells them the words or spans of the rows.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from service.replies.accept import ARROW, JSON, NPZ

Told = list[dict[str, Any]]


def from_json(content: bytes) -> Told:
    """Return each input's tokens, marks and rows, the axis of layers or tasks first where there is one."""
    reply = json.loads(content)
    told = []
    for embedding in reply["embeddings"]:
        vectors = embedding["vectors"]
        values = list(vectors.values()) if isinstance(vectors, dict) else vectors
        if "shape" in embedding:
            dtype = np.dtype(embedding["dtype"])
            texts = list(vectors.values()) if isinstance(vectors, dict) else [vectors]
            parts = [
                np.frombuffer(base64.b64decode(text), dtype).reshape(embedding["shape"]) for text in texts
            ]
            rows = np.stack(parts) if isinstance(vectors, dict) else parts[0]
        else:
            rows = np.array(values)
        marks = embedding.get("words", embedding.get("spans"))
        told.append({"tokens": embedding["tokens"], "marks": marks, "rows": rows})
    return told


def from_arrow(content: bytes) -> Told:
    table = pa.ipc.open_stream(content).read_all()
    columns = [name for name in table.schema.names if name.startswith("vectors")]
    told = []
    for row in table.to_pylist():
        tokens = [
            {name: value for name, value in token.items() if value is not None} for token in row["tokens"]
        ]
        parts = [np.array(row[name]) for name in columns]
        rows = parts[0] if columns == ["vectors"] else np.stack(parts)
        told.append({"tokens": tokens, "marks": row.get("words", row.get("spans")), "rows": rows})
    return told


def from_npz(content: bytes) -> Told:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    text = arrays["token_text"].tobytes()
    texts = [text[start:end].decode() for start, end in pairwise(arrays["token_text_offsets"])]
    told = []
    for (first, last), (row, row_end) in zip(
        pairwise(arrays["token_offsets"]), pairwise(arrays["row_offsets"]), strict=True
    ):
        tokens = []
        for i in range(first, last):
            token = {"text": texts[i], "start": arrays["token_starts"][i], "end": arrays["token_ends"][i]}
            if arrays["token_words"][i] >= 0:
                token["word"] = arrays["token_words"][i]
            tokens.append(token)
        told.append({"tokens": tokens, "rows": arrays["vectors"][..., row:row_end, :]})
    return told


READERS: dict[str, Callable[[bytes], Told]] = {JSON: from_json, ARROW: from_arrow, NPZ: from_npz}
