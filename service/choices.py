"""What a request may choose from, by name. Nothing that takes time to load: command lines offer the same."""

from __future__ import annotations

from typing import Literal

Pool = Literal["token", "word", "sentence", "sentence_max", "sentence_first", "sentence_last"]
Encoding = Literal["float", "base64"]
DType = Literal["float32", "float16"]
NamedLayer = Literal["top", "average", "all"]
