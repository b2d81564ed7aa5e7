"""What onnxruntime's arenas hold grows neither with the number of batches nor with that of their shapes."""

from __future__ import annotations

import json
import subprocess
import sys

from service.settings import SHIPPED_BUNDLE
from tests.service.processes import ROOT

# In a process of its own, or what other tests have freed would be taken first.
RUNS = f"""
import json, random
import numpy as np
from pathlib import Path
from service.engine.backend import open_backend

def resident_bytes():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024

NUM_TOKENS = 128
runtime = open_backend(Path({str(SHIPPED_BUNDLE)!r}), 1, "float32").runtime
numbers, dice = np.random.default_rng(1), random.Random(1)
hidden_dim, num_layers = 512, 3

def one_of_each(longest, num_sentences):
    longest_token = dice.randint(1, 60)
    char_ids_NC = numbers.integers(1, 60, (dice.randint(1, 64), longest_token), dtype=np.int32)
    piece_ids_N = numbers.integers(0, 16384, len(char_ids_NC), dtype=np.int32)
    runtime.token_vectors(char_ids_NC, piece_ids_N)
    x_TBD = numbers.standard_normal((longest, num_sentences, hidden_dim), dtype=np.float32)
    lengths_B = np.full(num_sentences, longest, dtype=np.int32)
    state = runtime.first_state(num_sentences)
    weights_BL, gamma_B = np.ones((num_sentences, num_layers), np.float32), np.ones(num_sentences, np.float32)
    runtime.mix_slices(x_TBD, x_TBD, lengths_B, state, weights_BL, gamma_B)
    runtime.layer_slices(x_TBD, x_TBD, lengths_B, state)
    runtime.log_probabilities(x_TBD[:, 0][: dice.randint(1, 64)])

def shapes(lengths):
    return [(longest, NUM_TOKENS // longest) for longest in lengths]

before = resident_bytes()
for shape in shapes([1, NUM_TOKENS, 19, *range(2, 40, 6)]):  # the widest and the longest among them
    one_of_each(*shape)
warm = resident_bytes()
for shape in shapes([*range(3, 40, 5), *range(40, NUM_TOKENS, 17)]):  # none of them seen before
    one_of_each(*shape)
print(json.dumps([before, warm, resident_bytes()]))
"""


def test_new_shapes_take_no_more_memory() -> None:
    run = subprocess.run([sys.executable, "-c", RUNS], cwd=ROOT, capture_output=True, text=True, check=True)
    before, warm, after = json.loads(run.stdout)
    megabytes = 1024 * 1024
    assert warm - before < 96 * megabytes, "a batch of 128 tokens and 64 rows of 16,384 pieces"
    assert after - warm < 10 * megabytes, (before, warm, after)
