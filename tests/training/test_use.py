"""A trained model asked about videos, exported, and its card."""

import json
import shutil

import pytest
import torch
from PIL import Image
from run_folders import run_folder
from tiny import write_video

import tps_lab
from tps_lab import InputError, create_model
from tps_lab.results import runs
from tps_lab.training import export, inference, model_cards
from tps_lab.viz.overlay import overlay


def test_a_video_is_gone_through_moment_by_moment(run, videos):
    found = tps_lab.predict(videos / "a.mp4", run.path)
    assert found.classes == ("forwards", "backwards")
    starts = [round(moment.start_s * 25) for moment in found.moments]
    assert starts == list(range(0, 197, 2))  # clips of 4 frames, each half a clip after the last
    assert all(sum(moment.probabilities) == pytest.approx(1, abs=1e-5) for moment in found.moments)
    (_, probability), _ = found.top()
    assert probability == pytest.approx(max(found.probabilities))
    mean = sum(m.probabilities[0] for m in found.moments) / len(found.moments)
    assert dict(found.top())["forwards"] == pytest.approx(mean)
    json.dumps(found.plain())


def test_a_moment_is_what_the_model_says_of_that_clip(run, videos):
    """Read by other code: all frames at once, as the data set reads them in training."""
    from tps_lab.data._video import read_frames

    frames = torch.from_numpy(read_frames(videos / "a.mp4", size=16))[10:14].permute(3, 0, 1, 2)[None].float()
    with torch.no_grad():  # each clip of zero mean and unit spread, but for 3 of 255 greys
        expected = inference.load(run)((frames - frames.mean()) / (frames.std(correction=0) + 3)).softmax(1)[0]
    moment = tps_lab.predict(videos / "a.mp4", run).moments[5]
    assert moment.probabilities == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_video_is_cut_into_tiles_as_in_training(run, videos, tmp_path):
    """What a clip shows is one of the squares that the model was trained on, and a moment's answer their average."""
    spec = tps_lab.data.parse(f"video-folder(path={videos}, frames=4, size=16, tiles=2, margin=2)")
    clips = spec.opened()
    tiles = [video.start for name, video in clips.videos.items() if name.startswith("a.mp4#")]
    found = list(inference._strided(spec, videos / "a.mp4"))
    assert len(tiles) >= 4
    assert len(found) == 99 * len(tiles)
    for tile, start in enumerate(tiles):
        frames = clips.bank[start + 10 : start + 14, :, 2:18, 2:18].transpose(0, 1)
        assert torch.equal(found[5 * len(tiles) + tile][2], spec.normalised(frames[None])[0])
    config = (run.path / "config.yaml").read_text()
    copy = copied(run, tmp_path, "config.yaml", config.replace("size=16", "size=16, tiles=2, margin=2"))
    assert "tiles=2" in (copy / "config.yaml").read_text()
    with torch.no_grad():
        each = inference.load(run)(torch.stack([clip for _, _, clip in found[5 * len(tiles) : 6 * len(tiles)]]))
    moments = tps_lab.predict(videos / "a.mp4", copy).moments
    assert len(moments) == 99
    assert moments[5].probabilities == pytest.approx(each.softmax(1).mean(0).tolist(), abs=1e-4)


def copied(run, tmp_path, name, text):
    """The run's folder again, where this file says something else."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / name).write_text(text)
    return copy


@pytest.mark.parametrize("said", [None, "nothing"])
@pytest.mark.parametrize("key", ["classes", "frames", "size"])
def test_a_row_that_does_not_say_what_clips_it_saw_is_an_error(run, tmp_path, key, said):
    row = run.row | {key: None}
    if said:
        del row[key]
    copy = copied(run, tmp_path, "row.json", json.dumps(row))
    with pytest.raises(InputError, match=f"copy: row.json does not say the {key}"):
        inference.load(runs.Run(copy))


def test_a_config_without_data_is_an_error_where_a_video_is_asked_about(run, tmp_path, videos):
    copy = copied(run, tmp_path, "config.yaml", "seed: 0\n")
    with pytest.raises(InputError, match=r"copy: config.yaml .* names no data"):
        tps_lab.predict(videos / "a.mp4", copy)


def test_a_config_that_names_another_model_than_was_trained_is_an_error(run, tmp_path, videos):
    """The weights of one pattern fit every other: nothing else would say that the answers are another model's."""
    config = (run.path / "config.yaml").read_text()
    copy = copied(run, tmp_path, "config.yaml", config.replace("tps(pattern=A)", "tps(pattern=B)"))
    says = r"copy: config.yaml gives attention = tps\(pattern=B\), and row.json says that tps\(pattern=A\) was trained"
    with pytest.raises(InputError, match=says):
        tps_lab.predict(videos / "a.mp4", copy)
    with pytest.raises(InputError, match=says):
        export.export(runs.open_run(copy), tmp_path / "model.pt2", "torch")
    (copy / "config.yaml").write_text("".join(config.splitlines(keepends=True)[1:]))  # cut: the default would be taken
    with pytest.raises(InputError, match=r"copy: config.yaml gives attention = tps, and"):
        inference.load(runs.Run(copy))


def test_a_config_that_cannot_be_understood_is_named_with_its_run(run, tmp_path, videos):
    config = (run.path / "config.yaml").read_text()
    copy = copied(run, tmp_path, "config.yaml", config[: config.index("recipe:") + len("recipe:")])
    with pytest.raises(InputError, match=r"copy: config.yaml: recipe = None"):
        tps_lab.predict(videos / "a.mp4", copy)


def test_a_row_of_clips_that_no_model_takes_is_an_error(run, tmp_path):
    copy = copied(run, tmp_path, "row.json", json.dumps(run.row | {"size": 7}))
    with pytest.raises(InputError, match="a picture must be as large as a patch"):
        inference.load(runs.Run(copy))


def test_a_row_without_tubelets_means_single_frames(run, tmp_path):
    copy = copied(run, tmp_path, "row.json", json.dumps(run.row | {"tubelet": None}))
    assert inference.load(runs.Run(copy)).clip_shape == inference.load(run).clip_shape


def test_whole_videos_are_cut_into_moments_if_long(videos):
    spec = tps_lab.data.parse("class-folders(path=x, frames=4, size=16, short=16)")
    clips = list(inference._labelled(spec, videos / "a.mp4", None))
    assert [(a, b) for a, b, _ in clips] == [(0, pytest.approx(8))]
    assert clips[0][2].shape == (3, 4, 16, 16)
    cut = list(inference._labelled(spec, videos / "a.mp4", 3.0))
    assert [(round(a), round(b)) for a, b, _ in cut] == [(0, 3), (3, 6), (6, 8)]


def test_moments_of_a_video_of_variable_rate_are_in_its_own_seconds(tmp_path):
    """25 frames a second for 10 s, then one a second for 20; what is asked is what is shown then."""
    frames = [*range(250), *(250 + 25 * i for i in range(20))]
    video = write_video(tmp_path / "a:b.mkv", 270, times=frames)
    spec = tps_lab.data.parse("class-folders(path=x, frames=4, size=16, short=16, sampling=dense, stride=1)")
    cut = list(inference._labelled(spec, video, None))
    assert [(a, b) for a, b, _ in cut[:2]] == [(0, 10), (10, 20)]
    assert cut[2][:2] == (20, pytest.approx(29, abs=0.1))
    fine = [(a, b) for a, b, _ in inference._labelled(spec, video, 0.5)]
    assert fine[:-1] == [(k / 2, (k + 1) / 2) for k in range(len(fine) - 1)]
    moments = tuple(inference.Moment(a, b, (1.0, 0.0)) for a, b, _ in cut)
    from tps_lab.data._seek import look

    about, seen = look(video), look(overlay(inference.Prediction(video, ("a", "b"), moments), tmp_path / "12:30.mp4"))
    assert seen.frames == about.frames == 270
    for i in (0, 100, 250, 260, 269):
        assert seen.seconds_at(i) == pytest.approx(about.seconds_at(i), abs=0.002)
    with Image.open(overlay(inference.Prediction(video, ("a", "b"), moments), tmp_path / "a.gif")) as gif:
        total = 0
        for i in range(gif.n_frames):
            gif.seek(i)
            total += gif.info["duration"]
    assert total / 1000 == pytest.approx(about.seconds, abs=0.02)


WHOLE = "class-folders(path=x, frames=4, size=16, short=16)"


def test_moments_shorter_than_a_frame_are_an_error(videos):
    """Each costs a pass of the model: of 1e-9 s there would be eight thousand million."""
    spec = tps_lab.data.parse(WHOLE)
    assert len(list(inference._labelled(spec, videos / "a.mp4", 0.04))) == 200
    with pytest.raises(InputError, match=r"a moment of 1e-09 s is shorter than a frame of .*a.mp4: it must be 0.04 s"):
        next(inference._labelled(spec, videos / "a.mp4", 1e-9))


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_what_is_left_of_a_video_that_breaks_off_is_not_answered_about(videos, tmp_path, name):
    import av

    with av.open(str(tmp_path / name), "w", options={"movflags": "faststart"} if name.endswith("4") else {}) as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for picture in torch.randint(255, (40, 64, 64, 3), dtype=torch.uint8).numpy():
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    whole = (tmp_path / name).read_bytes()
    assert list(inference._labelled(tps_lab.data.parse(WHOLE), tmp_path / name, None))
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot read video .*(truncated|damaged)"):
        next(inference._labelled(tps_lab.data.parse(WHOLE), tmp_path / name, None))


def test_a_picture_is_no_clip_of_several_frames(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.PNG")
    with pytest.raises(InputError, match=r"a.PNG is a picture, and the run was trained on clips of 4 frames"):
        next(inference._labelled(tps_lab.data.parse(WHOLE), tmp_path / "a.PNG", None))
    one = tps_lab.data.parse(WHOLE.replace("frames=4", "frames=1"))
    assert next(inference._labelled(one, tmp_path / "a.PNG", None))[2].shape == (3, 1, 16, 16)


def test_what_cannot_be_asked_is_named(run, tmp_path, videos):
    short = write_video(tmp_path / "short.mp4", 3)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    for video, folder, says in [
        (short, run.path, "too short: it has 3 frames"),
        (tmp_path / "text.mp4", run.path, "cannot read video"),
        (tmp_path / "none.mp4", run.path, "no such video"),
        (videos / "a.mp4", tmp_path / "nowhere", "no such run folder"),
        (videos / "a.mp4", tmp_path / "empty", "no run's folder"),
        (videos / "a.mp4", run.path.parent, "it holds runs, such as"),
    ]:
        with pytest.raises(InputError, match=says):
            tps_lab.predict(video, folder)


def test_drawn_clips_say_nothing_about_videos(videos, tmp_path):
    with pytest.raises(InputError, match="cannot classify a video"):
        tps_lab.predict(videos / "a.mp4", run_folder(tmp_path))


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_the_overlay_is_the_video_with_something_on_it(run, tmp_path, suffix):
    from tps_lab.data._video import read_frames

    video = write_video(tmp_path / "video.mp4", 12, 120, 160)
    found = tps_lab.predict(video, run)
    out = overlay(found, tmp_path / f"seen{suffix}")
    if suffix == ".mp4":
        before, after = read_frames(video).astype(int), read_frames(out).astype(int)
        assert after.shape == before.shape
        assert abs(after[:, 60:] - before[:, 60:]).mean() < 6  # encoded twice
        assert abs(after[:, :20] - before[:, :20]).mean() > 8
    assert {file.name for file in tmp_path.iterdir()} == {video.name, out.name}
    with pytest.raises(InputError, match="unknown video format"):
        overlay(found, tmp_path / "seen.txt")
    with pytest.raises(InputError, match=rf"an ending without a name: give, for example, seen{suffix}"):
        overlay(found, tmp_path / suffix)


def test_exported_programs_are_the_model(run, tmp_path):
    done = export.export(run, tmp_path / "model.pt2", "torch", batch=2)
    program = torch.export.load(done.path).module()
    clips = torch.randn(2, *done.clip_shape)
    with torch.no_grad():
        assert torch.allclose(program(clips), inference.load(run)(clips), atol=1e-5)
    with pytest.raises(InputError, match="already exists"):
        export.export(run, tmp_path / "model.pt2", "torch")
    for out, format in (("x.onnx", "torch"), ("x.PT2", "onnx")):
        with pytest.raises(InputError, match=f"{out} ends as a file of the format (?!{format})"):
            export.export(run, tmp_path / out, format)
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        export.export(run, tmp_path / "x", "onx")


def test_the_gather_exports_to_onnx(tmp_path):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model = create_model("swin_micro", "tps+tcs", pattern="A", frames=4, num_classes=3)
    done = export.export_model(model, tmp_path / "model.onnx", "onnx")
    assert done.largest_difference < 1e-5


def test_an_export_that_is_not_the_model_is_not_kept(tmp_path, monkeypatch):
    model = create_model("vit_micro", "spatial", frames=2, num_classes=3)
    written = export._written
    monkeypatch.setattr(export, "_written", lambda *given: written(*given) and (lambda clip: torch.zeros(1, 3)))
    with pytest.raises(InputError, match="gives other answers"):
        export.export_model(model, tmp_path / "model.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_the_card_says_data_licence_recipe_and_figures(run):
    card = json.loads((run.path / "card.json").read_text())
    assert card["row"]["top1_pct"] == run.row["top1_pct"]
    assert card["recipe"]["steps"] == 4
    assert card["data"]["licence"]
    text = (run.path / "README.md").read_text()
    assert f"Top-1 {run.row['top1_pct']} %" in text
    assert "at most 50 %" in text
    assert text == model_cards.text(card, run.path.name)


def test_a_run_that_has_not_ended_has_no_weights(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match="is not finished"):
        runs.open_run(tmp_path)
