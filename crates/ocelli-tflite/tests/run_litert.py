#!/usr/bin/env python3
"""Runs every network of the registry in LiteRT, and compares with what Ocelli computes.

tests/run_litert.py PROGRAM [NAME...]

PROGRAM is the example `tflite_networks`, built. Needs ai-edge-litert (pip install ai-edge-litert). Each file is run by
LiteRT's own operators and with XNNPACK, which is the default, on one image and on two. Prints the largest difference of
logits as a part of their spread, which is at most 1e-5; ends with status 1 where one is more than it may be.
"""
import importlib.metadata, json, pathlib, subprocess, sys, tempfile

import numpy
from ai_edge_litert.interpreter import Interpreter, OpResolverType

BOUND = 1e-5
# With weights by a formula the activations of a network this deep hardly vary, and rounding errors grow.
ILL_CONDITIONED = {"efficientnet_lite4": 5e-5}


def difference(folder, name, resolver):
    given = json.loads((folder / f"{name}.json").read_text())
    size = given["size"]
    images = numpy.array(given["images"], numpy.float32).reshape(-1, 3, size, size).transpose(0, 2, 3, 1).copy()
    expected = numpy.array(given["logits"]).reshape(len(images), -1)
    interpreter = Interpreter(str(folder / f"{name}.tflite"), experimental_op_resolver_type=resolver)
    runner = interpreter.get_signature_runner()
    # One by one too: the number of images is free.
    alone = numpy.concatenate([runner(images=image[None])["logits"] for image in images])
    worst = max(abs(runner(images=images)["logits"] - expected).max(), abs(alone - expected).max())
    return worst / (expected.max() - expected.min())


program, names = sys.argv[1], sys.argv[2:]
names = names or subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
failed = []
for name in names:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, folder, name], check=True)
        folder = pathlib.Path(folder)
        own = difference(folder, name, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        xnnpack = difference(folder, name, OpResolverType.AUTO)
    print(f"{name:24} {own:.1e}   XNNPACK: {xnnpack:.1e}", flush=True)
    if not max(own, xnnpack) <= ILL_CONDITIONED.get(name, BOUND):
        failed.append(name)
if not names or failed:
    sys.exit(f"error: more than {BOUND} of the spread: {', '.join(failed) or 'no networks'}")
print(f"{len(names)} networks: as in LiteRT {importlib.metadata.version('ai-edge-litert')}")
