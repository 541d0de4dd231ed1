"""Images a second of PyTorch's DataLoader with Pillow, doing what `loader_speed` does: decode, resize the shorter
side times a zoom of 1 to 1.1, rotate by up to 10 degrees, brightness and contrast, random crop, flip, normalise.

python torch_loader.py FOLDER... [--size 224] [--workers 0] [--passes 3]
"""
import argparse, glob, os, random, time
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("folders", nargs="+")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--passes", type=int, default=3)
options = parser.parse_args()
torch.set_num_threads(1)
files = sorted(f for folder in options.folders for f in glob.glob(folder + "/**/*.*", recursive=True) if os.path.isfile(f))


class Photos(Dataset):
    def __len__(self):
        return len(files)

    def __getitem__(self, index):
        size = options.size
        image = ImageOps.exif_transpose(Image.open(files[index])).convert("RGB")
        zoom = random.uniform(1, 1.1) if random.random() < 0.75 else 1
        image = F.resize(image, int(size * zoom), F.InterpolationMode.BILINEAR)
        if random.random() < 0.75:
            image = image.rotate(random.uniform(-10, 10), Image.BILINEAR)
        image = ImageEnhance.Brightness(image).enhance(random.uniform(0.95, 1.05))
        image = ImageEnhance.Contrast(image).enhance(random.uniform(0.95, 1.05))
        x, y = random.randint(0, image.width - size), random.randint(0, image.height - size)
        image = image.crop((x, y, x + size, y + size))
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        return F.normalize(F.to_tensor(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


loader = DataLoader(Photos(), batch_size=64, num_workers=options.workers, persistent_workers=options.workers > 0)
best, busy = float("inf"), sum(os.times()[:2])
for _ in range(options.passes):
    start = time.perf_counter()
    for batch in loader:
        pass
    best = min(best, time.perf_counter() - start)
name = "one process" if options.workers == 0 else f"{options.workers} workers"
# What workers have used is known once they are gone, so it is told of one process alone.
busy = f"{1e3 * (sum(os.times()[:2]) - busy) / len(files) / options.passes:.2f}" if options.workers == 0 else ""
print(f"| PyTorch DataLoader with Pillow, {name} | {len(files) / best:.0f} | {busy} |")
