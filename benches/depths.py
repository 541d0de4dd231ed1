"""Linear classifiers on frozen features of EfficientNet-Lite0: of the last stage, and of several depths together.

python benches/depths.py DATA [--features FOLDER] [--ocelli target/release/ocelli]

DATA holds hymenoptera/ and satellite/; samples/emoji is the third set. Features are computed by `ocelli embed` at 192 px
and kept in --features; the classifiers are scikit-learn's multinomial logistic regression with an L2 penalty, on
standardised features, in five stratified folds. Prints a table in Markdown.
"""
import argparse, pathlib, subprocess, warnings
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--features", type=pathlib.Path, default=pathlib.Path("depth-features"))
parser.add_argument("--ocelli", type=pathlib.Path, default=ROOT / "target/release/ocelli")
options = parser.parse_args()
options.features.mkdir(parents=True, exist_ok=True)
warnings.filterwarnings("ignore")
SIZE = 192
DEPTHS = ["blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6"]


def features(name, photos, layer):
    path = options.features / f"{name}-{SIZE}-{layer or 'last'}.npz"
    if not path.exists():
        command = [options.ocelli, "embed", "efficientnet_lite0", photos, "--size", str(SIZE), "--quiet", "--out", path]
        subprocess.run(command + (["--layer", layer] if layer else []), check=True)
    stored = np.load(path)
    return stored["features"], [pathlib.Path(str(photo)).parent.name for photo in stored["paths"]]


def standardised(train, test):
    mean, deviation = train.mean(0), train.std(0) + 1e-3
    scale = deviation * np.sqrt(train.shape[1])
    return (train - mean) / scale, (test - mean) / scale


def measure(blocks, labels):
    accuracies, losses = [], []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels):
        parts = [standardised(block[train], block[test]) for block in blocks]
        fitted, held = (np.concatenate([part[side] for part in parts], 1) for side in (0, 1))
        # The same problem in fewer dimensions: an orthogonal change of basis does not change the penalty.
        basis = np.linalg.svd(fitted, full_matrices=False)[2].T
        penalty = 0.01 * fitted.shape[1] / len(blocks)
        model = LogisticRegression(C=penalty, max_iter=100, tol=1e-3).fit(fitted @ basis, labels[train])
        probabilities = model.predict_proba(held @ basis)
        accuracies.append((probabilities.argmax(1) == labels[test]).mean())
        losses.append(-np.log(probabilities[np.arange(len(test)), labels[test]]).mean())
    return f"{np.mean(accuracies):.4f}, {np.mean(losses):.3f}"


sets = {"emoji": ROOT / "samples/emoji", "ants and bees": options.data / "hymenoptera", "satellite": options.data / "satellite"}
rows = {}
for name, photos in sets.items():
    last, names = features(name.replace(" ", "-"), photos, None)
    labels = np.unique(names, return_inverse=True)[1]
    stages = [features(name.replace(" ", "-"), photos, layer)[0] for layer in DEPTHS]
    average = last[:, last.shape[1] // 2:]
    for row, blocks in {
        "last stage, maximum and average": [last],
        "last stage, average": [average],
        "and blocks.6": [average, stages[4]],
        "and blocks.5": [average, *stages[3:]],
        "and blocks.4": [average, *stages[2:]],
        "and blocks.3 and 2": [average, *stages],
    }.items():
        rows.setdefault(row, []).append(measure(blocks, labels))
print("| accuracy, log loss | " + " | ".join(sets) + " |")
print("|---" * (len(sets) + 1) + "|")
for row, cells in rows.items():
    print(f"| {row} | " + " | ".join(cells) + " |")
