"""What a report says in short, read back from its `report.md`: for an overview of pages old and new.

Old pages keep no runs, so that what they say is all there is of them.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tps_lab import files
from tps_lab.report.wording import listed

_MOST = 260  # characters of an answer


@dataclass(frozen=True)
class Card:
    """A report in short.

    Args:
        answers: data set ("" if there is one) → what the report answers.
        sure: how many of its comparisons are settled.
        basis: whether the learning rate was tuned, and after how many steps it was looked at.
        picture: its first picture, if it has any.
        done, other: runs that finished, and that did not.
    """

    title: str
    question: str
    answers: dict[str, str]
    sure: str
    basis: str
    picture: Path | None
    done: int
    other: int

    @property
    def embedded(self) -> str:
        """The picture as data, so that an overview is one file."""
        return base64.b64encode(self.picture.read_bytes()).decode() if self.picture else ""


def read(folder: Path) -> Card | None:
    """The card of the report in a folder; None if there is no report."""
    file = folder / "report.md"
    if not file.is_file():
        return None
    text = files.read_text(file)
    head, *sections = re.split(r"^## (?=.)", text.split("\n## Who is ahead", 1)[0], flags=re.MULTILINE)
    title = re.match(r"# (.+)", head)
    paragraphs = [part.strip() for part in head.split("\n\n")[1:]]
    question = next((part for part in paragraphs if not part.startswith(("<!--", "**", "-", "|", "!"))), "")
    answers = {"": _answer(head)} if _answer(head) else {}
    for section in sections:
        if found := _answer(section):
            answers[_plain(section.splitlines()[0])] = found
    counts = _statuses(folder / "results.csv")
    return Card(
        _plain(title[1]) if title else folder.name,
        _plain(question),
        answers,
        _sure(text),
        _basis(text),
        first_picture(text, folder),
        counts["done"],
        counts.total() - counts["done"],
    )


# ---------------------------------------------------------------------- parts


def _answer(section: str) -> str:
    bold = re.search(r"^\*\*(.+?)\*\*$", section, re.MULTILINE)
    if not bold or bold[1].startswith("Left out:"):
        return ""
    return cut_short(_plain(bold[1]), _MOST)


def cut_short(text: str, most: int) -> str:
    """At most about so many characters, cut between parts of a sentence."""
    if len(text) <= most:
        return text
    cut = text[:most]
    return cut[: max(cut.rfind("; "), cut.rfind(". "), cut.rfind(", "), most // 2)] + " …"


def _plain(text: str) -> str:
    """Markdown without the backslashes before its signs."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", " ".join(text.split()))


def _sure(text: str) -> str:
    """By the verdicts of its tables of comparisons."""
    verdicts: Counter[str] = Counter()
    for table in re.split(r"\n\n", text):
        lines = table.strip().splitlines()
        if lines and lines[0].endswith("| Verdict |"):
            for line in lines[2:]:
                verdict = line.strip().strip("|").rpartition("|")[2].strip()
                verdicts["settled" if verdict in ("better", "worse") else "open"] += 1
    settled, total = verdicts["settled"], verdicts.total()
    if "No variant has learnt" in text and not settled:
        return "nobody learnt it"
    return f"{settled} of {total} comparisons settled" if total else "nothing compared"


def _basis(text: str) -> str:
    ahead = re.search(r"^## Who is ahead.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    steps = re.findall(r"^\| ([\d,]+) \|", ahead[0], re.MULTILINE) if ahead else []
    steps = steps or list(dict.fromkeys(re.findall(r"\b([\d,]+) steps, batch", text)))
    after = f" after {listed(steps)} steps" if steps else ""
    tuned = "\n## How the order changes with tuning" in text or "\n## What was tuned" in text
    return (f"tuned{',' if after else ''}" if tuned else "not tuned,") + (after or " one learning rate")


def first_picture(text: str, folder: Path) -> Path | None:
    """The picture that says most of a page: over all tasks, or of differences, else its first one."""
    found = [folder / target for target in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", text)]
    there = [file for file in found if file.is_file()]
    return min(there, key=lambda file: ("aggregate" not in file.name, "differences" not in file.name), default=None)


def _statuses(file: Path) -> Counter[str]:
    if not file.is_file():
        return Counter()
    return Counter(line.get("status") or "" for line in csv.DictReader(io.StringIO(files.read_text(file), newline="")))
