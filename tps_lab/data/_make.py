"""Rendering a simulated data set into its cache, in several processes; what was rendered before is kept.

A file of the cache holds 64 scenes and appears whole or not at all, so that whatever stops this, the next call goes on
after the last whole file. What the pictures are depends neither on the number of processes nor on interruptions. One
process beside us is::

    python -m tps_lab.data._make --about SPEC PLUGIN…          prints what it renders with, as JSON
    python -m tps_lab.data._make 0,2,4 SPEC PLUGIN…            renders these files, prints a line per scene
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tps_lab import children, data, files, plugins
from tps_lab.data._simulated import (
    BEGUN,
    CONTENTS,
    Shard,
    Simulated,
    content_hash,
    file_hash,
    packed,
    shard_name,
    shards,
)
from tps_lab.errors import InputError
from tps_lab.lazy import end_quickly
from tps_lab.progress import Progress
from tps_lab.text import duration


def make(spec: Simulated, jobs: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Render what is missing of a data set's cache.

    Args:
        jobs: processes; 0: one per core.
        progress: where to show how far it is.

    Returns:
        folder, scenes, bytes, dropped (failed episodes by kind), content (the hash), made_with, seconds.

    Raises:
        InputError: no renderer works, the disk is too small, the folder is somebody else's, or a kind always fails.
    """
    progress = progress or Progress()
    begin = time.perf_counter()
    surroundings = spec.surroundings()
    about = _about(spec, surroundings)
    with files.writing(spec.folder):
        folder = files.folder(spec.folder)
        _begin(spec, folder, about)
        files.remove_halves(folder)
        todo = [shard for shard in shards(spec) if not _done(folder, shard_name(*shard[:2]))]
        scenes = sum(end - first for _, first, end in todo)
        jobs = max(1, min(jobs or children.cores(), len(todo)))
        if todo:
            _say_before(spec, folder, scenes, jobs, progress)
            _render(spec, surroundings, [todo[k::jobs] for k in range(jobs)], progress)
        return {**_finish(spec, folder, about), "seconds": time.perf_counter() - begin}


def _about(spec: Simulated, surroundings: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        _command("--about", spec), env=children.environment(**surroundings), capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(_last_line(done.stderr))
    return dict(json.loads(done.stdout))


def _begin(spec: Simulated, folder: Path, about: dict[str, str]) -> None:
    """Note whose this folder is, or refuse one that is not ours."""
    ours = {"identity": spec.identity, "made_with": about}
    if not (folder / BEGUN).exists():
        if any(folder.iterdir()):
            raise InputError(f"{folder} holds other files; name a new folder")
        files.write_whole(folder / BEGUN, json.dumps(ours, indent=2))
        return
    found = files.read_json(folder / BEGUN)
    if found != ours:
        then = found.get("made_with") if isinstance(found, dict) else None
        why = "other scenes" if then == about else f"scenes rendered with {then}, here it would be {about}"
        raise InputError(f"{folder} holds {why}; remove it or name another folder with path=")


def _done(folder: Path, name: str) -> bool:
    return (folder / f"{name}.json").exists() and (folder / f"{name}.npy").exists()


def _say_before(spec: Simulated, folder: Path, scenes: int, jobs: int, progress: Progress) -> None:
    needed = scenes * spec.scene_bytes
    free = shutil.disk_usage(folder).free
    took = duration(scenes * spec.seconds_each / jobs)
    progress.say(
        f"{scenes:,} scenes of {spec.stored} frames of {spec.size}×{spec.size} pixels: {needed / 2**20:,.0f} MiB in "
        f"{folder}, about {took} on {jobs} {'core' if jobs == 1 else 'cores'}"
    )
    if needed > 0.95 * free:
        raise InputError(
            f"{needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} are free in {folder}; path= names another"
        )


def _render(spec: Simulated, surroundings: dict[str, str], shares: list[list[Shard]], progress: Progress) -> None:
    """Let a process render each share, and show how far they are; if one fails or we are stopped, all end."""
    environment = children.environment(OMP_NUM_THREADS="1", **surroundings)
    every, running = shards(spec), list[subprocess.Popen[str]]()
    scenes = sum(end - first for share in shares for _, first, end in share)
    began, rendered, done = time.perf_counter(), threading.Lock(), 0

    def render(share: list[Shard]) -> None:
        nonlocal done
        command = _command(",".join(str(every.index(shard)) for shard in share), spec)
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors)
            running.append(process)
            for _ in process.stdout or ():  # a line a scene
                with rendered:
                    done += 1
                    left = (time.perf_counter() - began) / done * (scenes - done) / 60
                    advance(done, None if done % max(1, scenes // 20) else f"{left:.1f} min left")
            if process.wait():
                errors.seek(0)
                raise InputError(_last_line(errors.read()))

    with progress.run("scenes", scenes) as advance, ThreadPoolExecutor(len(shares)) as pool:
        try:
            for one in as_completed([pool.submit(render, share) for share in shares]):
                one.result()
        except BaseException:
            for process in running:
                process.terminate()
            raise


def _finish(spec: Simulated, folder: Path, about: dict[str, str]) -> dict[str, Any]:
    """Write what the cache holds, once all of it is there."""
    sums, dropped, total = {}, Counter[str](), 0
    for split, first, _ in shards(spec):
        name = shard_name(split, first)
        sums[name] = file_hash(folder / f"{name}.npy")
        total += (folder / f"{name}.npy").stat().st_size
        dropped.update(files.read_json(folder / f"{name}.json")["dropped"])
    contents = {
        "identity": spec.identity,
        "made_with": about,
        "dropped": dict(sorted(dropped.items())),
        "content": content_hash(sums),
        "shards": sums,
    }
    files.write_whole(folder / CONTENTS, json.dumps(contents, indent=2))
    scenes = sum(end - first for _, first, end in shards(spec))
    return {
        "folder": str(folder), "scenes": scenes, "bytes": total,
        **{name: contents[name] for name in ("dropped", "content", "made_with")},
    }  # fmt: skip


def _command(what: str, spec: Simulated) -> list[str]:
    return children.python("-m", "tps_lab.data._make", what, str(spec), *plugins.loaded())


def _last_line(text: str) -> str:
    found = [line for line in text.strip().splitlines() if line.strip()]
    return found[-1].removeprefix("tps_lab.errors.InputError: ") if found else "rendering failed and said nothing"


# ---------------------------------------------------------------------- the other process


def _work(spec: Simulated, todo: list[Shard]) -> None:
    """Render some files of the cache."""
    parent = os.getppid()
    for split, first, end in todo:
        scenes, dropped = [], Counter[str]()
        for index in range(first, end):
            pictures, failed = spec.scene(split, index)
            scenes.append(pictures)
            if failed:
                dropped[spec.kinds[index % len(spec.kinds)]] += failed
            if os.getppid() != parent:
                sys.exit("nobody is waiting for this any more")
            print(index, flush=True)
        name = shard_name(split, first)
        files.write_whole(spec.folder / f"{name}.npy", packed(scenes))
        files.write_whole(spec.folder / f"{name}.json", json.dumps({"dropped": dict(dropped)}))


def _main(what: str, text: str, *plugin_files: str) -> None:
    end_quickly()
    for file in plugin_files:
        plugins.load(Path(file))
    spec = data.parse(text)
    assert isinstance(spec, Simulated)
    if what == "--about":
        print(json.dumps(spec.made_with()))
    else:
        every = shards(spec)
        _work(spec, [every[int(k)] for k in what.split(",")])


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
    except Exception as error:
        if not plugins.is_theirs(error):
            raise
        sys.exit(f"a plugin fails: {plugins.told(error)}")
