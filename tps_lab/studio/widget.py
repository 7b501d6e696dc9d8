"""The studio as a Jupyter widget: what is asked comes from the browser, the answer goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tps_lab.errors import InputError
from tps_lab.studio import clips
from tps_lab.studio.answer import answer, read

_HERE = Path(__file__).parent


def studio(pattern: str = "C", **asked: Any) -> Any:
    """The mosaic studio, as a widget to be shown as a cell's result.

    Args:
        pattern: the tile to begin with: a name or text such as "0 1 / -1 0".
        **asked: other fields to begin with (`answer.Asked`): rows, columns, frames, depth, every, border,
            clip (a name, or the path of a video file), frame.

    Raises:
        InputError: a field is unknown or its value impossible, or the widget's package is missing.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise InputError("the studio needs anywidget; install it with: pip install 'tps_lab[studio]'") from None
    from tps_lab.patterns import gallery

    fields = _begin(pattern, asked)

    class Studio(anywidget.AnyWidget):
        _esm = _HERE / "studio.js"
        _css = _HERE / "studio.css"
        asked = traitlets.Dict().tag(sync=True)
        answer = traitlets.Dict().tag(sync=True)
        wrong = traitlets.Dict().tag(sync=True)
        choices = traitlets.Dict().tag(sync=True)

        @traitlets.observe("asked")  # type: ignore[untyped-decorator]
        def _follow(self, change: Any) -> None:
            found, self.wrong = read(change.new)
            if found is not None:
                self.answer = answer(found)

    named = {name: known.text for name, known in gallery.items()}
    return Studio(asked=fields, choices={"clips": clips.names(), "patterns": named})


def _begin(pattern: str, asked: dict[str, Any]) -> dict[str, Any]:
    from tps_lab.errors import unknown
    from tps_lab.studio.answer import Asked

    known = [name for name in Asked.__dataclass_fields__ if name != "pattern"]
    for name in asked:
        if name not in known:
            raise unknown("field of the studio", name, known)
    fields = {name: getattr(Asked, name) for name in known} | {"clip": clips.names()[0]} | asked | {"tile": pattern}
    found, wrong = read(fields)
    if found is None:
        raise InputError(next(iter(wrong.values())))
    return fields | {"tile": found.pattern.text}
