#!/usr/bin/env python3
"""Shows that PyTorch takes the weights that Ocelli writes, and computes the same with them.

    python crates/ocelli-nn/tests/strict.py [ARCH...]

For each architecture a network with random weights and statistics is saved by torch.save, read and written
again by Ocelli (the example `resave`), and loaded into a second network with load_state_dict(strict=True):
once whole, and once as the body under a new head. Every tensor must come back bit for bit, and Ocelli's logits
must agree within 1e-4 of their spread. Needs torch, torchvision, timm, safetensors, and cargo.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4


def of_timm(name):
    """Constructor of a network with its classifier, and of one without."""
    return (
        lambda: timm.create_model(name),
        lambda: timm.create_model(name, num_classes=0),
        lambda body, images: body.forward_features(images),
    )


# Ocelli's name -> the network, its body, and the body's feature maps.
NETWORKS = {
    "efficientnet_lite0": of_timm("tf_efficientnet_lite0"),
}


class Transfer(nn.Module):
    """Ocelli's head, as a PyTorch user would write it: tensor names head.2, head.4, head.6, head.8."""

    def __init__(self, channels, classes):
        super().__init__()
        wide = 2 * channels
        self.head = nn.Sequential(
            nn.Identity(), nn.Flatten(),
            nn.BatchNorm1d(wide), nn.Dropout(0.25), nn.Linear(wide, 512), nn.ReLU(),
            nn.BatchNorm1d(512), nn.Dropout(0.5), nn.Linear(512, classes),
        )  # fmt: skip

    def forward(self, maps):
        pooled = [functional.adaptive_max_pool2d(maps, 1), functional.adaptive_avg_pool2d(maps, 1)]
        return self.head(torch.cat(pooled, 1))


def randomised(network):
    """Weights that keep activations of one size, and norms that are not the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.add_(torch.empty_like(tensor).uniform_(-0.1, 0.1, generator=generator))
    return network.eval()


def difference(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.std()).item()


def compare(name, folder):
    whole, body, features = NETWORKS[name]
    first = randomised(whole())
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    torch.save(first.state_dict(), folder / "weights.pth")
    save_file({"images": images}, folder / "images.safetensors")
    command = ["cargo", "run", "--release", "--quiet", "-p", "ocelli-nn", "--example", "resave", "--"]
    arguments = [name, folder / "weights.pth", folder / "images.safetensors", folder]
    subprocess.run([*command, *arguments], check=True, cwd=HERE)
    logits = load_file(folder / "logits.safetensors")

    second = whole().eval()
    second.load_state_dict(load_file(folder / "published.safetensors"), strict=True)
    for (tensor_name, given), back in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        if not tensor_name.endswith("num_batches_tracked") and not torch.equal(given, back):
            sys.exit(f"error: {name}: {tensor_name} does not come back as it was")
    published = difference(logits["published"], second(images))

    saved = load_file(folder / "transfer.safetensors")
    third = body().eval()
    third.load_state_dict({key: value for key, value in saved.items() if not key.startswith("head.")}, strict=True)
    maps = features(third, images)
    head = Transfer(maps.shape[1], 5).eval()
    head.load_state_dict({key: value for key, value in saved.items() if key.startswith("head.")}, strict=True)
    transfer = difference(logits["transfer"], head(maps))

    print(f"{name}: strict=True, logits differ by {published:.1e} of their spread, with a new head {transfer:.1e}")
    if max(published, transfer) > TOLERANCE:
        sys.exit(f"error: {name}: more than {TOLERANCE} of the spread")


def main():
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}")
    with torch.inference_mode():
        for name in sys.argv[1:] or NETWORKS:
            with tempfile.TemporaryDirectory() as folder:
                compare(name, Path(folder))


if __name__ == "__main__":
    main()
