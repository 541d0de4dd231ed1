"""Photos of 12 megapixels, made of smaller ones: mosaics of 8 × 8, each scaled to 500 × 375.

python large.py FOLDER PHOTOS...         writes FOLDER/large-0.jpg (4:2:0, quality 90) and large-1.jpg (4:4:4, quality 95)
python large.py --describe PHOTOS...     says how large the photos are
"""
import pathlib, statistics, sys
from PIL import Image

if sys.argv[1] == "--describe":
    sizes = [Image.open(path).size for path in sys.argv[2:]]
    width, height = (int(statistics.median(side)) for side in zip(*sizes))
    kilobytes = statistics.median(pathlib.Path(path).stat().st_size for path in sys.argv[2:]) / 1000
    print(f"{width} × {height} pixels and {kilobytes:.0f} kB (medians)")
    sys.exit()
folder, photos = pathlib.Path(sys.argv[1]), sys.argv[2:]
large = Image.new("RGB", (4000, 3000))
for place in range(64):
    photo = Image.open(photos[place % len(photos)]).convert("RGB").resize((500, 375), Image.BICUBIC)
    large.paste(photo, (place % 8 * 500, place // 8 * 375))
large.save(folder / "large-0.jpg", quality=90, subsampling="4:2:0")
large.save(folder / "large-1.jpg", quality=95, subsampling="4:4:4")
