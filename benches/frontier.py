"""What a time buys: accuracy and log loss on photos that nothing was chosen by, of Ocelli with --time and of what people
would run instead, with the same weights on the same cores.

python benches/frontier.py DATA --torch "PYTHON torch_finetune.py" [--fastai "PYTHON fastai_train.py"]
    [--sets satellite,emoji,hymenoptera,dogscats,dogbreeds] [--budgets 10,30,60,120,300] [--seeds 0] [--out frontier.json]
    [--with "--arch efficientnet_lite2 --weights lite2.pth"]

For each set and seed a quarter of each class is kept aside (cats and dogs: the valid folder). The rest is given to all:
Ocelli holds out a fifth of it for itself, the others train on all of it. Ocelli runs once for each budget, with an empty
cache, and its time is that of the whole command, report included. The others have no time to be told: they run with
several settings, to the end, and each run is a point; for a budget the best of those that ended in time counts, chosen
by hindsight on the photos kept aside, in their favour. One run after the other. Rows are appended to --out as JSON lines,
from which --table prints the table.
"""
import argparse, csv, json, math, pathlib, random, shlex, shutil, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path, nargs="?")
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
parser.add_argument("--torch", help="a script for fine-tuning with AdamW and one cycle, and for logistic regression")
parser.add_argument("--fastai", help="a script for fastai's fine_tune")
parser.add_argument("--sets", default="satellite,emoji,hymenoptera,dogscats,dogbreeds")
parser.add_argument("--budgets", default="10,30,60,120,300")
parser.add_argument("--seeds", default="0")
parser.add_argument("--with", dest="more", default="", help="more flags for Ocelli; with them 0 among the budgets is: no --time")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("frontier.json"))
parser.add_argument("--table", action="store_true", help="print the table of --out, and run nothing")
options = parser.parse_args()
BUDGETS = [int(budget) for budget in options.budgets.split(",")]

# Settings of the others: sizes and epochs, from quick to thorough.
LOGISTIC = [["--size", size] for size in ("128", "224")]
FINETUNE = [["--size", size, "--epochs", epochs] for size, epochs in (("128", "2"), ("128", "6"), ("224", "2"), ("128", "12"))]
FASTAI = [["--size", size, "--frozen", "1", "--epochs", epochs] for size, epochs in (("128", "1"), ("128", "4"), ("224", "2"))]
TOP_DOWN = {"satellite": ["--augment", "top-down"]}


def photos_of(name):
    """(path, class, kept aside) of every photo; `None`: not yet decided."""
    folder = ROOT / "samples/emoji" if name == "emoji" else options.data / name
    if name == "dogbreeds":
        rows = csv.reader(open(folder / "labels.csv"))
        next(rows)
        return [(folder / "train" / f"{photo}.jpg", breed, None) for photo, breed, *_ in rows if (folder / "train" / f"{photo}.jpg").exists()]
    parts = {"train", "valid"} & {path.name for path in folder.iterdir()}
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    return [(path, path.parts[-2], path.parts[-3] == "valid" if parts and name == "dogscats" else None) for path in files]


def arranged(name, seed, folder):
    """Copies into folder/train and folder/valid, by class."""
    classes = {}
    for path, label, aside in photos_of(name):
        classes.setdefault(label, []).append((path, aside))
    for label, photos in sorted(classes.items()):
        random.Random(f"{seed} {label}").shuffle(photos)
        for number, (path, aside) in enumerate(photos):
            kept = aside if aside is not None else number < max(1, len(photos) // 4)
            to = folder / ("valid" if kept else "train") / label
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to / f"{path.parts[-3]}-{path.name}")


def scored(run, aside):
    """Accuracy and log loss of a model on the photos kept aside."""
    table = subprocess.run([options.ocelli, "predict", run, aside, "--csv"], check=True, stdout=subprocess.PIPE, text=True).stdout
    right, loss, rows = 0, 0.0, 0
    for row in csv.DictReader(table.splitlines()):
        label = pathlib.Path(row["path"]).parent.name
        probabilities = {name: float(row[f"probability_{name}"]) for name in CLASSES}
        right += max(probabilities, key=probabilities.get) == label
        loss -= math.log(max(probabilities[label], 1e-12))
        rows += 1
    return right / rows, loss / rows, rows


def timed(command, **more):
    began = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **more)
    return done, time.perf_counter() - began


def add(**row):
    with open(options.out, "a") as out:
        print(json.dumps(row), file=out)
    print(row, flush=True)


def table():
    rows = [json.loads(line) for line in open(options.out)]
    is_own = lambda row: row["who"].startswith("ocelli")
    budgets = sorted({row["budget"] for row in rows if is_own(row)})
    print("| photos | who | " + " | ".join(f"{budget} s" for budget in budgets) + " |")
    print("|---|---" + "|---" * len(budgets) + "|")
    for name in dict.fromkeys(row["set"] for row in rows):
        for who in dict.fromkeys(row["who"] for row in rows):
            cells = []
            for budget in budgets:
                seeds = {}
                for row in (row for row in rows if row["set"] == name and row["who"] == who):
                    # Ocelli may be late by a tenth.
                    fits = row["budget"] == budget if is_own(row) else row["seconds"] <= 1.1 * budget
                    if fits and (row["seed"] not in seeds or row["accuracy"] > seeds[row["seed"]]["accuracy"]):
                        seeds[row["seed"]] = row
                found = list(seeds.values())
                mean = lambda key: sum(row[key] for row in found) / len(found)
                text = "–"
                if found:
                    loss = f", {mean('log_loss'):.3f}" if found[0].get("log_loss") is not None else ""
                    text = f"{mean('accuracy'):.3f}{loss} ({mean('seconds'):.0f} s)"
                cells.append(text)
            print(f"| {name} | {who} | " + " | ".join(cells) + " |")


if options.table:
    table()
    sys.exit()
for seed in options.seeds.split(","):
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            arranged(name, seed, folder)
            CLASSES = {path.name for path in (folder / "train").iterdir()}
            for budget in BUDGETS:
                run = folder / f"run-{budget}"
                command = [options.ocelli, "train", folder / "train", "--seed", seed, "--quiet", "--out", run]
                command += [*(["--time", budget] if budget else []), *TOP_DOWN.get(name, []), *shlex.split(options.more)]
                done, seconds = timed([*command, "--cache", folder / f"cache-{budget}"])
                if done.returncode != 0:
                    sys.exit(f"{command} ended with {done.returncode}")
                accuracy, loss, rows = scored(run, folder / "valid")
                who = f"ocelli {options.more}".strip()
                add(who=who, set=name, seed=seed, budget=budget, seconds=seconds, accuracy=accuracy, log_loss=loss, photos=rows)
                shutil.rmtree(folder / f"cache-{budget}")
            peers = []
            if options.torch:
                common = [*shlex.split(options.torch), folder, "--seed", seed]
                peers += [("timm, logistic regression", [*common, "--logistic"], more) for more in LOGISTIC]
                peers += [("PyTorch, AdamW", common, [*more, *TOP_DOWN.get(name, [])]) for more in FINETUNE]
            if options.fastai:
                peers += [("fastai", [*shlex.split(options.fastai), folder], more) for more in FASTAI]
            for who, command, settings in peers:
                done, seconds = timed([*command, *settings], stderr=subprocess.DEVNULL)
                lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
                if done.returncode != 0 or not lines:
                    print(f"failed: {command} {settings}", file=sys.stderr)
                    continue
                last = lines[-1]
                loss = last.get("log_loss", last.get("valid_loss"))
                add(who=who, set=name, seed=seed, seconds=seconds, accuracy=last["accuracy"], log_loss=loss, settings=settings)
table()
