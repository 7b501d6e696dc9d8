"""Text of others as text: what a terminal, a line or a label may show of it."""

from __future__ import annotations

import re
import shutil
import textwrap
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

LABEL = 100  # characters of a label; longer ones are cut in the middle
_SENTENCES = 1500  # of a reason, a note or a command

# a terminal's commands: colours, cursor, title, links
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|.?)|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL)
# what turns or hides the text after it: directions, joiners of no width, a byte order mark
_INVISIBLE = set("\u200b\u200e\u200f\u2028\u2029\ufeff") | {
    chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def printable(text: object, lines: bool = False) -> str:
    """Text without what a terminal would obey; broken characters as "\\N{REPLACEMENT CHARACTER}".

    Args:
        lines: keep line breaks and tabs; else each becomes a blank.

    >>> printable("a\\x1b[31mb\\nc")
    'ab c'
    """
    kept = []
    for sign in _ESCAPES.sub("", str(text)):
        if sign in "\n\t":
            kept.append(sign if lines else " ")
        elif "\ud800" <= sign <= "\udfff":  # half a character: of a file's name that is no UTF-8
            kept.append("\N{REPLACEMENT CHARACTER}")
        elif unicodedata.category(sign) != "Cc" and sign not in _INVISIBLE:
            kept.append(sign)
    return "".join(kept)


def counted(n: int, what: str) -> str:
    """ "1 frame", "2 frames"."""
    return f"{n} {what}" + ("" if n == 1 else "s")


def listed(words: Sequence[str], most: int | None = None, what: str = "") -> str:
    """Words as people list them: "a, b and c", or with semicolons where a comma stands inside one.

    Args:
        most: so many are named, and the others counted: "a, b and 3 more".
        what: those others are.
    """
    if most is not None and len(words) > most:
        words = [*words[:most], f"{len(words) - most} more{what}"]
    separator = "; " if any(", " in word for word in words) else ", "
    return " and ".join(words) if len(words) < 3 else f"{separator.join(words[:-1])} and {words[-1]}"


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(95), duration(600), duration(9000)
    ('95 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def terminal_width() -> int | None:
    """Columns of the terminal, or as COLUMNS says; None where output goes into a file or another program."""
    return shutil.get_terminal_size((0, 0)).columns or None


def wrapped(text: str, width: int | None) -> str:
    """Long lines broken between words; what stands behind "a label  " stays in its column.

    >>> print(wrapped("reach   two frames after a block", 21))
    reach   two frames
            after a block
    """
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        label = re.match(r"\s*(?:\S+(?: \S+)*\s{2,})?", line)
        indent = " " * (label.end() if label and label.end() <= width // 2 else len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
            drop_whitespace=True, replace_whitespace=False,
        ) or [""] if len(line) > width else [line]  # fmt: skip
    return "\n".join(lines)


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,), width: int | None = None
) -> str:
    """Columns side by side, cells broken between words; columns that do not fit stand below, beside the first again.

    Args:
        left: columns that are aligned on the left.
        width: characters of a line; None is the terminal's, or no limit where there is none.

    >>> print(table(["case", "top-1 %", "MACs (G)"], [["TPS C", "9.5", "1.2"]], width=12))
    case   top-1
               %
    TPS C    9.5
    <BLANKLINE>
    case    MACs
             (G)
    TPS C    1.2
    """
    width = width or terminal_width() or 10**6
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    least = [max(max(map(len, row[c].split()), default=0) for row in cells) for c in range(len(heads))]
    most = [max(len(row[c]) for row in cells) for c in range(len(heads))]
    blocks: list[list[int]] = []
    for c in range(1, len(heads)):
        if not blocks or least[0] + sum(least[k] + 2 for k in blocks[-1]) + least[c] + 2 > width:
            blocks.append([])
        blocks[-1].append(c)
    return "\n\n".join(_block(cells, [0, *block], least, most, left, width) for block in blocks or [[]])


def _block(
    cells: list[list[str]], shown: list[int], least: list[int], most: list[int], left: Collection[int], width: int
) -> str:
    wide = {c: least[c] for c in shown}
    spare = width - sum(wide.values()) - 2 * (len(shown) - 1)
    while spare > 0 and (short := [c for c in shown if wide[c] < most[c]]):
        wide[min(short, key=wide.__getitem__)] += 1  # the narrowest first
        spare -= 1
    lines = []
    for row in cells:
        parts = {
            c: textwrap.wrap(row[c], max(1, wide[c]), break_long_words=False, break_on_hyphens=False) for c in shown
        }
        for k in range(max(map(len, parts.values())) or 1):
            texts = {c: parts[c][k] if k < len(parts[c]) else "" for c in shown}
            line = "  ".join(texts[c].ljust(wide[c]) if c in left else texts[c].rjust(wide[c]) for c in shown)
            lines.append(line.rstrip())
    return "\n".join(lines)


# IPv4 with or without a port, IPv6, and what Ray tells its workers about its cluster
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]*\d)|(?<![\w:])\[?(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}\]?(?![\w:])",
    re.IGNORECASE,
)
_WORKER = re.compile(r"\S*(?:default_worker\.py|submitit\.core\._submit)\b.*", re.DOTALL)


def without_network(text: str) -> str:
    """Text for a page that others read: no addresses in it, and no command of a worker process.

    >>> without_network("lost node 10.0.0.7:6379 (ip=192.168.1.2)")
    'lost node [address] (ip=[address])'
    """
    return _ADDRESS.sub("[address]", _WORKER.sub("(a worker process of a cluster)", text))


def as_text(value: Any, keep: Collection[str] = ()) -> Any:
    """A row with all its texts, and the names of its keys, `short`; lists and nested keys too.

    Args:
        keep: keys whose text somebody parses: made printable, but not cut.
    """
    if isinstance(value, Mapping):
        return {
            without_network(short(key)): printable(inner)
            if key in keep and isinstance(inner, str)
            else as_text(inner, keep)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [as_text(inner, keep) for inner in value]
    return without_network(short(value, _SENTENCES)) if isinstance(value, str) else value


def short(text: object, most: int = LABEL) -> str:
    """`printable` text on one line, cut in the middle if it is long.

    >>> short("abcdefghij", 7)
    'abcd…ij'
    """
    whole = " ".join(printable(text).split())
    if len(whole) <= most:
        return whole
    tail = most // 3
    return f"{whole[: most - tail - 1]}…{whole[len(whole) - tail :]}"


# what Markdown (GitHub's too, with its formulas, mentions and signs) gives a meaning
_MEANS_SOMETHING = "\\`*_[]|#~$@!"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: object) -> str:
    """Text that Markdown prints as it is, also inside a table and at the beginning of a line.

    >>> markdown("1. a_b $x$ <b>")
    '1\\\\. a\\\\_b \\\\$x\\\\$ &lt;b&gt;'
    """
    line = " ".join(printable(text).split())
    escaped = "".join(f"\\{sign}" if sign in _MEANS_SOMETHING else _ENTITIES.get(sign, sign) for sign in line)
    escaped = re.sub(r":(?=\w*:|//)", r"\\:", escaped)  # :emoji: and addresses
    return re.sub(r"^(\d*)([-+.)=])(?=\s|$|-|=)", r"\1\\\2", escaped)  # lists and lines under headings


def code(text: object) -> str:
    """Text as code in Markdown, also inside a table; a backtick in it does not end it.

    >>> code("a `b` | c"), code("a b")
    ('<code>a &#96;b&#96; \\\\| c</code>', '`a b`')
    """
    line = " ".join(printable(text).split())
    return f"<code>{markdown(line).replace(chr(92) + '`', '&#96;')}</code>" if set(line) & {"`", "|"} else f"`{line}`"
