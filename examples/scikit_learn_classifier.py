"""Vectors from the service, a classifier from scikit-learn: which "배" is it, the boat or the pear?

python examples/scikit_learn_classifier.py http://127.0.0.1:8000
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

EXAMPLES = Path(__file__).with_name("boat_or_pear.jsonl")


def word_vectors(address: str, examples: list[dict[str, object]]) -> np.ndarray:
    """Return float32 (N, D): of each example's marked word, in its sentence. As .npz, which costs next to
    nothing to read."""
    request = {
        "inputs": [example["text"] for example in examples],
        "spans": [[[example["start"], example["end"]]] for example in examples],
        "layer": "top",
        "normalize": True,
    }
    headers = {"Content-Type": "application/json", "Accept": "application/x-npz"}
    posted = urllib.request.Request(f"{address}/v1/embed", json.dumps(request).encode(), headers)
    with urllib.request.urlopen(posted) as reply:
        vectors: np.ndarray = np.load(io.BytesIO(reply.read()))["vectors"]
    return vectors


def main(address: str) -> None:
    examples = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    vectors_ND = word_vectors(address, examples)
    labels = [example["label"] for example in examples]
    classifier = LogisticRegression(C=10.0)
    accuracies = cross_val_score(classifier, vectors_ND, labels, cv=5)
    print(f"{len(examples)} vectors of {vectors_ND.shape[1]}; accuracy in 5 folds: {accuracies.mean():.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
