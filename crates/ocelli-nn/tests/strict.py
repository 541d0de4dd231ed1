#!/usr/bin/env python3
"""Shows that PyTorch takes the weights that Ocelli writes, and computes the same with them.

    python crates/ocelli-nn/tests/strict.py [ARCH...]

For each architecture a network with random weights and statistics is saved by torch.save, read and written
again by Ocelli (the example `resave`), and loaded into a second network with load_state_dict(strict=True):
once whole, and once as the body under a new head. Every tensor must come back bit for bit, and Ocelli's logits
must agree within 1e-4 of their spread with PyTorch's in f64, or as well as PyTorch's own in f32 do where the network is so
deep that those are further away. Needs torch, torchvision, timm, safetensors, and cargo.
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
RESAVE = HERE.parents[2] / "target/release/examples/resave"
TOLERANCE = 1e-4


def of_torchvision(name, features, classifier="classifier"):
    """A network's constructor, its body's feature maps, and the attribute that is its classifier."""
    return lambda: getattr(torchvision.models, name)(), features, classifier


def of_timm(name, classifier, features=lambda body, images: body.forward_features(images)):
    return lambda: timm.create_model(name), features, classifier


def resnet_maps(body, images):
    x = body.maxpool(body.relu(body.bn1(body.conv1(images))))
    return body.layer4(body.layer3(body.layer2(body.layer1(x))))


def maps(body, images):
    return body.features(images)


def densenet_maps(body, images):
    return functional.relu(body.features(images))


RESNETS = "resnet18 resnet34 resnet50 resnext50_32x4d wide_resnet50_2".split()

# Ocelli's name -> how PyTorch builds it. One network at least of each family.
NETWORKS = {
    **{name: of_torchvision(name, resnet_maps, "fc") for name in RESNETS},
    "vgg16_bn": of_torchvision("vgg16_bn", maps),
    "densenet121": of_torchvision("densenet121", densenet_maps),
    "inception_v4": of_timm("inception_v4", "last_linear"),
    "inception_resnet_v2": of_timm("inception_resnet_v2", "classif"),
    "mobilenet_v2": of_torchvision("mobilenet_v2", maps),
    "mobilenet_v3_large": of_torchvision("mobilenet_v3_large", maps),
    "efficientnet_b0": of_torchvision("efficientnet_b0", maps),
    "efficientnet_lite0": of_timm("tf_efficientnet_lite0", "classifier"),
    "efficientnet_lite4": of_timm("tf_efficientnet_lite4", "classifier"),
    "convnext_atto": of_timm("convnext_atto", "head"),
    "convnext_tiny": of_torchvision("convnext_tiny", maps),
    "vit_tiny_patch16": of_timm("vit_tiny_patch16_224", "head"),
}


class Transfer(nn.Module):
    """Ocelli's head, as a PyTorch user would write it: tensor names head.2, head.4, head.6, head.8."""

    def __init__(self, channels, classes):
        super().__init__()
        wide = 2 * channels  # maxima and means; of tokens the class token and the others' mean
        self.head = nn.Sequential(
            nn.Identity(), nn.Flatten(),
            nn.BatchNorm1d(wide), nn.Dropout(0.25), nn.Linear(wide, 512), nn.ReLU(),
            nn.BatchNorm1d(512), nn.Dropout(0.5), nn.Linear(512, classes),
        )  # fmt: skip

    def forward(self, maps):
        if maps.ndim == 3:  # tokens
            pooled = [maps[:, 0], maps[:, 1:].mean(1)]
        else:
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


def resize(network, size):
    """Transformers must be told of other sizes: timm interpolates what they know of places."""
    if hasattr(network, "set_input_size"):
        network.set_input_size(img_size=(size, size))


def compare(name, size, folder):
    whole, features, classifier = NETWORKS[name]
    first = randomised(whole())
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    torch.save(first.state_dict(), folder / "weights.pth")
    save_file({"images": images}, folder / "images.safetensors")
    subprocess.run([RESAVE, name, folder / "weights.pth", folder / "images.safetensors", folder], check=True)
    logits = load_file(folder / "logits.safetensors")

    second = whole().eval()
    second.load_state_dict(load_file(folder / "published.safetensors"), strict=True)
    for (tensor_name, given), back in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        if not tensor_name.endswith("num_batches_tracked") and not torch.equal(given, back):
            sys.exit(f"error: {name}: {tensor_name} does not come back as it was")
    resize(second, size)
    single = second(images)
    exact = second.double()(images.double())
    published, own = difference(logits["published"], exact), difference(single, exact)

    saved = load_file(folder / "transfer.safetensors")
    third = whole().eval()
    setattr(third, classifier, nn.Identity())
    third.load_state_dict({key: value for key, value in saved.items() if not key.startswith("head.")}, strict=True)
    resize(third, size)
    found = features(third.double(), images.double())
    head = Transfer(found.shape[2 if found.ndim == 3 else 1], 5).eval()
    head.load_state_dict({key: value for key, value in saved.items() if key.startswith("head.")}, strict=True)
    transfer = difference(logits["transfer"], head.double()(found))

    found = f"logits differ by {published:.1e} of their spread (PyTorch's f32: {own:.1e}), with a new head {transfer:.1e}"
    print(f"{name}, {size} px: strict=True, {found}")
    if max(published, transfer) > max(TOLERANCE, own):
        sys.exit(f"error: {name}: more than {TOLERANCE} of the spread")


def main():
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}")
    command = ["cargo", "build", "--release", "--quiet", "--workspace", "--example", "resave"]
    subprocess.run(command, check=True, cwd=HERE)
    with torch.inference_mode():
        for name in sys.argv[1:] or NETWORKS:
            for size in (224, 160) if name.startswith("vit") else (96,):
                with tempfile.TemporaryDirectory() as folder:
                    compare(name, size, Path(folder))


if __name__ == "__main__":
    main()
