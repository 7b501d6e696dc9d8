"""A bug that was released, found by its certificate: transformers 5.3.0 gave every frame one temporal position.

python reports/certificates/released_bug.py installs that version and the mended one with what they need into
folders of their own under build/ (about 100 MB each; torch is the one that is installed), certifies both, writes what
they say to released_bug.txt, which the page of certificates quotes, and ends with 1 if the bug is not seen in the
first, or anything in the second.

Source: github.com/huggingface/transformers, issues 45381 and 48669.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAID = Path(__file__).with_suffix(".txt")
BROKEN, MENDED = "5.3.0", "5.24.0"
CERTIFY = """
import torch, transformers
from tps_lab.explain.subjects import certify
for name in ("qwen2-vl", "qwen2.5-vl"):
    found = certify(f"transformers:{name}")
    print(f"{transformers.__version__:<8}{name:<12}{found.verdict}")
"""


def certified(version: str) -> str:
    """The verdicts under a version of transformers."""
    folder = ROOT / "build" / f"transformers-{version}"
    if not folder.exists():
        begun = folder.with_suffix(".part")  # of an install that was stopped; pip's remarks are about the wrong folder
        pip = [sys.executable, "-m", "pip", "install", "-qqq", "--disable-pip-version-check", "--upgrade"]
        subprocess.run([*pip, "--target", str(begun), f"transformers=={version}"], check=True)
        begun.rename(folder)
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CERTIFY], env=os.environ | {"PYTHONPATH": path}, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


def main() -> int:
    said = "though every frame has the same temporal position"
    broken, mended = certified(BROKEN), certified(MENDED)
    print(broken + mended, end="")
    SAID.write_text(broken + mended, encoding="utf-8")
    return not (broken.count(said) == 2 and said not in mended)


if __name__ == "__main__":
    sys.exit(main())
