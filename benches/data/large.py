"""Photos of 12 megapixels, made of smaller ones.

python large.py FOLDER PHOTOS...         writes FOLDER/dense.jpg, a mosaic of photos at their own size, and
                                         FOLDER/soft.jpg, a mosaic of photos that are enlarged four times
python large.py --describe PHOTOS...     says how large photos are
"""
import pathlib, statistics, sys
from PIL import Image

if sys.argv[1] == "--describe":
    sizes = [Image.open(path).size for path in sys.argv[2:]]
    width, height = (int(statistics.median(side)) for side in zip(*sizes))
    kilobytes = statistics.median(pathlib.Path(path).stat().st_size for path in sys.argv[2:]) / 1000
    print(f"{width} × {height} pixels, {kilobytes:,.0f} kB")
    sys.exit()
folder, photos = pathlib.Path(sys.argv[1]), sys.argv[2:]
for name, across in [("dense", 8), ("soft", 2)]:
    large = Image.new("RGB", (4000, 3000))
    width, height = 4000 // across, 3000 // across
    for place in range(across * across):
        photo = Image.open(photos[place % len(photos)]).convert("RGB").resize((width, height), Image.BICUBIC)
        large.paste(photo, (place % across * width, place // across * height))
    large.save(folder / f"{name}.jpg", quality=90, subsampling="4:2:0")
