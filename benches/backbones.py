#!/usr/bin/env python3
"""Forward and training images/s of every backbone, beside PyTorch on the same machine in the same minute.

    cargo build --release
    python benches/backbones.py [NAME...] > table.md

For each backbone Ocelli (`ocelli models --benchmark`) and PyTorch take turns, two rounds, and the faster of the two counts. PyTorch runs in four configurations, plain and channels-last, f32 and bf16; the fastest of the four is its
figure, and the fastest of the two in f32 stands beside it. With --f32 both compute in f32 alone: for a processor without instructions for bf16. A training step is forward, backward and SGD over all
layers. Weights are random. Needs torch, torchvision and timm.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import timm
import torch
import torchvision

OCELLI = os.environ.get("OCELLI", Path(__file__).resolve().parent.parent / "target/release/ocelli")


def build(name, published, size):
    if hasattr(torchvision.models, name):
        return getattr(torchvision.models, name)()
    places = {"img_size": size} if name.startswith("vit") else {}
    return timm.create_model(published, **places)


def median_seconds(step, runs):
    step()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def pytorch(net, size, batch, runs, precisions):
    """Images/s forward and in training of each configuration: {bf16: [(forward, training), ...]}."""
    target = torch.randint(0, 1000, (batch,))
    seen = {bf16: [] for bf16 in precisions}
    for channels_last in (False, True):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        net = net.to(memory_format=layout)
        images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9)
        for bf16 in precisions:
            cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)

            def forward():
                with torch.no_grad(), cast:
                    net(images)

            def train():
                optimizer.zero_grad()
                with cast:
                    loss = torch.nn.functional.cross_entropy(net(images), target)
                loss.backward()
                optimizer.step()

            net.eval()
            used = batch / median_seconds(forward, runs)
            net.train()
            seen[bf16].append((used, batch / median_seconds(train, runs)))
    return seen


def ocelli(name, size, batch, runs, precisions):
    command = [OCELLI, "models", name, "--benchmark", "--json", "--size", size, "--batch-size", batch, "--batches", runs]
    command += ["--precision", "auto" if True in precisions else "f32"]
    out = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    measured = json.loads(out)["measured"]
    return measured["forward_images_per_second"], measured["training_images_per_second"]


def best(pairs):
    return [max(column) for column in zip(*pairs)]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("names", nargs="*")
    arguments.add_argument("--size", type=int, default=96)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--f32", action="store_true", help="no bf16")
    given = arguments.parse_args()
    listed = subprocess.run([OCELLI, "models", "--json", *given.names], check=True, capture_output=True, text=True)
    print(f"{given.size} px, batches of {given.batch}; PyTorch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| | forward | PyTorch's best | ratio | (f32) | training | PyTorch's best | ratio | (f32) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for line in listed.stdout.splitlines():
        info = json.loads(line)
        precisions = (False,) if given.f32 else (False, True)
        name, how = info["name"], (given.size, given.batch, given.runs, precisions)
        net = build(name, info["published_name"], given.size)
        ours, theirs = [], {bf16: [] for bf16 in precisions}
        for _ in range(given.rounds):
            ours.append(ocelli(name, *how))
            for bf16, pairs in pytorch(net, *how).items():
                theirs[bf16] += pairs
        ours, f32, any_of_four = best(ours), best(theirs[False]), best(sum(theirs.values(), []))
        cells = [name]
        for own, plain, fastest in zip(ours, f32, any_of_four):
            cells += [f"{own:.1f}", f"{fastest:.1f}", f"{own / fastest:.2f}", f"{own / plain:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
