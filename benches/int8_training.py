"""What `ocelli train --int8` brings: seconds of the features, accuracy and log loss, beside the same run in floats.

python benches/int8_training.py DATA [DATA ...] [--size 128] [--arch efficientnet_lite0] [--recipe linear] [--rounds 3]

Runs begin with empty caches and take turns. Seconds are medians, with the lowest and the highest; accuracy and log loss are
those of the first round, on the validation photos, whose features are floats in both.
"""
import argparse, csv, json, pathlib, statistics, subprocess, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path, nargs="+")
parser.add_argument("--size", type=int, default=128)
parser.add_argument("--arch", default="efficientnet_lite0")
parser.add_argument("--weights", type=pathlib.Path)
parser.add_argument("--recipe", default="linear")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
options = parser.parse_args()


def run(data, words):
    """Seconds of the features, their images, accuracy and log loss."""
    with tempfile.TemporaryDirectory() as place:
        command = [options.ocelli, "train", data, "--recipe", options.recipe, "--size", str(options.size), "--quiet"]
        command += ["--arch", options.arch, "--precision", "f32", "--cache", f"{place}/cache", "--out", f"{place}/run"]
        command += ["--weights", options.weights] if options.weights else []
        subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        events = [json.loads(line) for line in open(f"{place}/run/events.jsonl")]
        features = [event for event in events if event["event"] == "features"]
        rows = list(csv.DictReader(open(f"{place}/run/predictions.csv")))
        accuracy = statistics.mean(row["decision"] == row["label"] for row in rows)
        loss = statistics.mean(float(row["loss"]) for row in rows)
        images = sum(event["computed"] for event in features)
        return sum(event["seconds"] for event in features), images, accuracy, loss


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


for data in options.data:
    found = {(): [], ("--int8",): []}
    for _ in range(options.rounds):
        for words, rows in found.items():
            rows.append(run(data, words))
    floats, integers = found.values()
    ratio = statistics.median(row[0] for row in floats) / statistics.median(row[0] for row in integers)
    cells = [f"{data.name}, {floats[0][1]:,} photos"]
    cells += [spread([row[0] for row in rows]) for rows in (floats, integers)] + [f"{ratio:.2f}"]
    cells += [f"{rows[0][2]:.4f}, {rows[0][3]:.3f}" for rows in (floats, integers)]
    print("| " + " | ".join(cells) + " |", flush=True)
