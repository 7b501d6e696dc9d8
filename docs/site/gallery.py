"""The gallery: a page for the patterns, and one for every attention variant, from their own code and docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from made import Made

_VIT_S = {"frames": 8, "height": 14, "width": 14}  # 224² pixels in patches of 16
_CHANNELS, _DEPTH = 384, 12
_FIELD = (16, 7, 7)  # frames, rows, columns where receptive fields are worked out
_O = re.compile(r"O\((?:[^()]|\([^()]*\))*\)[^.;:]{0,60}?(?=[,.;:]| for | where | plus | that | and |$)")


def make(made: Made) -> None:
    from tps_lab.attention import Relation, variants

    known = variants()
    groups: dict[str, list[Any]] = {"Partitions": [], "Relations": [], "Neither": []}
    for cls in known.values():
        kind = "Relations" if issubclass(cls, Relation) else "Neither" if cls.stated else "Partitions"
        groups[kind].append(cls)
    about = {
        "Partitions": "Tokens fall into groups, and those of one group meet. The formula is the group's number.",
        "Relations": "A rule for every pair: may this query look at that key? The formula is the code.",
        "Neither": "Channels move, heads split or softmaxes nest. Facts that no formula gives are stated by hand.",
    }
    parts = [
        "---\nhide: [toc]\n---\n",
        "# Gallery",
        "",
        f"All {len(known)} attention variants, and [the patterns](patterns.md). Pictures, figures and text come from "
        "the code. One of your own [is one file](../contributing.md#an-attention-variant).",
        "",
        "A picture shows two blocks of a small model, and below them the receptive field after both. A box is a frame, "
        "a filled cell a patch that the outlined one looks at. Pale patches are reached through other patches.",
        "",
    ]
    spatial = known["spatial"]()
    for kind, classes in groups.items():
        parts += [f"## {kind}", "", about[kind], "", '<div class="cards" markdown>', ""]
        for cls in classes:
            place = _slug(cls.name)
            made.picture(f"gallery/{place}.png", _picture(cls))
            parts += [
                '<div class="card" markdown>', "", f"### [{cls.title}]({place}.md)", "", f"![]({place}.png)", "",
                _short(cls.summary()), "", "</div>", "",
            ]  # fmt: skip
        parts += ["</div>", ""]
    made.page("gallery/index.md", "\n".join(parts))
    _patterns(made)
    for classes in groups.values():
        for cls in classes:
            _variant(made, cls, spatial)


# ---------------------------------------------------------------------- a variant


def _variant(made: Made, cls: Any, spatial: Any) -> None:
    file = Path(inspect.getfile(cls))
    module = inspect.getmodule(cls)
    source = textwrap.dedent(module.__doc__ or "").strip()  # type: ignore[union-attr]
    title, _, source = source.partition("\n\n")
    origin = file.relative_to(made.root).as_posix()
    place = f"gallery/{_slug(cls.name)}.md"
    made.stands.setdefault(origin, place)
    parts = [
        f"# {cls.title}", "", f"`{cls.name}` · {_tidy(title)}", "",
        f"![Who meets whom under {cls.title}]({_slug(cls.name)}.png)", "",
        _tidy(_class_text(cls)), "",
        "## Formula", "", *_formula(cls), "",
        "## Cost", "", *_cost(cls, spatial, source), "",
        "## Reach", "", _reach(cls), "",
        *_options(cls),
        "## Source", "", _tidy(_with_links(source)), "",
        "## File", "", f"All of `{origin}`:", "", "```python", file.read_text(encoding="utf-8").rstrip(), "```", "",
        "## Use", "", "```python", f'model = tps_lab.create_model("vit_tiny_patch16_224", "{cls.name}", frames=8)',
        f'tps_lab.viz.who_sees_whom("{cls.name}")', "```", "",
    ]  # fmt: skip
    made.page(place, "\n".join(parts))


def _picture(cls: Any) -> Any:
    from tps_lab import viz

    return viz.who_sees_whom(cls(), grid=(8, 4, 4)).figure


def _class_text(cls: Any) -> str:
    text = inspect.cleandoc(cls.__doc__ or "")
    text = re.split(r"^(?:Args|Raises|Attributes):", text, flags=re.MULTILINE)[0]
    return "\n\n".join(p for p in text.split("\n\n") if not p.startswith("The group of ")).strip()


def _formula(cls: Any) -> list[str]:
    from tps_lab.attention import Relation

    text = inspect.cleandoc(cls.__doc__ or "")
    said = re.search(r"^The group of .*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if said:
        return [_tidy(said[0])]
    if issubclass(cls, Relation):
        method = cls.kinds if "kinds" in cls.__dict__ else cls.allows
        return ["```python", textwrap.dedent(inspect.getsource(method)).rstrip(), "```"]
    return [cls.stated or "See its file."]


def _cost(cls: Any, spatial: Any, source: str) -> list[str]:
    from tps_lab.attention import Grid

    def on(variant: Any) -> tuple[int, dict[str, int]]:
        grid = Grid(**_VIT_S, prefix=1, prefix_of=variant.prefix_of)
        return variant.macs(grid, _DEPTH, _CHANNELS), variant.pairs(grid, _DEPTH)

    (macs, pairs), (least, least_pairs) = on(cls()), on(spatial)
    asymptotic = [" ".join(found.split()) for found in _O.findall(source)]
    lines = [f"{asymptotic[0]}.", ""] if asymptotic else []
    return [
        *lines,
        "In a ViT-S, 8 frames of 14×14 patches, attention alone, 12 blocks:",
        "",
        "| | this variant | × spatial |",
        "|---|---:|---:|",
        f"| multiply-adds | {macs / 1e9:.2f} G | {macs / least:.2f} |",
        f"| pairs that may meet | {pairs['allowed'] / 1e6:.1f} M | {pairs['allowed'] / least_pairs['allowed']:.2f} |",
        f"| pairs that the plain kernel executes | {pairs['executed'] / 1e6:.1f} M "
        f"| {pairs['executed'] / least_pairs['executed']:.2f} |",
    ]


def _reach(cls: Any) -> str:
    from tps_lab.attention import Grid
    from tps_lab.measure.inspection import is_patches, token_index

    variant = cls()
    grid = Grid(*_FIELD, int(variant.needs_class_token), variant.prefix_of)
    is_patch, token = is_patches(grid), token_index(grid, (8, 3, 3))
    shares = {depth: 100 * variant.influence(grid, depth)[token, is_patch].mean() for depth in (1, 2, 4, 8)}
    frames, rows, columns = _FIELD
    said = ", ".join(f"{share:.0f} % after {depth}" for depth, share in shares.items())
    return (
        f"The receptive field of a middle patch, in clips of {frames} frames of {rows}×{columns} patches and models of "
        f"1, 2, 4 and 8 blocks: {said}."
    )


def _options(cls: Any) -> list[str]:
    if not cls.options():
        return []
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if "__doc__" in base.__dict__ else ""
        inside = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", text, re.MULTILINE)
        entries = r"^([\w, ]+): ((?:.|\n)+?)(?=^\w[\w, ]*: |\Z)"
        for names, about in re.findall(entries, textwrap.dedent(inside[1]) if inside else "", re.MULTILINE):
            meanings |= dict.fromkeys(map(str.strip, names.split(",")), _tidy(about).replace("|", "\\|"))
    rows = [
        f"| `{name}` | `{_written(field.default)}` | {meanings.get(name, '')} |"
        for name, field in cls.options().items()
    ]
    return ["## Options", "", "| | default | |", "|---|---|---|", *rows, ""]


def _written(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple) else str(value)


def _with_links(text: str) -> str:
    return re.sub(r"arXiv\s+(\d{4}\.\d{4,5})", r"arXiv [\1](https://arxiv.org/abs/\1)", text)


def _tidy(text: str) -> str:
    """Wrapped lines made whole; paragraphs, lists and tables left as they are."""
    parts = []
    for paragraph in text.strip().split("\n\n"):
        listed = paragraph.lstrip().startswith(("* ", "- "))
        parts.append(re.sub(r"\n(?!\* |- )\s*" if listed else r"\s*\n\s*", " ", paragraph))
    return "\n\n".join(parts)


def _short(text: str, most: int = 130) -> str:
    return text if len(text) <= most else text[: text.rfind(" ", 0, most)] + " …"


def _slug(name: str) -> str:
    return name.replace("+", "-")


# ---------------------------------------------------------------------- the patterns


def _patterns(made: Made) -> None:
    from matplotlib.figure import Figure

    from tps_lab import viz
    from tps_lab.patterns import gallery
    from tps_lab.studio import clips, judge

    clip = clips.load(clips.names()[0], 17)
    parts = [
        "# Patterns", "",
        "A tile of offsets, repeated over the patches of a frame. A number says how many frames back a patch is taken "
        "from. Orange is the past, blue the future. All are of the paper "
        "([arXiv 2207.13259](https://arxiv.org/abs/2207.13259), figure 3 and table 2) and its released code. "
        "Pictures and figures come from `tps_lab/patterns.py`.", "",
        "| | frames mixed | shifted (%) | reach of a layer (frames) | unevenness (points) |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| [{name}](#{name.lower()}) | {p.frames_mixed} | {100 * p.shifted_share:.0f} | {p.reach()} | "
            f"{100 * judge.evenness_gap(p):.0f} |"
            for name, p in gallery.items()
        ), "",
        "*Unevenness* is the largest gap between an offset's share of a 3×3 neighbourhood and its share of the whole. "
        "Shifting costs no multiply-add: all of these cost O(N²T), as spatial attention does.", "",
    ]  # fmt: skip
    for name, pattern in gallery.items():
        figure = Figure(figsize=(6.4, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        viz.mosaic(pattern, ax=left)
        right.imshow(viz.on_clips.mix(clip / 255.0, pattern, 32, 8))
        right.set_axis_off()
        right.set_title("frame 8 of a clip, mixed", fontsize=8, loc="left")
        made.picture(f"gallery/pattern_{name}.png", figure)
        parts += [
            f"## {name}", "", f"{pattern.note[0].upper()}{pattern.note[1:]}.", "",
            f"![The tile {name}, and a frame mixed by it](pattern_{name}.png)", "",
            "```", pattern.text.replace(" / ", "\n"), "```", "",
        ]  # fmt: skip
    parts += [
        "## Your own", "", "Write a tile in place of a name:", "",
        "```sh", 'tps-lab pattern "0 2 / -2 0" --frames 8',
        'tps-lab studio "0 2 / -2 0"', "```", "",
    ]  # fmt: skip
    made.page("gallery/patterns.md", "\n".join(parts))
    made.stands["tps_lab/patterns.py"] = "gallery/patterns.md"
