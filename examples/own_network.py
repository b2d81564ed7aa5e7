"""A network of one's own on served layers, trained with torch together with the mix of the layers; then the
mix is uploaded, and requests name it.

    python examples/own_network.py http://127.0.0.1:8000
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.scalar_mix_torch import ScalarMix

EXAMPLES = Path(__file__).with_name("boat_or_pear.jsonl")
NUM_STEPS = 300


def ask(method: str, url: str, body: dict[str, Any]) -> Any:
    """Return the reply to a request in JSON."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def main(address: str) -> None:
    examples = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    served = ask(
        "POST",
        f"{address}/v1/embed",
        {
            "inputs": [example["text"] for example in examples],
            "spans": [[[example["start"], example["end"]]] for example in examples],
            "layer": "all",
        },
    )
    layers_NLD = torch.tensor([each["vectors"] for each in served["embeddings"]]).squeeze(2)
    is_boat_N = torch.tensor([example["label"] == "boat" for example in examples]).float()

    torch.manual_seed(0)
    _, num_layers, dim = layers_NLD.shape
    mix = ScalarMix(num_layers)
    network = nn.Sequential(nn.Linear(dim, 16), nn.Tanh(), nn.Linear(16, 1))
    optimiser = torch.optim.Adam([*mix.parameters(), *network.parameters()], lr=0.003)
    for step in range(NUM_STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(network(mix(layers_NLD)).squeeze(1), is_boat_N)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in (0, NUM_STEPS - 1):
            print(f"step {step}: loss {loss.item():.3f}")

    # Without model_sha256 the server takes the mix to be of the bundle that it serves.
    mine = {"kind": "sense", "scalars": mix.scalars.tolist(), "gamma": mix.gamma.item()}
    entry = ask("PUT", f"{address}/v1/tasks/my-mix", mine)
    reply = ask("POST", f"{address}/v1/embed", {"inputs": ["배를 탔다"], "task": "my-mix"})
    assert reply["layer_weights"] == entry["weights"]
    print("served weights:", [round(weight, 3) for weight in reply["layer_weights"]])


if __name__ == "__main__":
    main(sys.argv[1])
