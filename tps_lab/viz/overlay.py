"""A video with what a model says of it written over every frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files
from tps_lab.data._seek import look
from tps_lab.errors import InputError, unknown

if TYPE_CHECKING:
    from tps_lab.data._seek import Packets
    from tps_lab.training.inference import Prediction

FORMATS = (".mp4", ".gif")
_WIDTH = 640  # wider videos are made smaller
_TICK = Fraction(1, 90_000)  # of a second, in which an .mp4's times are written
_GIF_FRAMES = 200  # a GIF keeps no more than these, evenly chosen


def check(out: Path) -> None:
    """Refuse, before a model is asked, a file that no such video could be written into.

    Raises:
        InputError: another format, an ending without a name, or a place that cannot be written.
    """
    if out.name.lower() in FORMATS:
        raise InputError(f"{out} is an ending without a name: give, for example, seen{out.name}")
    if out.suffix.lower() not in FORMATS:
        raise unknown("video format", out.suffix or str(out), FORMATS)
    files.check_file(out)


def overlay(prediction: Prediction, out: Path, top: int = 3) -> Path:
    """Write the video again, with the likeliest classes of every moment as bars.

    Args:
        out: .mp4, or .gif (of few frames and colours).
        top: classes shown.

    Raises:
        InputError: another format, or the file cannot be written.
    """
    check(out)
    with files.writing(out), files.whole(out) as half:
        (_gif if out.suffix.lower() == ".gif" else _mp4)(prediction, half, top)
    return out


def _mp4(prediction: Prediction, out: Path, top: int) -> None:
    import av

    about = look(prediction.video)
    with av.open(f"file:{out}", "w") as container:  # without file: a colon in the name would ask for a protocol
        stream: Any = None
        for i, picture in enumerate(_pictures(prediction, about, top)):
            if stream is None:
                stream = container.add_stream("libx264", rate=max(1, round(about.frames / about.lasts_s)))
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
                stream.codec_context.time_base = _TICK
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = round(about.seconds_at(i) / _TICK), _TICK
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _gif(prediction: Prediction, out: Path, top: int) -> None:
    about = look(prediction.video)
    every = max(1, -(-about.frames // _GIF_FRAMES))
    pictures = [p for i, p in enumerate(_pictures(prediction, about, top)) if i % every == 0]
    starts_ms = [1000 * about.seconds_at(i * every) for i in range(len(pictures))]
    # GIFs count in hundredths of a second: rounded each from where the last one ended, so that no error adds up
    ends = [round(end / 10) for end in (*starts_ms[1:], 1000 * about.lasts_s)]
    lengths = [10 * max(1, end - start) for start, end in zip((0, *ends), ends, strict=False)]
    pictures[0].save(out, save_all=True, append_images=pictures[1:], duration=lengths, loop=0)


def _pictures(prediction: Prediction, about: Packets, top: int) -> Iterator[Any]:
    """PIL pictures of even sides, one per frame."""
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    from tps_lab.data._video import decoded, pixels_of

    reformatter = VideoReformatter()
    for i, frame in enumerate(decoded(prediction.video)):
        picture = Image.fromarray(pixels_of(frame, None, reformatter))
        width = min(_WIDTH, picture.width) // 2 * 2
        height = round(picture.height * width / picture.width) // 2 * 2
        picture = picture.resize((width, height))
        at = about.seconds_at(i)
        moment = min(prediction.moments, key=lambda m: abs((m.start_s + m.stop_s) / 2 - at))  # of the nearest middle
        _write(picture, prediction.top(top, moment), f"{moment.start_s:.1f} to {moment.stop_s:.1f} s")
        yield picture


def _write(picture: Any, ranked: list[tuple[str, float]], title: str) -> None:
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(picture, "RGBA")
    size = max(10, picture.height // 22)
    font = ImageFont.load_default(size=size)
    line = round(1.35 * size)
    box = min(picture.width, round(0.62 * picture.width) + 20)
    draw.rectangle((0, 0, box, line * (len(ranked) + 1) + 6), fill=(0, 0, 0, 150))
    draw.text((6, 3), title, font=font, fill=(220, 220, 220))
    for row, (name, probability) in enumerate(ranked, 1):
        y = 3 + row * line
        draw.rectangle((6, y + 1, 6 + round((box - 12) * probability), y + line - 2), fill=(0, 114, 178, 190))
        draw.text((9, y), f"{100 * probability:3.0f} %  {name}"[:60], font=font, fill=(255, 255, 255))
