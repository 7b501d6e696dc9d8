"""The smallest run, and the smallest video."""

import numpy as np

COST = {"params": 1, "macs": 1, "missing": {}}  # what it costs is measured elsewhere
TINY = {
    "data": "opposites(train=48, val=12, test=24, frames=5, size=16)",
    "attention": "tps(pattern=A)",
    "backbone": "vit_micro(depth=2)",
    "recipe.steps": 4,
    "recipe.batch": 8,
    "recipe.validate_every": 2,
}


def write_video(path, frames, height=32, width=48, rate=25, times=None):
    """A bright square that moves to the right; `times`: when each frame is shown, in frames of the rate."""
    import av

    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            picture = np.zeros((height, width, 3), np.uint8)
            picture[8:24, i % (width - 16) : i % (width - 16) + 16] = 200
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts = times[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
