"""What 8-bit integers bring: accuracy and speed of `ocelli predict --int8`, and of the network that `ocelli export --int8`
writes in the engines that compute it fastest, each beside the same network in 32 bits.

PYTHON benches/int8.py DATA [--sets hymenoptera,dogbreeds,dogscats,satellite] [--rounds 5]

PYTHON has onnxruntime, openvino, numpy and Pillow. Accuracy and log loss are on the validation photos of the run, of which
none calibrated the integers. Speed is that of batches of 16 on all cores, in turn in each round, medians; Ocelli's by the example `steps` of ocelli-nn.
"""
import argparse, csv, json, math, pathlib, statistics, subprocess, tempfile, time

import numpy as np, onnxruntime, openvino
from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
parser.add_argument("--steps", type=pathlib.Path, default=ROOT / "target/release/examples/steps")
parser.add_argument("--sets", default="hymenoptera,dogbreeds,dogscats,satellite")
parser.add_argument("--rounds", type=int, default=5)
options = parser.parse_args()


def ocelli(*words):
    return subprocess.run([options.ocelli, *map(str, words)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def measured(model, rows, folder):
    """Accuracy and log loss of an ONNX file that takes pixels of any size."""
    session = onnxruntime.InferenceSession(model)
    right, loss = 0, 0.0
    for row in rows:
        image = ImageOps.exif_transpose(Image.open(folder / row["id"])).convert("RGB")
        values = session.run(None, {"images": np.asarray(image).transpose(2, 0, 1)[None]})[0][0]
        classes = CLASSES[row["label"]]
        right += int(values.argmax()) == classes
        loss -= math.log(max(float(values[classes]), 1e-12))
    return right / len(rows), loss / len(rows)


def predicted(run, rows, root, *words):
    """Accuracy and log loss of `ocelli predict`."""
    table = list(csv.DictReader(ocelli("predict", run, *(root / row["id"] for row in rows), "--csv", *words).splitlines()))
    right, loss = 0, 0.0
    for row, found in zip(rows, table, strict=True):
        right += found["class"] == row["label"]
        loss -= math.log(max(float(found["probability_" + row["label"]]), 1e-12))
    return right / len(rows), loss / len(rows)


def seconds_of(run):
    run()
    began = time.perf_counter()
    for _ in range(5):
        run()
    return (time.perf_counter() - began) / 5


def speeds(folder, size):
    """Images per second, by engine and precision; medians of rounds in turn."""
    batch = np.random.default_rng(0).integers(0, 256, (16, 3, size, size), dtype=np.uint8)
    core, runs = openvino.Core(), {}
    for kind in ("f32", "int8"):
        file = folder / f"{kind}.onnx"
        session = onnxruntime.InferenceSession(file)
        runs["onnxruntime", kind] = lambda session=session: session.run(None, {"images": batch})
        network = core.read_model(file)
        network.reshape([16, 3, size, size])
        for hint in ("f32", "bf16") if kind == "f32" else ("f32",):
            compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})
            runs["OpenVINO", "int8" if kind == "int8" else hint] = lambda compiled=compiled: compiled([batch])
    found = {}
    for _ in range(options.rounds):
        for key, run in runs.items():
            found.setdefault(key, []).append(16 / seconds_of(run))
        for precision in ("f32", "bf16", "int8"):
            kind = ["--only", "int8"] if precision == "int8" else ["--only", "forward", "--precision", precision]
            words = [options.steps, "efficientnet_lite0", "--size", size, "--batch", 16, *kind]
            line = json.loads(subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE).stdout)
            rate = line["int8_images_per_s" if precision == "int8" else "forward_images_per_s"]
            found.setdefault(("Ocelli", precision), []).append(rate)
    return {key: statistics.median(values) for key, values in found.items()}


for name in options.sets.split(","):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        data = options.data / name
        run = scratch / "run"
        ocelli("train", data, "--recipe", "linear", "--precision", "f32", "--quiet", "--out", run)
        ocelli("export", run, "--preprocessing", "all", "--out", scratch / "all-f32.onnx")
        ocelli("export", run, "--int8", "--preprocessing", "all", "--out", scratch / "all-int8.onnx")
        names = json.loads(onnxruntime.InferenceSession(scratch / "all-f32.onnx").get_modelmeta().custom_metadata_map["ocelli"])["classes"]
        CLASSES = {label: number for number, label in enumerate(names)}
        rows = [row for row in csv.DictReader(open(run / "photos.csv")) if row["split"] == "valid"]
        root = data / "train" if name == "dogbreeds" else data
        if name == "dogbreeds":
            rows = [{**row, "id": row["id"] if row["id"].endswith(".jpg") else row["id"] + ".jpg"} for row in rows]
        cells = [measured(scratch / f"all-{kind}.onnx", rows, root) for kind in ("f32", "int8")]
        cells += [predicted(run, rows, root, *words) for words in ([], ["--int8"])]
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{accuracy:.4f}, {loss:.3f}" for accuracy, loss in cells) + " |", flush=True)
        if name == options.sets.split(",")[-1]:
            for size in (64, 128, 224):
                small = scratch / f"run-{size}"
                ocelli("train", data, "--recipe", "linear", "--size", size, "--precision", "f32", "--quiet", "--out", small)
                place = scratch / str(size)
                place.mkdir()
                ocelli("export", small, "--out", place / "f32.onnx")
                ocelli("export", small, "--int8", "--out", place / "int8.onnx")
                for (engine, precision), rate in speeds(place, size).items():
                    print(f"| {size} px | {engine} | {precision} | {rate:.0f} |", flush=True)
