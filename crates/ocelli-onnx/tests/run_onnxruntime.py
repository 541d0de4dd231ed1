#!/usr/bin/env python3
"""Runs every network of the registry in onnxruntime, and compares with what Ocelli computes.

tests/run_onnxruntime.py PROGRAM [NAME...]

PROGRAM is the example `networks`, built. Needs onnx and onnxruntime (pip install onnx onnxruntime). onnx's checker must
accept each file. Prints the largest difference of logits as a part of their spread, which is at most 1e-5, and that of the
same network in 8-bit integers between onnxruntime and rten; ends with status 1 where one is more than it may be, or where
two weights of a channel are too large for processors that add two products in 16 bits.
"""
import json, pathlib, subprocess, sys, tempfile

import numpy
import onnx
import onnxruntime

BOUND = 1e-5
# Engines round at other places where an integer lies half-way, and a step more or less goes on through the network.
BOUND_INT8 = 0.1
# 255 times this is below 2 ** 15.
MAX_PAIR = 128
# With weights by a formula the activations of a network this deep hardly vary, and rounding errors grow. (8 bits change
# these logits by 0.2 to 0.3 of their spread.)
ILL_CONDITIONED = {"efficientnet_lite4": 5e-5}
ILL_CONDITIONED_INT8 = dict.fromkeys(["efficientnet_lite3", "efficientnet_lite4", "mobilenet_v2"], 0.3)


def difference(folder, name, form, key):
    file = folder / f"{name}{form}.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    given = json.loads((folder / f"{name}.json").read_text())
    size = given["size"]
    images = numpy.array(given["images"], numpy.float32).reshape(-1, 3, size, size)
    expected = numpy.array(given[key]).reshape(len(images), -1)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"images": images})
    # One by one too: the number of images is free.
    alone = numpy.concatenate([session.run(None, {"images": image[None]})[0] for image in images])
    worst = max(abs(found - expected).max(), abs(alone - expected).max())
    return worst / (expected.max() - expected.min())


def largest_pair(file):
    """The largest sum of the magnitudes of two weights of one output channel."""
    graph = onnx.load(str(file)).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    largest = 0
    for node in graph.node:
        weight = weights.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None and weight.dtype == numpy.int8:
            [axis] = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
            channels = numpy.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(int)
            largest = max(largest, numpy.sort(abs(channels), axis=1)[:, -2:].sum(axis=1).max())
    assert largest > 0, "no weights"
    return largest


program, names = sys.argv[1], sys.argv[2:]
names = names or subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
failed = []
for name in names:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, folder, name], check=True)
        worst = difference(pathlib.Path(folder), name, "", "logits")
        of_integers = difference(pathlib.Path(folder), name, "-int8", "int8")
        pair = largest_pair(pathlib.Path(folder) / f"{name}-int8.onnx")
    print(f"{name:24} {worst:.1e}   int8, beside rten: {of_integers:.1e}", flush=True)
    if pair > MAX_PAIR:
        print(f"{name}: two weights of a channel are {pair}, more than {MAX_PAIR}")
    near = worst <= ILL_CONDITIONED.get(name, BOUND) and of_integers <= ILL_CONDITIONED_INT8.get(name, BOUND_INT8)
    if not near or pair > MAX_PAIR:
        failed.append(name)
if not names or failed:
    sys.exit(f"error: more than {BOUND} of the spread, or {BOUND_INT8} in int8: {', '.join(failed) or 'no networks'}")
print(f"{len(names)} networks: as in onnxruntime {onnxruntime.__version__}, and onnx {onnx.__version__} accepts them")
