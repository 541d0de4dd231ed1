"""Scores that tell photos of unknown classes from known ones, on features of EfficientNet-Lite0.

python benches/unknown.py DATA [--features FOLDER] [--ocelli target/release/ocelli]

DATA holds dogscats/, hymenoptera/, satellite/ and dogbreeds/ (labels.csv and train/); samples/emoji is the fifth set.
Features are computed by `ocelli embed`, at 128 px and for breeds at 224 px, and kept in --features. The rest is NumPy and
scikit-learn. Of the known classes 60 % of the photos are fitted on, 20 % set the threshold, 20 % are measured. Prints a
table in Markdown.
"""
import argparse, csv, pathlib, random, subprocess
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--features", type=pathlib.Path, default=pathlib.Path("unknown-features"))
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
options = parser.parse_args()
options.features.mkdir(parents=True, exist_ok=True)
SHRINKAGE = 0.1


def photos():
    """Set, class and path of each photo."""
    random.seed(0)

    def some(name, label, paths, most):
        paths = sorted(paths)
        random.shuffle(paths)
        return [(name, label, path) for path in paths[:most]]

    rows = []
    for label in ["cats", "dogs"]:
        rows += some("cats and dogs", label, (options.data / "dogscats/train" / label).iterdir(), 500)
    for label in ["ants", "bees"]:
        paths = [path for part in ["train", "valid"] for path in (options.data / "hymenoptera" / part / label).iterdir()]
        rows += some("ants and bees", label, paths, 200)
    for folder in sorted((options.data / "satellite").iterdir()):
        rows += some("satellite", folder.name, folder.iterdir(), 150)
    for folder in sorted((ROOT / "samples/emoji").iterdir()):
        if folder.is_dir():
            rows += some("emoji", folder.name, folder.iterdir(), 60)
    with open(options.data / "dogbreeds/labels.csv") as file:
        for row in csv.DictReader(file):
            rows.append(("breeds", row["breed"], options.data / "dogbreeds/train" / f"{row['id']}.jpg"))
    return rows


def features(rows, size):
    path = options.features / f"{size}-{len(rows)}.npy"
    if not path.exists():
        command = [options.ocelli, "embed", "efficientnet_lite0", "-", "--size", str(size), "--quiet", "--out", path]
        subprocess.run(command, input="\n".join(str(row[2]) for row in rows), text=True, check=True)
    return np.load(path)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def scores(train, labels, photos):
    """Each score of each photo; higher is more unlike the training photos."""
    classes, labels = np.unique(labels, return_inverse=True)
    count, (n, width) = len(classes), train.shape
    out = {}
    # A quickly trained head: logistic regression on standardised features.
    mean, deviation = train.mean(0), train.std(0)
    deviation = np.where(deviation < 1e-6, np.inf, deviation)
    head = LogisticRegression(C=0.003, max_iter=25).fit((train - mean) / deviation, labels)
    logits = head.decision_function((photos - mean) / deviation)
    if logits.ndim == 1:
        logits = np.stack([-logits / 2, logits / 2], 1)
    highest = logits.max(1)
    energy = highest + np.log(np.exp(logits - highest[:, None]).sum(1))
    out["maximum softmax probability"], out["energy"] = energy - highest, -energy

    train, photos = unit(train), unit(photos)
    nearest = np.sort(photos @ train.T, 1)[:, ::-1]
    out["nearest neighbour"], out["5 nearest neighbours, mean"] = 1 - nearest[:, 0], 1 - nearest[:, :5].mean(1)

    center = train.mean(0)
    means = np.stack([train[labels == label].mean(0) for label in range(count)])
    values, vectors = np.linalg.eigh((train - center) @ (train - center).T)
    values, vectors = values[::-1], vectors[:, ::-1]
    within = train - means[labels]
    trace_within, trace_total = (within**2).sum() / max(n - count, 1), values.sum() / (n - 1)
    for directions in [64, 128]:
        kept = min(directions, int((values > 1e-6 * values[0]).sum()))
        projection = (vectors[:, :kept] / np.sqrt(values[:kept])).T @ (train - center)
        u = photos - center
        p = u @ projection.T
        rest = np.maximum((u**2).sum(1) - (p**2).sum(1), 0)
        projected = within @ projection.T
        covariance, total = projected.T @ projected / max(n - count, 1), values[:kept] / (n - 1)
        shrunk = lambda own, trace: (1 - SHRINKAGE) * own + SHRINKAGE * trace / width
        others = max(width - kept, 1)
        rest_within = shrunk(max(trace_within - np.trace(covariance), 0) / others, trace_within)
        rest_total = shrunk(max(trace_total - total.sum(), 0) / others, trace_total)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * trace_within / width * np.eye(kept)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        y, centers = p @ whiten.T, (means - center) @ projection.T @ whiten.T
        near = np.min([((y - one) ** 2).sum(1) for one in centers], 0) + rest / rest_within
        out[f"Mahalanobis, {directions} directions"] = near
        of_all = (p**2 / shrunk(total, trace_total)).sum(1) + rest / rest_total
        out[f"relative Mahalanobis, {directions} directions"] = near - of_all
    return out


results = {}


def compare(column, known, labels, strangers):
    """Adds AUROC, false refusals and strangers let through, each set of strangers for itself."""
    generator = np.random.default_rng(0)
    order = generator.permutation(len(known))
    parts = [[], [], []]
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        for place, photo in enumerate(of_class):
            parts[0 if place == 0 or place % 5 in (1, 3, 4) else (1 if place % 5 == 2 else 2)].append(photo)
    train, valid, test = map(np.array, parts)
    found = scores(known[train], labels[train], np.concatenate([known[valid], known[test], *strangers]))
    for name, score in found.items():
        of_valid, of_test, rest = np.split(score, [len(valid), len(valid) + len(test)])
        rank = int(np.ceil(0.95 * (len(of_valid) + 1)))
        threshold = np.sort(of_valid)[min(rank, len(of_valid)) - 1]
        for stranger in strangers:
            of_strangers, rest = rest[: len(stranger)], rest[len(stranger):]
            truth = np.r_[np.zeros(len(of_test)), np.ones(len(of_strangers))]
            area = roc_auc_score(truth, np.r_[of_test, of_strangers])
            row = (area, (of_test > threshold).mean(), (of_strangers <= threshold).mean())
            results.setdefault(name, {}).setdefault(column, []).append(row)


rows = photos()
sets, classes = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
small = features(rows, 128)
breeds = features([row for row in rows if row[0] == "breeds"], 224)
of = lambda name: (small[sets == name], classes[sets == name])
for name in ["cats and dogs", "ants and bees", "satellite", "emoji"]:
    others = [other for other in ["cats and dogs", "ants and bees", "satellite", "emoji"] if other != name]
    compare(f"{name}: other sets", *of(name), [of(other)[0][::4] for other in others])
compare("cats and dogs: satellite", *of("cats and dogs"), [of("satellite")[0]])
for name in ["satellite", "emoji"]:
    known, labels = of(name)
    for label in np.unique(labels):
        compare(f"{name}: each class left out", known[labels != label], labels[labels != label], [known[labels == label]])
labels = classes[sets == "breeds"]
names = np.random.default_rng(0).permutation(np.unique(labels))
for group in range(3):
    out = np.isin(labels, names[group * 20 : (group + 1) * 20])
    compare("breeds: 20 of 120 left out", breeds[~out], labels[~out], [breeds[out]])

columns = list(dict.fromkeys(column for row in results.values() for column in row))
print("| score |", " | ".join(columns), "|\n|---|" + "---|" * len(columns))
for name, row in results.items():
    cells = [np.mean(row[column], 0) for column in columns]
    print(f"| {name} |", " | ".join(f"{area:.3f} · {100 * refused:.0f} % · {100 * through:.0f} %" for area, refused, through in cells), "|")
