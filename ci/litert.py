#!/usr/bin/env python3
"""Exports a model as TFLite, and compares LiteRT with `ocelli predict` on photos, by the Python of the guide.

ci/litert.py OCELLI MODEL PHOTO...

Needs numpy, pillow and ai-edge-litert, and a model with the framing `crop` and the filter `bicubic`. Ends with status 1
where probabilities differ by more than 1e-5.
"""
import json, os, pathlib, re, subprocess, sys, tempfile

from PIL import Image

BOUND = 1e-5

ocelli, model, *photos = [os.path.realpath(argument) for argument in sys.argv[1:]]
page = (pathlib.Path(__file__).parent.parent / "docs/src/how-to/export.md").read_text()
blocks = re.findall(r"```python\n(.*?)```", page, re.S)
[prepared] = [block for block in blocks if "image.draft(" in block]
[guide] = [block for block in blocks if "ai_edge_litert" in block]
body = re.search(r"def classify\(path\):\n(.*?)    return ", prepared, re.S).group(1)
needed = re.search(r"^size = .*?\nneeded = .*?$", prepared, re.M | re.S).group(0)
*before, last = guide.strip().splitlines()
name, value = last.split(" = ", 1)
imports = "import numpy as np\nfrom PIL import Image, ImageOps\n"
program = "\n".join([imports, *before, needed, "def classify(path):", body + "    return " + value])

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    # What is transparent is white to Ocelli, and black to Pillow.
    for number, photo in enumerate(photos):
        image = Image.open(photo)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            photos[number] = os.path.join(folder, f"{number}.png")
            Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB").save(photos[number])
    arguments = [ocelli, "export", model, "--format", "tflite", "--photos", *photos, "--out", "model.tflite"]
    subprocess.run(arguments, check=True)
    scope = {}
    exec(program, scope)
    out = subprocess.run([ocelli, "predict", model, *photos, "--json", "--precision", "f32"], capture_output=True, text=True)
    rows = {row["path"]: row["probabilities"] for row in json.loads(out.stdout)}
    worst = 0
    for photo in photos:
        found = scope["classify"](photo)
        expected = [rows[photo][label] for label in scope["config"]["classes"]]
        worst = max(worst, float(abs(found - scope["np"].array(expected)).max()))
print(f"{len(photos)} photos: probabilities in LiteRT differ by at most {worst:.1e}")
if not worst <= BOUND:
    sys.exit(f"error: more than {BOUND}")
