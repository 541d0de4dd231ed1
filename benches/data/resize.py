"""How far our resizing is from Pillow's, on photos: Pillow decodes them, both resize the same pixels.

python resize.py PHOTOS...      prints a table; run it at the top of the repository
"""
import pathlib, subprocess, sys, tempfile
import numpy as np
from PIL import Image

FILTERS = {"area": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
SIZES = (64, 224, 600)

print("| filter | photos | values | largest difference of 255 | values more than 2 off, in a million | mean difference |")
print("|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as work:
    whole, framed = pathlib.Path(work, "whole"), pathlib.Path(work, "framed")
    whole.mkdir()
    pictures = []
    for number, path in enumerate(sys.argv[1:]):
        pictures.append(whole / f"{number}.png")
        Image.open(path).convert("RGB").save(pictures[-1])
    for name, filter in FILTERS.items():
        differences = []
        for size in SIZES:
            frame = ["cargo", "run", "--quiet", "--release", "-p", "ocelli-data", "--example", "frame", "--"]
            subprocess.run([*frame, name, str(size), framed, *pictures], check=True)
            for picture in pictures:
                theirs = np.asarray(Image.open(picture).resize((size, size), filter)).astype(int)
                ours = np.asarray(Image.open(framed / picture.name)).astype(int)
                difference = np.abs(theirs - ours)
                differences.append(difference.ravel())
        differences = np.concatenate(differences)
        off = 1e6 * (differences > 2).mean()
        counts = f"{len(pictures)} | {len(differences):,} | {differences.max()} | {off:.2f}"
        print(f"| {name} | {counts} | {differences.mean():.4f} |")
