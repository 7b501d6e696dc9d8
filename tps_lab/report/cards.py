"""A page in short, `summary.json` beside it: what overviews and the docs show of it without opening its runs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tps_lab import files

FILE = "summary.json"
_VERSION = 1
_MOST = 420  # characters of a paragraph that stands for an answer


@dataclass(frozen=True)
class Card:
    """A page in short.

    Args:
        answers: data set ("" if there is one) → what the page answers.
        sure: how many of its comparisons are settled.
        basis: whether the learning rate was tuned, and after how many steps it was looked at.
        picture: a PNG that says most of the page, from its folder; empty if it has none.
        proofs: what became of ceilings that were proved before training.
        done, failed, missing: of its cells, at every budget.
        variants: how many have an accuracy.
        folder: where it was read.
    """

    title: str
    question: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    sure: str = ""
    basis: str = ""
    picture: str = ""
    proofs: str = ""
    done: int = 0
    failed: int = 0
    missing: int = 0
    variants: int = 0
    folder: Path = Path()

    @property
    def tuned(self) -> bool:
        return self.basis.startswith("tuned")

    @property
    def count(self) -> str:
        """How much of it there is: "25 of 25 cells"."""
        parts = [f"{self.done} of {self.done + self.failed + self.missing} cells"]
        return ", ".join(parts + [f"{n} {what}" for what in ("failed", "missing") if (n := getattr(self, what))])

    @property
    def image(self) -> bytes:
        """The picture; empty if it is not there, or elsewhere than below the page's folder."""
        file = self.folder / self.picture
        if file.suffix != ".png" or not file.resolve().is_relative_to(self.folder.resolve()):
            return b""
        try:
            return files.read(file)
        except (OSError, files.Damaged):
            return b""

    @property
    def embedded(self) -> str:
        """The picture as data, so that an overview is one file."""
        return base64.b64encode(self.image).decode()

    def richer(self, other: Card) -> bool:
        """Whether it shows more than another: a page does not give way to one with fewer cells or variants."""
        return self.done > other.done or self.variants > other.variants

    def write(self, folder: Path) -> None:
        """Beside the page."""
        content = {"summary": _VERSION} | {key: value for key, value in asdict(self).items() if key != "folder"}
        files.write_whole(folder / FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read(folder: Path) -> Card | None:
    """The card of the page in a folder; of one without, what its `report.md` says first; None if there is no page.

    Raises:
        Damaged: the file is no card.
    """
    try:
        content = files.read_json(folder / FILE)
    except FileNotFoundError:
        return _of_text(folder)
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(content, Mapping) or content.get("summary") != _VERSION:
        raise files.Damaged(f"{folder / FILE} is no summary of version {_VERSION}, which this tps-lab reads")
    try:
        return replace(TypeAdapter(Card).validate_python(content), folder=folder)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise files.Damaged(f"{folder / FILE} cannot be read: {wrong}") from None


def _of_text(folder: Path) -> Card | None:
    try:
        text = files.read(folder / "report.md").decode("utf-8", "replace")
    except (OSError, files.Damaged):
        return None
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    said = re.search(r"^\*\*(.+?)\*\*$", text, re.MULTILINE)
    said = said or re.search(r"^(?![#!|<`\s*-])(.+?)(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    pictures = re.findall(r"!\[[^\]]*\]\(([^):]+\.png)\)", text)
    shown = next((name for name in pictures if (folder / name).is_file()), "")
    card = Card(plain(title[1]) if title else folder.name, picture=shown, folder=folder)
    return replace(card, answers={"": cut_short(plain(said[1]), _MOST)}) if said else card


def plain(text: str) -> str:
    """Markdown without links and without the backslashes before its signs."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(text.split()))
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text)


def cut_short(text: str, most: int) -> str:
    """At most about so many characters, cut between parts of a sentence."""
    if len(text) <= most:
        return text
    cut = text[:most]
    return cut[: max(cut.rfind("; "), cut.rfind(". "), cut.rfind(", "), most // 2)] + " …"
