#!/usr/bin/env python3
"""Large sets: time and memory of each part of `ocelli train`, on 1,000, 10,000 and 100,000 photos of 64 px.

benches/large.py make PHOTOS OUT       makes OUT/100000 and its parts OUT/10000 and OUT/1000, of random crops of the JPEG
                                       files below PHOTOS, in 200 classes: 50 folders of PHOTOS, four quadrants each. Needs
                                       Pillow.
benches/large.py tables OUT            makes OUT/labels.csv of the 100,000; OUT/million.csv, which names each ten times, by
                                       hard links in OUT/1000000; and OUT/classes.csv, the 100,000 in 10,000 classes
benches/large.py train OCELLI DATA [FLAG…]
                                       trains, and prints the parts of the run by its timeline, its processor time and its
                                       memory: resident and of its own (anonymous), at most
"""
import csv, json, os, pathlib, random, subprocess, sys, tempfile, threading, time
from concurrent.futures import ProcessPoolExecutor

PHOTOS, CLASSES, KINDS = 100_000, 200, 50


def make_class(work):
    from PIL import Image

    number, files, folder = work
    folder.mkdir(parents=True, exist_ok=True)
    draw, quadrant = random.Random(number), number // KINDS
    each = PHOTOS // CLASSES
    # Several crops of each photo, which are near duplicates of each other.
    crops = -(-each // len(files))
    for index in range(each):
        if index % crops == 0:
            with Image.open(files[index // crops % len(files)]) as photo:
                photo.draft("RGB", (256, 256))
                photo = photo.convert("RGB")
            width, height = photo.size
            left, top = width // 2 * (quadrant % 2), height // 2 * (quadrant // 2)
            photo = photo.crop((left, top, left + width // 2, top + height // 2)).resize((112, 112))
        left, top = draw.randrange(49), draw.randrange(49)
        photo.crop((left, top, left + 64, top + 64)).save(folder / f"{index:04}.jpg", quality=90)


def make(photos, out):
    groups = {}
    for path in sorted(photos.rglob("*.jpg")):
        groups.setdefault(path.relative_to(photos).parent, []).append(path)
    kinds = sorted(groups, key=lambda group: (-len(groups[group]), group))
    # Fewer folders than kinds are used again, with other photos of theirs.
    work = []
    for number in range(CLASSES):
        kind, turn = kinds[number % KINDS % len(kinds)], number % KINDS // len(kinds)
        turns = -(-KINDS // len(kinds))
        files = groups[kind][turn::turns]
        # No names of a split's parts, which would be followed.
        name = f"{number:03}-" + "-".join(part for part in kind.parts if part not in ("train", "valid"))
        work.append((number, files, out / str(PHOTOS) / name))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(make_class, work))
    for count in (10_000, 1_000):
        for folder in sorted((out / str(PHOTOS)).iterdir()):
            part = out / str(count) / folder.name
            part.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.iterdir())[: count // CLASSES]:
                if not (part / file.name).exists():
                    os.link(file, part / file.name)


def tables(out):
    names = [(folder.name, file.name) for folder in sorted((out / str(PHOTOS)).iterdir()) for file in sorted(folder.iterdir())]

    def table(name, rows):
        with open(out / name, "w", newline="") as file:
            csv.writer(file).writerows([("file", "label"), *rows])

    table("labels.csv", ((f"{PHOTOS}/{folder}/{name}", folder) for folder, name in names))
    table("classes.csv", ((f"{PHOTOS}/{folder}/{name}", f"{folder}-{name[:3]}") for folder, name in names))
    for turn in range(10):
        for folder in sorted({folder for folder, _ in names}):
            (out / "1000000" / str(turn) / folder).mkdir(parents=True, exist_ok=True)
        for folder, name in names:
            link = out / "1000000" / str(turn) / folder / name
            if not link.exists():
                os.link(out / str(PHOTOS) / folder / name, link)
    turns = ((f"1000000/{turn}/{folder}/{name}", folder) for turn in range(10) for folder, name in names)
    table("million.csv", turns)


def train(ocelli, data, flags):
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        trace = pathlib.Path(folder, "trace.json")
        own = [] if "--cache" in flags else ["--cache", f"{folder}/cache"]
        command = [ocelli, "train", data, "--out", f"{folder}/run", "--trace", str(trace), *own, *flags]
        began = time.time()
        process = subprocess.Popen(command)
        peak = {"RssAnon": 0}
        phases = []

        def watch():
            while process.poll() is None:
                try:
                    status = open(f"/proc/{process.pid}/status").read()
                except OSError:
                    break
                for line in status.splitlines():
                    if line.startswith("RssAnon"):
                        now = int(line.split()[1]) // 1024
                        peak["RssAnon"] = max(peak["RssAnon"], now)
                        phases.append((time.time() - began, now))
                time.sleep(0.2)

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.join()
        print(f"\n{time.time() - began:.1f} s, processor time {usage.ru_utime + usage.ru_stime:.1f} s, memory at most "
              f"{usage.ru_maxrss / 1024:.0f} MB resident, {peak['RssAnon']} MB its own")
        summarise(trace, phases)
        sys.exit(process.returncode)


def summarise(trace, memory):
    """Seconds and number of the spans of each name, on one thread after the other; and the memory at most in each part."""
    text = trace.read_text().rstrip().rstrip(",")
    spans = [event for event in json.loads(text if text.endswith("]") else text + "]") if event["ph"] == "X"]
    names = {}
    for span in spans:
        names.setdefault(span["name"], []).append(span)
    print(f"{'':28}{'spans':>9}{'seconds':>10}{'MB at most':>12}")
    for name, of_name in sorted(names.items(), key=lambda entry: min(span["ts"] for span in entry[1])):
        seconds = sum(span["dur"] for span in of_name) / 1e6
        most = ""
        if len(of_name) < 50:
            within = [now for at, now in memory
                      if any(span["ts"] / 1e6 <= at <= (span["ts"] + span["dur"]) / 1e6 for span in of_name)]
            most = max(within, default="")
        print(f"{name:28}{len(of_name):9,}{seconds:10.1f}{most!s:>12}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", photos, out]:
            make(pathlib.Path(photos), pathlib.Path(out))
        case ["tables", out]:
            tables(pathlib.Path(out))
        case ["train", ocelli, data, *flags]:
            train(ocelli, data, flags)
        case _:
            sys.exit(__doc__)
