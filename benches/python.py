"""The Python module beside its command and beside timm with PyTorch.

    python benches/python.py import                    the time of `import ocelli`
    python benches/python.py predict RUN PHOTOS        Model.predict on arrays, and the command on the same photos
    python benches/python.py head PHOTOS               a head on frozen features, four ways

RUN is a run folder, PHOTOS a folder of class folders. `head` and `predict` need Pillow, `head` scikit-learn, timm and torch
too. Measurements are taken in turn, so that other work on the machine meets all of them; each round prints its seconds, and
the last lines are medians and ratios of the rounds.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["import", "predict", "head"])
parser.add_argument("paths", nargs="*", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--photos", type=int, default=2000, help="how many, at most")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--command", default=shutil.which("ocelli"))
parser.add_argument("--without", default="", help="leaves out the ways whose names contain this")
options = parser.parse_args()


def photos_in(folder):
    """Files and their classes, the same number of each class as far as there are so many."""
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    files = [(path, each.name) for each in classes for path in sorted(each.iterdir())[: options.photos // len(classes)]]
    return [str(path) for path, _ in files], [name for _, name in files]


def in_turn(ways, warm_up=True):
    """Seconds of each way, by round; a first round to warm up is not counted. Ctrl-C ends with the rounds so far."""
    spent = {name: [] for name in ways}
    try:
        for number in range(0 if warm_up else 1, options.rounds + 1):
            found = {}
            for name, work in ways.items():
                began = time.perf_counter()
                work()
                found[name] = time.perf_counter() - began
                print(f"  {name}: {found[name]:.2f} s", file=sys.stderr, flush=True)
            if number:
                rows = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found.items())
                print(f"round {number} (load {os.getloadavg()[0]:.1f}): {rows}", flush=True)
                for name, seconds in found.items():
                    spent[name].append(seconds)
    except KeyboardInterrupt:
        print("ended early")
    return spent


def compared(spent, base):
    for name, seconds in spent.items():
        ratios = [one / other for one, other in zip(seconds, spent[base])]
        print(f"{name:40} median {statistics.median(seconds):8.2f} s   {statistics.median(ratios):.3f} of {base}")


def import_time():
    def started(code):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    code = "import time; b = time.perf_counter(); import ocelli; print(time.perf_counter() - b)"
    inside, whole, empty = [], [], []
    for _ in range(21):
        found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        inside.append(float(found.stdout))
        whole.append(started("import ocelli"))
        empty.append(started("pass"))
    for name, seconds in [("import ocelli, in a process", inside), ("a process that imports it", whole), ("one that does not", empty)]:
        print(f"{name:32} median of 20: {1000 * statistics.median(seconds[1:]):6.1f} ms, least {1000 * min(seconds[1:]):.1f} ms")


def predict(run, folder):
    import numpy as np
    from PIL import Image

    import ocelli

    model = ocelli.Model.load(run)
    paths, _ = photos_in(folder)
    size = model.config["preprocessing"]["size"]
    # Pixels of the model's size, so that neither side decodes or resizes: the command gets them as BMP files.
    arrays = [np.array(Image.open(path).convert("RGB").resize((size, size))) for path in paths]
    place = tempfile.TemporaryDirectory()
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(f"{place.name}/{number:05}.bmp")
    files = sorted(str(path) for path in pathlib.Path(place.name).iterdir())
    command = [options.command, "predict", run, place.name, "--csv"]

    def by_command(more=()):
        subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # What the command takes to start and to load the model, by one image.
    first = tempfile.TemporaryDirectory()
    shutil.copy(files[0], first.name)
    start = [options.command, "predict", run, first.name]
    spent = in_turn({
        "command": by_command,
        "module, arrays": lambda: model.predict(arrays),
        "module, the command's files": lambda: model.predict(files),
        "module, generator of arrays": lambda: sum(1 for _ in model.predict(each for each in arrays)),
        "command, one image": lambda: subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    })
    alone = statistics.median(spent.pop("command, one image"))
    print(f"the command takes {alone:.2f} s for one image, which is taken off")
    spent["command"] = [seconds - alone for seconds in spent["command"]]
    compared(spent, "command")
    for name, seconds in spent.items():
        print(f"{name:40} {len(arrays) / statistics.median(seconds):8.1f} images/s")


def head(folder):
    import numpy as np
    import timm
    import torch
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import ocelli
    from ocelli.sklearn import ImageFeatures

    paths, labels = photos_in(folder)
    order = np.random.default_rng(0).permutation(len(paths))
    paths, labels = [paths[each] for each in order], [labels[each] for each in order]
    held_out = len(paths) // 5
    train, valid = slice(held_out, None), slice(0, held_out)
    size, accuracy = options.size, {}
    print(f"{len(paths[train])} photos to train on, {held_out} held out, {size} px, torch {torch.__version__}, {torch.get_num_threads()} threads")

    def classifier():
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))

    def with_features(name, features):
        rows = features(paths)
        fitted = classifier().fit(rows[train], labels[train])
        accuracy[name] = fitted.score(rows[valid], labels[valid])

    def by_learner():
        data = ocelli.ImageData.from_paths(paths, labels, size=size, valid=list(range(held_out)))
        learner = ocelli.Learner.pretrained("efficientnet_lite0", data, progress=False)
        learner.cache_features()
        learner.fit_one_cycle(10, 1e-2)
        accuracy["Learner, ten epochs"] = learner.validate().accuracy.value

    def by_ocelli():
        with_features("ImageFeatures + LogisticRegression", ImageFeatures(size=size).transform)

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    # Ocelli's own weights of the same network, under timm's names, by the model of an untrained learner.
    small = ocelli.ImageData.from_paths(paths[:64], labels[:64], size=size)
    with tempfile.TemporaryDirectory() as place:
        file = os.path.join(place, "model.safetensors")
        ocelli.Learner.pretrained("efficientnet_lite0", small, progress=False).save(file)
        import safetensors.torch

        weights = safetensors.torch.load_file(file)
    found = network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    print(f"timm's network has Ocelli's weights: {len(found.missing_keys)} are missing")
    transform = timm.data.create_transform(input_size=(3, size, size), interpolation="bicubic", crop_pct=1.0, mean=(0.5,) * 3, std=(0.5,) * 3)

    class Photos(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return transform(Image.open(paths[index]).convert("RGB"))

    def by_timm(name, workers, kind):
        def features(_):
            loader = torch.utils.data.DataLoader(Photos(), batch_size=64, num_workers=workers)
            with torch.inference_mode(), torch.autocast("cpu", dtype=kind, enabled=kind != torch.float32):
                return torch.cat([ready(batch).float() for batch in loader]).numpy()

        ready = network
        return lambda: with_features(name, features)

    ways = {
        "Learner, ten epochs": by_learner,
        "ImageFeatures + LogisticRegression": by_ocelli,
        "timm, f32, loading in 2 processes": by_timm("timm, f32, loading in 2 processes", 2, torch.float32),
        "timm, bf16, loading in 2 processes": by_timm("timm, bf16, loading in 2 processes", 2, torch.bfloat16),
    }
    # Minutes each: the files are read once before instead, so that none finds them on the disk first.
    for path in paths:
        pathlib.Path(path).read_bytes()
    if options.without:
        ways = {name: work for name, work in ways.items() if options.without not in name}
    spent = in_turn(ways, warm_up=False)
    fastest = min((name for name in spent if name.startswith("timm")), key=lambda name: statistics.median(spent[name]))
    compared(spent, fastest)
    for name, value in accuracy.items():
        error = 1.96 * (value * (1 - value) / held_out) ** 0.5
        print(f"{name:40} accuracy {value:.4f} ± {error:.4f}")


{"import": import_time, "predict": predict, "head": head}[options.what](*options.paths)
