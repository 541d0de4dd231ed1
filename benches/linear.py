"""The recipes linear and quick on the same photos and the same split, in turn: accuracy, log loss and seconds.

python benches/linear.py DATA [--ocelli target/release/ocelli] [--sizes 128,192]

DATA holds dogscats/, dogbreeds/, hymenoptera/ and satellite/; samples/emoji is the fifth set. Features are computed
anew for each run, in a cache folder of its own. Prints a table in Markdown: accuracy and log loss of the best epoch on
the validation photos, and the seconds of the whole command with and without its report.
"""
import argparse, csv, json, pathlib, subprocess, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
parser.add_argument("--sizes", default="128,192")
parser.add_argument("--sets", default="emoji,hymenoptera,satellite,dogscats,dogbreeds")
options = parser.parse_args()

FOLDERS = {
    "emoji": [ROOT / "samples/emoji"],
    "hymenoptera": [options.data / "hymenoptera"],
    "satellite": [options.data / "satellite"],
    "dogscats": [options.data / "dogscats"],
    "dogbreeds": [options.data / "dogbreeds/train", "--labels", options.data / "dogbreeds/labels.csv"],
}
RECIPES = ["linear", "quick"]

print("| photos | px | " + " | ".join(f"`{recipe}`: accuracy, log loss, s (report)" for recipe in RECIPES) + " |")
print("|---|---" + "|---" * len(RECIPES) + "|")
for name in options.sets.split(","):
    for size in options.sizes.split(","):
        cells = []
        for recipe in RECIPES:
            with tempfile.TemporaryDirectory() as folder:
                run = pathlib.Path(folder) / "run"
                command = [options.ocelli, "train", *FOLDERS[name], "--recipe", recipe, "--size", size, "--quiet"]
                environment = {"OCELLI_CACHE": f"{folder}/cache", "PATH": "/usr/bin:/bin"}
                began = time.time()
                subprocess.run([*command, "--out", run], check=True, env=environment, stdout=subprocess.DEVNULL)
                seconds = time.time() - began
                events = [json.loads(line) for line in open(run / "events.jsonl")]
                finished = next(event for event in events if event["event"] == "finished")
                fit, epoch = finished["best"]
                rows = list(csv.DictReader(open(run / "history.csv")))
                best = next(row for row in rows if (int(row["phase"]), int(row["epoch"])) == (fit, epoch))
                accuracy, loss = float(best["accuracy"]), float(best["valid_loss"])
                report = seconds - finished["seconds"]
                cells.append(f"{accuracy:.4f}, {loss:.3f}, {finished['seconds']:.1f} ({report:.1f})")
        print(f"| {name} | {size} | " + " | ".join(cells) + " |", flush=True)
