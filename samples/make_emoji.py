#!/usr/bin/env python3
"""Makes samples/emoji: pictures of Google's Noto emoji, a folder for each of Unicode's categories.

    python3 samples/make_emoji.py

Needs npm, which fetches the package named below, and nothing but Python's standard library.
The same version of the package gives the same files.

Which emoji are taken, in this order:

1. those of the categories in CATEGORIES;
2. with an image of Google's, not replaced by a newer emoji;
3. without skin tone, and no variant (man, woman, facing right) of an emoji that exists without it: a
   near-copy of a training image among the validation images would flatter the result;
4. of emoji with the same image file (the flags of some islands), the first in Unicode's order;
5. of the rest, PER_CLASS in each category, evenly spaced in Unicode's order, so that every subject of a
   category has its share.
"""

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "emoji-datasource-google@16.0.0"
PER_CLASS = 100
# Left out: "Component" (skin tones, no pictures), "Objects" and "Activities" (things of every kind, which
# their looks do not tell from food, vehicles and symbols).
CATEGORIES = [
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
]
SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
MAN_AND_WOMAN = {"1F468", "1F469"}
PERSON = "1F9D1"
VARIANT_SIGNS = {"2640", "2642", "27A1"}  # female, male, facing right: within a sequence
JOINER, PRESENTATION = "200D", "FE0F"
TARGET = Path(__file__).resolve().parent / "emoji"


def main():
    with tempfile.TemporaryDirectory(dir=TARGET.parent, prefix=".make_emoji-") as temporary:
        package = fetch(Path(temporary))
        images = package / "img" / "google" / "64"
        emoji = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        emoji.sort(key=lambda entry: entry["sort_order"])

        made = Path(temporary) / "emoji"
        for category in CATEGORIES:
            chosen = evenly_spaced(distinct(emoji, category, images), PER_CLASS)
            folder = made / kebab_case(category)
            folder.mkdir(parents=True)
            for entry in chosen:
                shutil.copyfile(images / entry["image"], folder / f"{file_name(entry)}.png")
            names = sorted(path.name for path in folder.iterdir())
            if len(names) != PER_CLASS:
                raise SystemExit(f"{category}: {len(names)} files, {PER_CLASS} wanted")
            print(f"{folder.name:20} {len(names)}  {sum((folder / name).stat().st_size for name in names):>8,} bytes")

        if TARGET.exists():
            shutil.rmtree(TARGET)
        made.rename(TARGET)


def fetch(folder):
    """The package's files, as npm packs them."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"


def distinct(emoji, category, images):
    """The category's emoji after rules 2 to 4."""
    entries, seen = [], set()
    known = {plain(entry) for entry in emoji}
    for entry in emoji:
        if entry["category"] != category or not entry["has_img_google"] or "obsoleted_by" in entry:
            continue
        if SKIN_TONES & set(plain(entry)) or is_variant(plain(entry), known):
            continue
        picture = (images / entry["image"]).read_bytes()
        if picture not in seen:
            seen.add(picture)
            entries.append(entry)
    return entries


def plain(entry):
    """The emoji's code points, without those that only join or ask for colour."""
    return tuple(code for code in entry["unified"].split("-") if code not in (JOINER, PRESENTATION))


def is_variant(codes, known):
    first, *rest = codes
    unsigned = (first, *(code for code in rest if code not in VARIANT_SIGNS))
    general = (PERSON, *unsigned[1:]) if first in MAN_AND_WOMAN else unsigned
    return any(base != codes and base in known for base in (unsigned, general))


def evenly_spaced(entries, count):
    if len(entries) < count:
        raise SystemExit(f"{entries[0]['category']}: {len(entries)} emoji, {count} wanted")
    return [entries[index * len(entries) // count] for index in range(count)]


def kebab_case(category):
    return "-".join(re.findall("[a-z]+", category.lower().replace("&", "and")))


def file_name(entry):
    """The short name, or the code points where that is no plain file name ("+1")."""
    name = entry["short_name"]
    return name if re.fullmatch("[a-z0-9][a-z0-9_-]*", name) else entry["unified"].lower()


if __name__ == "__main__":
    main()
