"""`python -m tests.deploy.image_sizes FOLDER`: the size of the image that deploy/build_image.sh wrote."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.deploy.image import Image

NUM_PARTS = 10


def table(image: Image) -> str:
    """Return Markdown; sizes in MB of a million bytes."""
    parts = image.part_bytes()
    shown = list(parts.items())[:NUM_PARTS]
    rest = sum(parts.values()) - sum(size for _, size in shown)
    layers = " + ".join(f"{size / 1e6:.0f}" for size in image.layer_bytes())
    compressed = f"{sum(image.layer_bytes()) / 1e6:.0f} MB (base image and own layers: {layers})"
    lines = [
        f"Compressed, which is what a pull moves: {compressed}.",
        "",
        f"| unpacked | {sum(parts.values()) / 1e6:.0f} MB |",
        "|---|---:|",
        *(f"| {name} | {size / 1e6:.0f} |" for name, size in shown),
        f"| {len(parts) - len(shown)} smaller parts | {rest / 1e6:.0f} |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Image(Path(sys.argv[1]))))
