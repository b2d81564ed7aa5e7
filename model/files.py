"""What the files of a bundle are called."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "int8"]
"""Of the recurrent layers."""

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.model"
CHARACTERS_FILE = "characters.json"
WORDS_FILE = "words.txt"
WEIGHTS_FILE = "weights.safetensors"
TOKEN_ENCODER_FILE = "token_encoder.onnx"
CONTEXT_ENCODER_FILE = "context_encoder.onnx"
INT8_CONTEXT_ENCODER_FILE = "context_encoder.int8.onnx"
LM_HEADS_FILE = "lm_heads.onnx"
MODEL_CARD_FILE = "MODEL_CARD.md"

CONTEXT_ENCODERS: dict[Precision, str] = {
    "float32": CONTEXT_ENCODER_FILE,
    "int8": INT8_CONTEXT_ENCODER_FILE,
}
"""The context encoder of each precision; a bundle may lack all but the first."""

REQUIRED_FILES = (CHARACTERS_FILE, WEIGHTS_FILE, TOKEN_ENCODER_FILE, CONTEXT_ENCODER_FILE)
"""What every manifest lists; what else it must list depends on the model (`Manifest.required_files`), and it
may list more."""
