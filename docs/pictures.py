"""Makes the pictures of the README and of docs/concepts: python docs/pictures.py (make pictures), into docs/pictures/.

mosaic.gif      frames fan out, their patches fly into one mixed frame, attention, and back
variants.png    which patches one patch meets in a block: spatial, joint, divided, TPS
pareto.png      accuracy against multiply-adds at two budgets, from reports/ablations/attention
studio.png      the studio's page as a browser draws it (needs Chromium)
problem.png     a clip and its reversal, and the means of their frames
tasks.png       clips of the data sets that the package draws
reach.png       patterns A and C, and their receptive fields over depth
relations.png   whom a patch looks at under four relations
limits.png      proved ceilings and the runs under them, from reports/ablations/probes/results.csv
comparison.png  accuracies seed by seed, from reports/ablations/patterns
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

from tps_lab.attention import Grid, parse
from tps_lab.patterns import gallery
from tps_lab.studio import clips
from tps_lab.viz import look, studio_page
from tps_lab.viz.mosaics import offset_colour

HERE = Path(__file__).parent
OUT, REPORTS = HERE / "pictures", HERE.parent / "reports"
sys.path.append(str(REPORTS))
import study  # noqa: E402

# ---------------------------------------------------------------------- the mosaic as a moving picture

FRAMES, CELLS, NOW = 7, 6, 3  # frames of the clip, patches a side, and the mixed frame that is shown
SIDE = 108  # pixels of a frame in the row; the mixed frame is twice as large
WIDTH, HEIGHT = 880, 440


def mosaic_film() -> None:
    clip = clips.frames_of("bigbuckbunny", range(0, 42, 6), 2 * SIDE)
    offsets = gallery["C"].offsets_on(CELLS, CELLS).clip(-NOW, NOW)
    rows = [(24 + t * (SIDE + 13), 34) for t in range(FRAMES)]
    target = ((WIDTH - 2 * SIDE) // 2, 184)
    patch, asks = 2 * SIDE // CELLS, (2, 3)
    pieces = []
    for h in range(CELLS):
        for w in range(CELLS):
            source, k = NOW - int(offsets[h, w]), int(offsets[h, w])
            pixels = Image.fromarray(clip[source][h * patch : (h + 1) * patch, w * patch : (w + 1) * patch])
            x, y = rows[source]
            start = (x + w * SIDE / CELLS, y + h * SIDE / CELLS, SIDE / CELLS)
            end = (target[0] + w * patch, target[1] + h * patch, float(patch))
            pieces.append((pixels, start, end, k, (h, w)))
    small = [Image.fromarray(frame).resize((SIDE, SIDE)) for frame in clip]
    said = {
        "fan": "A clip: the same patches at seven moments.",
        "fly": "Patch shift: every patch keeps its place and brings another moment. Orange: past. Blue: future.",
        "look": "Attention inside this mixed frame costs what one frame costs, and sees space and time.",
        "back": "Then every patch goes back to where it came from.",
    }
    film = []

    def frame(fan: float, fly: float, seen: float, caption: str) -> None:
        picture = Image.new("RGB", (WIDTH, HEIGHT), "#fbfaf7")
        pen = ImageDraw.Draw(picture)
        for t in range(FRAMES - 1, -1, -1):
            stacked = (rows[NOW][0] + 7 * (t - NOW), rows[0][1] - 4 * (t - NOW))
            x, y = (round(a + fan * (b - a)) for a, b in zip(stacked, rows[t], strict=True))
            shown = Image.blend(small[t], Image.new("RGB", small[t].size, "#fbfaf7"), 0.72 * min(1.0, fly * 4))
            picture.paste(shown, (x, y))
            pen.rectangle((x, y, x + SIDE, y + SIDE), outline="#222222" if t == NOW else "#c9c5bc")
            if fan == 1:
                name = "now" if t == NOW else f"{abs(t - NOW)} {'before' if t < NOW else 'after'}"
                pen.text((x + SIDE / 2, y - 12), name, fill="#555555", font=font(13), anchor="mm")
        for pixels, start, end, k, _ in pieces if fly > 0 else ():
            x, y, size = (a + fly * (b - a) for a, b in zip(start, end, strict=True))
            picture.paste(pixels.resize((max(1, round(size)),) * 2), (round(x), round(y)))
            colour = "#8a867c" if k == 0 else rgb(offset_colour(k, palest=0.5))
            pen.rectangle((round(x), round(y), round(x + size) - 1, round(y + size) - 1), outline=colour, width=2)
        if seen > 0:
            middle = [target[0] + (asks[1] + 0.5) * patch, target[1] + (asks[0] + 0.5) * patch]
            for n, (_, _, end, _, place) in enumerate(pieces):
                if place != asks and n % 2 == 0:
                    goal = [end[0] + patch / 2, end[1] + patch / 2]
                    tip = [a + seen * (b - a) for a, b in zip(middle, goal, strict=True)]
                    pen.line((*middle, *tip), fill="#ffffff", width=2)
            box = [target[0] + asks[1] * patch, target[1] + asks[0] * patch]
            pen.rectangle((*box, box[0] + patch, box[1] + patch), outline="#ffffff", width=3)
        pen.text((WIDTH / 2, HEIGHT - 12), caption, fill="#222222", font=font(14), anchor="mm")
        film.append(picture)

    smooth = [float(x * x * (3 - 2 * x)) for x in np.linspace(0, 1, 9)]
    for x in smooth:
        frame(x, 0, 0, said["fan"])
    film.extend([film[-1]] * 5)
    for x in smooth[1:]:
        frame(1, x, 0, said["fly"])
    film.extend([film[-1]] * 9)
    for x in smooth[1::2]:
        frame(1, 1, x, said["look"])
    film.extend([film[-1]] * 9)
    for x in smooth[::-1][1:]:
        frame(1, x, 0, said["back"])
    film.extend([film[-1]] * 5)
    palette = film[len(film) // 2].quantize(128)
    reduced = [picture.quantize(128, palette=palette, dither=Image.Dither.NONE) for picture in film]
    reduced[0].save(OUT / "mosaic.gif", save_all=True, append_images=reduced[1:], duration=110, loop=0, optimize=True)


def font(size: int) -> Any:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def rgb(colour: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colour)


# ---------------------------------------------------------------------- who meets whom, side by side


def variants() -> None:
    grid, asks = Grid(5, 6, 6), (2, 3, 3)
    token = (asks[0] * grid.height + asks[1]) * grid.width + asks[2]
    shown = [
        ("spatial", 0, "Spatial", "its own frame", "T·N²"),
        ("joint", 0, "Joint", "everything, at once", "T²·N²"),
        ("divided", 0, "Divided (T+S)", "its place through time,\nthen its frame", "T·N² + T²·N"),
        ("tps(pattern=A)", 1, "TPS", "one frame made of\nseveral moments", "T·N²"),
    ]
    figure = Figure(figsize=(9.2, 5.6), facecolor="#fbfaf7")
    for n, (text, block, title, meets, cost) in enumerate(shown):
        ax = figure.add_axes((0.02 + 0.245 * n, 0.16, 0.22, 0.76))
        ax.set_axis_off()
        ax.set_aspect("equal")
        steps = parse(text).mixers_on(grid, block, 2)
        for t in range(grid.frames):
            left, top = 1.5 * t, -5.0 * t + 0.0
            for h in range(grid.height):
                for w in range(grid.width):
                    here = (t * grid.height + h) * grid.width + w
                    colour = "#eceae5"
                    for number, sees in enumerate(steps):
                        if sees[token, here]:
                            colour = ("#e69f00", "#0072b2")[number] if len(steps) > 1 else "#0072b2"
                    corner = (left + w, top - 0.72 * h)
                    ax.add_patch(Rectangle(corner, 0.92, 0.62, color=colour, linewidth=0))
                    if here == token:
                        ax.add_patch(Rectangle(corner, 0.92, 0.62, fill=False, edgecolor="black", linewidth=2))
        ax.set_xlim(-0.3, 12.3)
        ax.set_ylim(-24.6, 1.2)
        ax.set_title(title, fontweight="bold", fontsize=13)
        figure.text(0.13 + 0.245 * n, 0.085, meets, ha="center", va="center", fontsize=9.5)
        figure.text(0.13 + 0.245 * n, 0.025, f"pairs: {cost}", ha="center", fontsize=9.5, color="#555555")
    figure.savefig(OUT / "variants.png", dpi=120)


# ---------------------------------------------------------------------- accuracy and cost


def pareto() -> None:
    found: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in study.tested(REPORTS / "ablations/attention"):
        found[run.row["steps"]][run.row["case"]].append(run.row)
    figure = Figure(figsize=(7.6, 4.0), facecolor="#fbfaf7", layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, steps in ((left, min(found)), (right, max(found))):
        for case, rows in found[steps].items():
            used, macs = look(rows[0]["attention"]), rows[0]["macs"] / 1e6
            top1 = [row["top1_pct"] for row in rows]
            ax.plot([macs, macs], [min(top1), max(top1)], color=used.colour, linewidth=2, alpha=0.5)
            ax.plot(macs, np.mean(top1), used.marker, color=used.colour, markersize=used.marker_size(8), label=case)
        ax.set_facecolor("#fbfaf7")
        ax.set_title(f"after {steps} steps", fontsize=11, loc="left")
        ax.set_xlabel("Multiply-adds per clip (millions)")
        ax.spines[["top", "right"]].set_visible(False)
    seeds = len(next(iter(found[min(found)].values())))
    left.set_ylabel(f"Test accuracy (%), mean and range of {seeds} seeds")
    right.legend(loc="lower right", fontsize=9, frameon=False)
    figure.savefig(OUT / "pareto.png", dpi=120)


# ---------------------------------------------------------------------- the studio


def studio() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 740})
        page.goto(studio_page.address("C", "A"))
        page.wait_for_function("document.body.dataset.ready")
        page.screenshot(path=OUT / "studio.png")
        browser.close()
    Image.open(OUT / "studio.png").quantize(256).save(OUT / "studio.png", optimize=True)


# ---------------------------------------------------------------------- the concepts


def problem() -> None:
    import torch

    from tps_lab import data

    clips = data.parse("opposites", size=32).opened()
    figure = Figure(figsize=(9.2, 2.9), facecolor="#fbfaf7")
    shown = (0, 2, 4, 6, 9, 11, 13, 15)  # their mirror images, too, so that both rows hold the same pictures
    pair = clips.batch("test", torch.tensor([0, 1]))[0][:, 0].numpy()  # (2, T, H, W)
    low, high = pair.min(), pair.max()
    for row, clip in enumerate(pair):
        pictures = [*(clip[t] for t in shown), clip.mean(0)]
        for column, picture in enumerate(pictures):
            last = column == len(pictures) - 1
            ax = figure.add_axes((0.09 + 0.097 * column + 0.025 * last, 0.47 - 0.42 * row, 0.09, 0.4))
            ax.imshow(picture, cmap="gray", vmin=low, vmax=picture.max() if last else high)
            ax.set_xticks([])
            ax.set_yticks([])
            if row == 0:
                ax.set_title("mean of all" if last else f"frame {shown[column]}", fontsize=9)
        figure.text(
            0.08, 0.67 - 0.42 * row, clips.classes[row], ha="right", va="center", fontsize=11, fontweight="bold"
        )
    figure.savefig(OUT / "problem.png", dpi=120)


def tasks() -> None:
    from tps_lab import data, viz

    drawn = ("opposites", "opposites(hidden=0.8)", "digit(noise=0.3)", "order", "first", "match", "rhythm", "counting")
    strips = []
    for name in drawn:
        spec = data.parse(name)
        file = io.BytesIO()
        viz.film_strips(spec.opened(), rows=4 if name == "counting" else 2, title=str(spec)).savefig(file, dpi=100)
        strips.append(Image.open(file).convert("RGB"))
    across = max(strip.width for strip in strips)
    picture = Image.new("RGB", (across, sum(strip.height + 14 for strip in strips) - 14), "white")
    top = 0
    for strip in strips:
        picture.paste(strip, (across - strip.width, top))  # so that equal frames stand below each other
        top += strip.height + 14
    picture.save(OUT / "tasks.png", optimize=True)


def reach() -> None:
    from tps_lab import viz

    figure = Figure(figsize=(9.6, 3.0), facecolor="white", layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.7))
    viz.mosaic("A", ax=left)
    viz.mosaic("C", ax=middle)
    viz.coverage(["spatial", "tps(pattern=A)", "tps(pattern=C)", "joint"], depth=8, ax=right)
    figure.savefig(OUT / "reach.png", dpi=120)


def relations() -> None:
    from tps_lab import viz

    figure = Figure(figsize=(9.6, 2.7), facecolor="white", layout="constrained")
    for ax, text in zip(figure.subplots(2, 2).flat, ("causal", "natten", "radial", "first-and-previous"), strict=True):
        viz.who_sees_whom(text, grid=(8, 6, 6), depth=1, ax=ax)
        ax.set_ylim(6.2, -0.2)  # the block alone: after one block the field is the same
        ax.set_yticks([])
    figure.savefig(OUT / "relations.png", dpi=120)


def limits() -> None:
    from tps_lab.viz.style import CEILING

    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in _rows("reports/ablations/probes/results.csv"):
        if row["proved_ceiling_pct"]:
            found[row["data"].partition("(")[0], row["attention"]].append(row)
    figure = Figure(figsize=(7.6, 0.42 * len(found) + 0.9), facecolor="#fbfaf7", layout="constrained")
    ax = figure.add_subplot(facecolor="#fbfaf7")
    for y, ((_, attention), rows) in enumerate(found.items()):
        ceiling = float(rows[0]["proved_ceiling_pct"])
        ax.plot([ceiling, ceiling], [y - 0.36, y + 0.36], color=CEILING, linewidth=2.5)
        used = look(attention)
        ax.plot([float(row["top1_pct"]) for row in rows], [y] * len(rows), used.marker, color=used.colour, alpha=0.6)
    ax.set_yticks(range(len(found)), [f"{probe}: {parse(attention).label}" for probe, attention in found], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 103)
    ax.set_xlabel("Test accuracy of each run (%); the bar is the proved ceiling")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT / "limits.png", dpi=120)


def comparison() -> None:
    steps = 300  # as docs/concepts/comparison.md says
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in study.tested(REPORTS / "ablations/patterns"):
        if run.row["steps"] == steps:
            found[parse(run.row["attention"]).label].append(run.row)
    figure = Figure(figsize=(7.6, 3.0), facecolor="#fbfaf7", layout="constrained")
    ax = figure.add_subplot(facecolor="#fbfaf7")
    for y, rows in enumerate(found.values()):
        used = look(rows[0]["attention"])
        ax.plot([row["top1_pct"] for row in rows], [y] * len(rows), used.marker, color=used.colour, markersize=8)
    ax.set_yticks(range(len(found)), list(found))
    ax.invert_yaxis()
    ax.set_xlim(40, 90)
    ax.set_xlabel(f"Test accuracy of each run after {steps} steps (%)")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT / "comparison.png", dpi=120)


def _rows(path: str) -> list[dict[str, str]]:
    with (HERE.parent / path).open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    all_of_them = {
        "mosaic": mosaic_film, "variants": variants, "pareto": pareto, "studio": studio, "problem": problem,
        "tasks": tasks, "reach": reach, "relations": relations, "limits": limits, "comparison": comparison,
    }  # fmt: skip
    for name in sys.argv[1:] or all_of_them:
        all_of_them[name]()
