"""A data set with several labels an image, made of one with a single label: mosaics of 2 × 2 photos, whose labels are
the classes of the four.

python mosaics.py FOLDER OUT [--count 600] [--size 128] [--seed 0]

FOLDER holds a folder of photos for each class. OUT, which must not exist, gets images/0000.jpg, … and labels.csv with
the columns id and labels, the labels of an image separated by spaces.
"""
import argparse, csv, pathlib, random
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--count", type=int, default=600)
parser.add_argument("--size", type=int, default=128, help="side of a mosaic in pixels")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

draw = random.Random(options.seed)
classes = {folder.name: sorted(folder.iterdir()) for folder in sorted(options.folder.iterdir()) if folder.is_dir()}
(options.out / "images").mkdir(parents=True)
half = options.size // 2
with open(options.out / "labels.csv", "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["id", "labels"])
    for number in range(options.count):
        # Few classes an image at times, so that no class is on nearly all of them.
        chosen = draw.choices(draw.sample(list(classes), draw.randint(1, 3)), k=4)
        mosaic = Image.new("RGB", (2 * half, 2 * half))
        for place, name in enumerate(chosen):
            photo = Image.open(draw.choice(classes[name])).convert("RGB").resize((half, half), Image.BICUBIC)
            mosaic.paste(photo, (place % 2 * half, place // 2 * half))
        mosaic.save(options.out / "images" / f"{number:04}.jpg", quality=92)
        table.writerow([f"{number:04}", " ".join(sorted(set(chosen)))])
