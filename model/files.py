"""What the files of a bundle are called."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "int8"]
"""Of the recurrent layers."""

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.model"
CHARACTERS_FILE = "characters.json"
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

REQUIRED_FILES = (
    TOKENIZER_FILE,
    CHARACTERS_FILE,
    WEIGHTS_FILE,
    TOKEN_ENCODER_FILE,
    CONTEXT_ENCODER_FILE,
    LM_HEADS_FILE,
)
"""What every manifest lists; it may list more."""
