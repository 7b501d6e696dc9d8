"""The runs of a page in one small file beside it, about 1 kB a run: `runs.jsonl.xz`.

One line of JSON a run, compressed together (xz), because runs of one study repeat each other: `xzcat
runs.jsonl.xz | head -2` shows what there is. The first line holds the grid that the runs answer, if they are
of one (`ablate.record`). Each run is whole but for weights, probabilities and the names of clips, so that the
page can be made again, intervals be checked, and the grid go on from it.

Answers to the test clips are text, a sign a clip: "0" is class 0, "1" class 1, and so on through Unicode;
"." stands for the right one, which makes a good model's answers short.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab import files
from tps_lab.results import schema

if TYPE_CHECKING:
    from tps_lab.results.groups import RunLike

FILE = "runs.jsonl.xz"
_VERSION = 1
_MOST_BYTES = 1 << 28  # unpacked; a thousand runs are about 10 MB
_MEMORY = 1 << 27  # what unpacking may take
_FIRST, _RIGHT = ord("0"), "."
_LISTS = {"metrics": "line", "views": "views", "time_use": "time_use"}
_OURS = ("copied_from",)  # of a row: where on this machine a run was copied from


def pack(runs: Iterable[RunLike], record: Mapping[str, Any] | None = None) -> bytes:
    """The content of an archive.

    Args:
        record: of the grid that they are of, as plain data.
    """
    lines = [{"archive": _VERSION, "grid": record}, *map(_plain, runs)]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    # a sixth larger than by the usual preset 6, and packed in a quarter of the time: a page of 500 runs waits for it
    return lzma.compress(text.encode("utf-8", "backslashreplace"), preset=3)


def unpack(file: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The grid's record, if there is one, and the parts of every run, each checked as those of a folder are.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: it is no archive, too large, or a part of a run is wrong.
    """
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        content = unpacker.decompress(files.read(file), _MOST_BYTES)
        text = content.decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise files.Damaged(f"{file.name} is damaged: {error}") from None
    if not unpacker.eof:
        raise files.Damaged(f"{file.name} is cut, or holds more than {_MOST_BYTES >> 20} MiB")
    if unpacker.unused_data:
        raise files.Damaged(f"{file.name} goes on behind its end, by {len(unpacker.unused_data):,} bytes")
    lines = text.removesuffix("\n").split("\n")
    first, *rest = (files.parse_json(line, f"{file.name}, line {i}") for i, line in enumerate(lines, 1))
    if not isinstance(first, dict) or first.get("archive") != _VERSION:
        raise files.Damaged(f"{file.name} is no archive of version {_VERSION}, which this tps-lab reads")
    record = first.get("grid")
    if record is not None:
        schema.checked(record, "record", file.name)
    found: dict[str, dict[str, Any]] = {}
    for i, given in enumerate(rest, 2):
        parts = _checked(given, f"{file.name}, line {i}")
        if found.setdefault(parts["id"], parts) is not parts:
            raise files.Damaged(f"{file.name}, line {i}: the run {parts['id']} stands there twice")
    return record, list(found.values())


def _plain(run: RunLike) -> dict[str, Any]:
    row = {key: value for key, value in run.row.items() if key not in _OURS}
    parts: dict[str, Any] = {"id": run.path.name, "row": row}
    for key in ("config", "environment", *_LISTS):
        if found := getattr(run, key, None):
            parts[key] = [_here(entry, run) for entry in found] if key in _LISTS else found
    answers = getattr(run, "predictions", None)
    if answers is not None:
        said, right = (np.asarray(classes, np.int64) + _FIRST for classes in answers)
        parts["right"] = _signs(right)
        parts["said"] = _signs(np.where(said == right, ord(_RIGHT), said))
    return parts


def _signs(codes: np.ndarray) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le")


def _here(entry: dict[str, Any], run: RunLike) -> dict[str, Any]:
    """What `tps-lab evaluate` left beside a run names its folder on this machine; in an archive its name is enough."""
    return entry | {"run": run.path.name} if "run" in entry else entry


def _checked(parts: Any, name: str) -> dict[str, Any]:
    if not isinstance(parts, dict) or not _is_name(parts.get("id")):
        raise files.Damaged(f"{name}: a run has a folder's name as its id")
    name = f"{name} ({parts['id'][:80]})"
    parts["row"] = schema.checked(parts.get("row"), "row", f"{name}, row")
    for key in ("config", "environment"):
        schema.checked(parts.setdefault(key, {}), key, f"{name}, {key}")
    for key, kind in _LISTS.items():
        if not isinstance(parts.setdefault(key, []), list):
            raise files.Damaged(f"{name}: {key} is no list")
        for entry in parts[key]:
            schema.checked(entry, kind, f"{name}, {key}")
    parts["predictions"] = _answers(parts, name)
    return parts


def _is_name(text: Any) -> bool:
    """Whether a folder can be called so, and the name be printed on one line."""
    return (
        isinstance(text, str)
        and text.isprintable()  # no zero byte, and no half of a character, which has no bytes
        and "/" not in text
        and text not in ("", ".", "..")
        and len(text.encode()) <= 255
    )


def _answers(parts: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray] | None:
    right, said = parts.pop("right", None), parts.pop("said", None)
    if right is None and said is None:
        return None
    if not isinstance(right, str) or not isinstance(said, str) or len(said) != len(right):
        raise files.Damaged(f"{name}: answers and right answers are texts of one length")
    labels, answers = (
        np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int32) - _FIRST
        for text in (right, said)
    )
    answers = np.where(answers == ord(_RIGHT) - _FIRST, labels, answers)
    both = {"predicted": answers, "label": labels}
    answers, labels, *_ = schema.check_answers(both, parts["row"], name)
    return answers.astype(np.int16), labels.astype(np.int16)
