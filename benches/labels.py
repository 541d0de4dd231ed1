"""How well a report finds labels that are wrong: a share of the training photos goes into the folder of another class.

python benches/labels.py DATA [--share 0.05] [--ocelli target/release/ocelli]

DATA holds train/ and valid/ with a folder for each class, or the folders of the classes, of whose photos every fourth then
validates. Trains a head with a hidden layer at 128 px, and prints a row of a table in Markdown: the errors that were
planted, how many labels are listed as likely wrong, how many of these were planted, and the average precision of the whole
list of suspects.
"""
import argparse, csv, pathlib, random, subprocess, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--share", type=float, default=0.05)
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
options = parser.parse_args()
random.seed(7)


def photos():
    """Part, class and path of each photo."""
    if (options.data / "train").is_dir():
        for part in ["train", "valid"]:
            for path in sorted((options.data / part).glob("*/*")):
                yield part, path.parent.name, path
    else:
        for folder in sorted(options.data.iterdir()):
            for at, path in enumerate(sorted(folder.iterdir())):
                yield "train" if at % 4 else "valid", folder.name, path


with tempfile.TemporaryDirectory() as place:
    place, planted, rows = pathlib.Path(place), set(), list(photos())
    classes = sorted({label for _, label, _ in rows})
    for part, label, path in rows:
        is_wrong = part == "train" and random.random() < options.share
        folder = random.choice([other for other in classes if other != label]) if is_wrong else label
        to = pathlib.Path("photos") / part / folder / f"{label}-{path.name}"
        (place / to).parent.mkdir(parents=True, exist_ok=True)
        (place / to).symlink_to(path.resolve())
        if is_wrong:
            planted.add(str(to.relative_to("photos")))
    command = [options.ocelli.resolve(), "train", "photos", "--recipe", "quick", "--size", "128", "--out", "run", "--quiet"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
    with open(place / "run/results/label_errors.csv") as file:
        suspects = [(row["id"] in planted, row["likely"] == "true") for row in csv.DictReader(file)]
    likely = [is_planted for is_planted, is_likely in suspects if is_likely]
    found, precision = 0, 0
    for rank, (is_planted, _) in enumerate(suspects, 1):
        if is_planted:
            found += 1
            precision += found / rank
    print(f"| {options.data.name} | {len(planted)} | {len(likely)}, {sum(likely)} | {precision / len(planted):.3f} |")
