"""Small and crooked sets: what `ocelli train` makes of them, by accuracy on photos that it never saw.

python benches/crooked.py DATA [--ocelli PATH] [--only NAME,…]

Sets are made from DATA/dogscats (4,000 photos of 160 px), dogbreeds (1,000 photos, 120 breeds) and satellite (2,800 photos
of 128 px in 7 classes), which are not part of the project. Each run has the default settings and an empty cache; a row a
set: photos, accuracy and mean recall on photos kept aside, beside always guessing the most frequent class of them, the
figure that the run itself reported, seconds, and the warnings and notes that it printed. Needs Pillow and NumPy.
"""
import argparse, csv, json, pathlib, random, re, shutil, subprocess, tempfile, time

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--ocelli", type=pathlib.Path, default=pathlib.Path(__file__).parents[1] / "target/release/ocelli")
parser.add_argument("--only", default="")
options = parser.parse_args()
DRAW = random.Random(0)


def photos(name):
    """Photos by class, shuffled: those to train on, those kept aside."""
    folder = options.data / name
    if name == "dogbreeds":
        rows = list(csv.reader(open(folder / "labels.csv")))[1:]
        by_class = {}
        for photo, breed, *_ in rows:
            by_class.setdefault(breed, []).append(folder / "train" / f"{photo}.jpg")
    elif name == "dogscats":
        parts = [{path.name: sorted(path.glob("*.jpg")) for path in (folder / part).iterdir()} for part in ("train", "valid")]
        return [{label: DRAW.sample(files, len(files)) for label, files in part.items()} for part in parts]
    else:
        by_class = {path.name: sorted(path.glob("*.*")) for path in folder.iterdir()}
    shuffled = {label: DRAW.sample(files, len(files)) for label, files in by_class.items()}
    cut = lambda files: max(1, len(files) // 4)
    return [{label: files[cut(files):] for label, files in shuffled.items()}, {label: files[: cut(files)] for label, files in shuffled.items()}]


def copied(source, to, change=None):
    to.parent.mkdir(parents=True, exist_ok=True)
    if change:
        change(Image.open(source).convert("RGB")).save(to.with_suffix(".png"))
    else:
        shutil.copy(source, to)


def made(train, folder, counts=None, change=None):
    for label, files in train.items():
        for number, path in enumerate(files[: (counts or {}).get(label)]):
            copied(path, folder / label / f"{number}{path.suffix}", change)


def few(number):
    return lambda: ("satellite", lambda train, folder: made({label: files[:number] for label, files in train.items()}, folder))


def imbalance(cats):
    return lambda: ("dogscats", lambda train, folder: made({"cats": train["cats"][:cats], "dogs": train["dogs"][:1000]}, folder))


def wrong_labels(train, folder):
    labels = sorted(train)
    for label, files in train.items():
        for number, path in enumerate(files[:100]):
            given = DRAW.choice([other for other in labels if other != label]) if DRAW.random() < 0.2 else label
            copied(path, folder / given / f"{label}-{number}{path.suffix}")


def duplicates(train, folder):
    for label, files in train.items():
        for number, path in enumerate(files[:40]):
            for copy in range(4):
                # The same photo, saved again at another quality.
                to = folder / label / f"{number}-{copy}.jpg"
                to.parent.mkdir(parents=True, exist_ok=True)
                Image.open(path).convert("RGB").save(to, quality=70 + 6 * copy)


def at_size(side):
    resized = lambda image: image.resize((side, side), Image.Resampling.BICUBIC)
    return lambda: ("satellite", lambda train, folder: made({label: files[:60] for label, files in train.items()}, folder, change=resized))


def large(train, folder):
    for label, files in train.items():
        for number, path in enumerate(files[:12]):
            to = folder / label / f"{number}.jpg"
            to.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").resize((6000, 4000), Image.Resampling.BILINEAR).save(to, quality=85)


def mostly_without(train, folder):
    """Several labels a photo, nearly all with none: cats and dogs of which 95 % are not named."""
    rows = []
    for label, files in train.items():
        for number, path in enumerate(files[:500]):
            name = f"{label}-{number}.jpg"
            copied(path, folder / "photos" / name)
            rows.append((name, label if label == "dogs" and number < 50 else ""))
    with open(folder / "labels.csv", "w", newline="") as out:
        csv.writer(out).writerows([("filename", "labels"), *rows])


def thousand(train, folder):
    """1,000 classes of three photos: crops of a photo are a class."""
    number = 0
    for files in train.values():
        for path in files:
            if number == 1000:
                return
            image = Image.open(path).convert("RGB")
            for part, (x, y) in enumerate([(0, 0), (20, 20), (40, 0)]):
                to = folder / f"c{number:04}" / f"{part}.jpg"
                to.parent.mkdir(parents=True, exist_ok=True)
                image.crop((x, y, image.width - 40 + x, image.height - 40 + y)).save(to, quality=90)
            number += 1


SETS = {
    "1 photo a class, 7 classes": few(1),
    "2 photos a class": few(2),
    "5 photos a class": few(5),
    "20 photos a class": few(20),
    "1 cat among 1,000 dogs": imbalance(1),
    "10 cats among 1,000 dogs": imbalance(10),
    "100 cats among 1,000 dogs": imbalance(100),
    "20 % of the labels wrong, 700 photos": lambda: ("satellite", wrong_labels),
    "each photo four times, 1,120 files": lambda: ("satellite", duplicates),
    "32 px, 420 photos": at_size(32),
    "24 megapixels, 84 photos": lambda: ("satellite", large),
    "greyscale, 420 photos": lambda: ("satellite", lambda train, folder: made({label: files[:60] for label, files in train.items()}, folder, change=lambda image: image.convert("L"))),
    "1,000 classes of 3 photos": lambda: ("dogscats", thousand),
    "several labels, 1,000 photos of which 950 have none": lambda: ("dogscats", mostly_without),
    "120 breeds of dogs, 1,000 photos": lambda: ("dogbreeds", lambda train, folder: made(train, folder)),
}


def scored(run, aside):
    """Accuracy, mean recall, and the accuracy of the most frequent class, on photos kept aside."""
    files = [(str(path), label) for label, paths in aside.items() for path in paths]
    listed = "\n".join(path for path, _ in files)
    done = subprocess.run([options.ocelli, "predict", run, "--csv"], input=listed, stdout=subprocess.PIPE, text=True, check=True)
    found = {row["path"]: row["class"] for row in csv.DictReader(done.stdout.splitlines())}
    right = {}
    for path, label in files:
        right.setdefault(label, []).append(found.get(path) == label)
    every = [hit for hits in right.values() for hit in hits]
    return np.mean(every), np.mean([np.mean(hits) for hits in right.values()]), max(map(len, right.values())) / len(every)


print("| set | accuracy | mean recall | most frequent | reported | s |\n|---|---|---|---|---|---|")
for name, make in SETS.items():
    if options.only and not any(part in name for part in options.only.split(",")):
        continue
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        source, arrange = make()
        train, aside = photos(source)
        arrange(train, folder / "photos")
        augment = ["--augment", "top-down"] if source == "satellite" else []
        began = time.perf_counter()
        done = subprocess.run([options.ocelli, "train", folder / "photos", *augment, "--out", folder / "run", "--cache", folder / "cache"], capture_output=True, text=True)
        seconds = time.perf_counter() - began
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if re.match(r"\s*(warning|note|error|→|not evaluated)", line)]
        if done.returncode:
            print(f"| {name} | – | – | – | {done.stderr.strip().splitlines()[0] if done.stderr.strip() else done.returncode} | {seconds:.0f} |")
            print(done.stderr)
            continue
        reported = re.findall(r"^accuracy +(\S+ +95 % CI \S+)", done.stdout, re.M)
        figures = "– | – | –" if name.startswith(("1,000 classes", "several labels")) else "{:.3f} | {:.3f} | {:.3f}".format(*scored(folder / "run", {label: files[:250] for label, files in aside.items() if (folder / "photos" / label).exists()}))
        print(f"| {name} | {figures} | {reported[0] if reported else 'nothing'} | {seconds:.0f} |", flush=True)
        print("\n".join("    " + line for line in said), flush=True)
