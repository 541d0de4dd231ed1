"""The Python code of the README and of the guide that uses the module runs as it stands, page by page.

It runs in a folder with photos like those that the pages name. Code for other packages, on other pages, is left out.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/src").rglob("*.md"))]


def blocks(path):
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


WITH_CODE = [page for page in PAGES if re.search(r"^(from|import) ocelli\b", "\n".join(blocks(page)), re.M)]


def test_pages_have_code():
    names = {page.name for page in WITH_CODE}
    assert names >= {"README.md", "python.md", "from-fastai.md", "from-timm.md", "from-keras.md"}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, photos, few_photos, tmp_path):
    shutil.copytree(few_photos, tmp_path / "photos")
    for name, of in [("garden.jpg", "food-and-drink"), ("sky.jpg", "flags")]:
        # What a file is is found out by its content.
        shutil.copyfile(sorted((photos / of).iterdir())[0], tmp_path / name)
    code = "\n".join(blocks(page))
    # Smaller than photos need, so that it takes seconds.
    code = re.sub(r"\bsize=\d+", "size=32", code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert not list(pathlib.Path(tmp_path / "photos").glob("*.safetensors"))
