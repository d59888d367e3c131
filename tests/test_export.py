"""Results for editors and annotation tools: every picture at its time, with its alpha and sound."""

import json
import shutil
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from make_media import chirp, indices_of, plain, shift_of, steady, write_video
from make_results import everything_in, result_of
from PIL import Image
from typer.testing import CliRunner

from coprop_plugin import cli, media, wrap
from coprop_plugin.errors import MediaError, MissingExtraError
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.media import class_names, export, read_clip, read_waveform, run_lengths
from coprop_plugin.media.encode import VideoWriter
from coprop_plugin.pipeline import redo
from coprop_plugin.training import read_config
from coprop_plugin.world import KINDS

STRIPES = (np.indices((48, 64)).sum(0) % 50) < 25
# What pycocotools 2.0.11 says.
GOLDEN = [
    (np.zeros((3, 4)), "<"),
    (np.ones((3, 4)), "0<"),
    (np.eye(40), "01X1" + 77 * "0"),
    (STRIPES, "0i0g0O1O1O" + 45 * "0" + "1O1O1O" + 45 * "0" + "1O1O1O" + 21 * "0" + "E"),
]
TIMES = [0, 0.04, 0.4, 0.7, 1.02, 1.5, 1.9, 2.2, 2.9]
DECODERS = {"prores4444": "prores", "vp9-alpha": "libvpx-vp9"}


@pytest.fixture
def run(tmp_path):
    """A result at one frame a second, of a video whose frames come as they please."""
    path = write_video(tmp_path / "in.mp4", TIMES, chirp(3.3), in_order=True, last_s=0.4)
    return result_of(read_clip(path, fps=1)).save(tmp_path / "run", overlay=False)


def decoded(path, codec):
    """Return time and RGBA picture of every frame; FFmpeg's own VP9 decoder drops the alpha."""
    shown = []
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        decoder = av.CodecContext.create(codec, "r")
        decoder.extradata = video.codec_context.extradata
        decoder.width, decoder.height = video.width, video.height
        decoder.codec_tag = video.codec_context.codec_tag
        for packet in container.demux(video):
            for frame in decoder.decode(packet if packet.size else None):
                assert frame.format.name.startswith("yuva")
                time_s = float(frame.pts * video.time_base)
                shown.append((time_s, frame.to_ndarray(format="rgba")))
    return shown


@pytest.mark.parametrize(("form", "stored"), [("prores4444", 64), ("vp9-alpha", 86)])
def test_pixels_that_are_not_square_keep_their_shape(tmp_path, form, stored):
    path = tmp_path / "wide.mp4"
    with VideoWriter(path) as writer:
        writer.pixel_aspect = Fraction(4, 3)
        for t in range(2):
            writer.add(np.full((48, 64, 3), 90, np.uint8), t / 2, 0.5)
    folder = result_of(read_clip(path)).save(tmp_path / "run", overlay=False)
    with av.open(str(export(folder, form))) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (stored, 48)
        assert float(video.width * (video.sample_aspect_ratio or 1)) == pytest.approx(
            256 / 3, abs=1
        )


@pytest.mark.parametrize("form", ["prores4444", "vp9-alpha"])
def test_every_picture_has_its_alpha_at_its_time(run, form):
    path = export(run, form)
    assert path == run / ("alpha.mov" if form == "prores4444" else "alpha.webm")
    shown = decoded(path, DECODERS[form])
    assert [round(time_s, 3) for time_s, _ in shown] == TIMES
    times = json.loads((run / "result.json").read_text())["times"]
    for time_s, picture in shown:
        index = sum(t <= time_s + 1e-3 for t in times) - 1
        probs = media.read_mask(run / f"probs/{index:05d}.png").astype(int)
        assert np.abs(picture[..., 3] - probs).mean() < 3, time_s
        assert int(picture[40, 54, 3]) == pytest.approx(204 if index % 2 == 0 else 0, abs=3)
        grey = torch.from_numpy(picture[..., :3].copy()).permute(2, 0, 1)
        assert indices_of(grey[None])[0] == TIMES.index(round(time_s, 3))
    waveform, sample_rate = read_waveform(path, duration_s=3.2)
    truth, rate = read_waveform(run.parent / "in.mp4", duration_s=3.2)
    assert sample_rate in (rate, 48_000)
    shift, agreement = shift_of(waveform[:: sample_rate // rate], truth, rate)
    assert abs(shift) <= rate / 1000
    assert agreement > 0.98
    assert not [name for name in everything_in(run) if "part" in name]


def test_a_video_without_sound_or_of_odd_size_is_exported_too(tmp_path):
    path = write_video(tmp_path / "odd.mp4", steady(1), None, size=(49, 63), pix_fmt="yuv444p")
    with pytest.warns(media.MediaWarning):
        run = result_of(read_clip(path)).save(tmp_path / "run", overlay=False)
    for form, size in (("prores4444", (49, 63)), ("vp9-alpha", (50, 64))):
        _, picture = decoded(export(run, form), DECODERS[form])[0]
        assert picture.shape[:2] == size


def test_pictures_are_those_that_save_writes(tmp_path):
    result = result_of(read_clip(plain(tmp_path / "in.mp4"), fps=2))
    saved = result.save(tmp_path / "saved", overlay=False, alpha=True)
    run = result.save(tmp_path / "run", overlay=False)
    for _ in range(2):
        assert export(run, "png-alpha") == run / "alpha"
    for name in everything_in(saved / "alpha"):
        assert (run / "alpha" / name).read_bytes() == (saved / "alpha" / name).read_bytes()
    assert everything_in(saved) == everything_in(run)


def test_class_names_that_are_too_long_are_refused(tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("background\nviolin\n")
    monkeypatch.setenv("COPROP_MAX_TEXT_BYTES", "10")
    with pytest.raises(MediaError, match="names.txt: 18 bytes of text exceeds the limit of 10"):
        class_names(1, tmp_path / "names.txt")


@pytest.mark.parametrize(("mask", "counts"), GOLDEN)
def test_run_lengths_are_those_of_coco(mask, counts):
    assert run_lengths(mask) == {"size": list(mask.shape), "counts": counts}


def test_run_lengths_are_those_of_pycocotools():
    theirs = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for size in ((1, 1), (1, 9), (7, 1), (30, 41), (300, 200)):
        for share in (0.01, 0.3, 0.9):
            mask = (random.random(size) < share).astype(np.uint8)
            said = theirs.encode(np.asfortranarray(mask))
            assert run_lengths(mask) == {"size": list(size), "counts": said["counts"].decode()}


def test_annotations_are_what_coco_tools_read(tmp_path):
    tools = pytest.importorskip("pycocotools.coco")
    clip = read_clip(plain(tmp_path / "in.mp4"))
    run = result_of(clip, class_id=17, num_classes=71).save(tmp_path / "run", overlay=False)
    coco = tools.COCO(str(export(run, "coco")))
    assert [coco.cats[k]["name"] for k in (1, 17, 70)] == ["accordion", "dog", "woman"]
    assert [image["time_s"] for image in coco.imgs.values()] == clip.times.tolist()
    # Something sounds in every other frame.
    assert [a["image_id"] for a in coco.anns.values()] == [1, 3]
    for annotation in coco.anns.values():
        mask = media.read_mask(run / f"masks/{annotation['image_id'] - 1:05d}.png")
        np.testing.assert_array_equal(coco.annToMask(annotation), mask == 17)
        assert annotation["area"] == (mask == 17).sum()
        assert annotation["bbox"] == [32, 24, 28, 20]
        assert annotation["score"] == 0.8
        assert annotation["category_id"] == 17
    export(run, "png-alpha")
    for image in coco.imgs.values():
        with Image.open(run / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])


def test_layouts_of_trainers_have_the_masks_and_the_pictures(tmp_path):
    clip = read_clip(plain(tmp_path / "in.mp4"))
    run = result_of(clip, class_id=17, num_classes=71).save(tmp_path / "run", overlay=False)
    runner = CliRunner()
    command = ["export", str(run), "-f", "yolo-seg", "-f", "davis"]
    for _ in range(2):  # An earlier export is replaced.
        assert runner.invoke(cli.app, command).exit_code == 0
    assert json.loads((run / "yolo" / "data.yaml").read_text())["names"][16] == "dog"
    davis, height, width = run / "davis", *clip.size
    assert (davis / "ImageSets" / "2017" / "val.txt").read_text() == "run\n"
    for t in range(clip.num_frames):
        mask = media.read_mask(run / f"masks/{t:05d}.png")
        named = davis / "Annotations" / "480p" / "run" / f"{t:05d}.png"
        np.testing.assert_array_equal(media.read_mask(named), mask)
        for picture in (davis / "JPEGImages/480p/run", run / "yolo" / "images"):
            with Image.open(picture / f"{t:05d}.jpg") as image:
                error = np.abs(
                    np.array(image).astype(int) - clip.frames[t].permute(1, 2, 0).numpy()
                )
            assert error.mean() < 3
        drawn = np.zeros(clip.size, np.uint8)
        for line in (run / "yolo" / "labels" / f"{t:05d}.txt").read_text().splitlines():
            class_id, *corners = line.split()
            assert class_id == "16"
            polygon = np.array(corners, float).reshape(-1, 2) * (width, height)
            cv2.fillPoly(drawn, [polygon.round().astype(np.int32)], 17)
        np.testing.assert_array_equal(drawn, mask)


def test_supervision_reads_annotations_with_the_pictures_beside_them(tmp_path):
    sv = pytest.importorskip("supervision")
    clip = read_clip(plain(tmp_path / "in.mp4"))
    run = result_of(clip, class_id=17, num_classes=71).save(tmp_path / "run", overlay=False)
    export(run, "png-alpha")
    data = sv.DetectionDataset.from_coco(str(run), str(export(run, "coco")))
    assert len(data) == clip.num_frames
    for path, picture, found in data:
        assert picture.shape[:2] == clip.size
        assert [data.classes[k] for k in found.class_id] == ["dog"] * len(found), path
    assert sum(len(found) for _, _, found in data) == 2


def test_classes_have_names(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("background\nviolin\npiano\n")
    assert class_names(3, names) == ("background", "violin", "piano")
    (tmp_path / "names.json").write_text('{"piano": 2, "background": 0, "violin": 1}')
    assert class_names(3, tmp_path / "names.json") == ("background", "violin", "piano")
    with pytest.raises(MediaError, match="Expected 71 names .*names.txt, got 3"):
        class_names(71, names)
    with pytest.raises(MediaError, match="cannot be read"):
        class_names(71, tmp_path / "gone.txt")
    assert len(set(class_names(71))) == 71


def loud(frames, audio):
    logits = torch.zeros(len(frames), 3, *frames.shape[-2:])
    logits[:, 2] = 1
    return logits


def test_a_model_says_what_its_classes_are_called(tmp_path):
    names = ["background", "violin", "piano"]
    backend = dict(type="callable", num_classes=3, class_names=names)
    model = wrap(loud, backend=backend, control_points="every_n", propagator="hold")
    video = plain(tmp_path / "in.mp4")
    result = model.segment(video)
    run = result.save(tmp_path / "run", overlay=False)
    model.segment_bare(result.clip).save(tmp_path / "bare", overlay=False)
    redo(model, video, run, tmp_path / "again", overlay=False)
    for folder in (run, tmp_path / "bare", tmp_path / "again"):
        assert json.loads((folder / "result.json").read_text())["class_names"] == names
        told = json.loads(export(folder, "coco").read_text())
        assert [category["name"] for category in told["categories"]] == names[1:]
    # What a person edits may hold anything.
    edited = json.loads((run / "result.json").read_text()) | {"class_names": [1, {}, None]}
    (run / "result.json").write_text(json.dumps(edited))
    told = json.loads(export(run, "coco").read_text())
    assert [category["name"] for category in told["categories"]] == ["class 1", "class 2"]


def test_the_model_that_ships_names_the_world():
    shipped = load_keyframe_processor().class_names
    assert shipped == ("silent", *(kind.name for kind in KINDS))
    config = read_config("world_keyframes_small")
    assert tuple(config.model.processor.class_names) == shipped


@pytest.mark.parametrize(
    "edit",
    [
        {"num_classes": "1"},
        {"num_classes": 10**400},
        {"num_frames": 2},
        {"num_frames": True},
        {"size": [48]},
        {"size": [0, 64]},
        {"times": [0, None, 2]},
        {"times": [2, 1, 0]},
        {"times": [0, 1, 10**400]},
        {"times": 3},
        {"sampling": ["pts"]},
        {"sampling": "often"},
        {"source": 3},
        {"about": []},
        {"about": {"options": 3}},
    ],
)
def test_a_result_that_makes_no_sense_is_none(edit, tmp_path):
    saved = result_of(read_clip(plain(tmp_path / "in.mp4"))).save(tmp_path / "run", overlay=False)
    assert media.read_manifest(saved)["num_frames"] == 3
    path = saved / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    assert media.read_manifest(saved) is None
    with pytest.raises(MediaError, match="holds no finished result"):
        export(saved, "coco")


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    with pytest.raises(MediaError, match="png-alpha, prores4444, vp9-alpha, coco, yolo-seg, davis"):
        export(run, "gif")
    with pytest.raises(MediaError, match="holds no finished result"):
        export(tmp_path, "coco")
    other = plain(tmp_path / "other.mp4")
    with pytest.raises(MediaError, match="not the video that .*run was made from"):
        export(run, "prores4444", video=other)
    (tmp_path / "in.mp4").rename(tmp_path / "moved.mp4")
    with pytest.raises(MediaError, match="in.mp4 was not found. Name the video.*--video"):
        export(run, "png-alpha")
    (run / "probs/00002.png").unlink()
    before = everything_in(run)
    for form in ("prores4444", "png-alpha", "coco"):
        with pytest.raises(MediaError, match=r"00002.png"):
            export(run, form, video=tmp_path / "moved.mp4")
    assert everything_in(run) == before


def test_an_exported_result_is_still_a_result(run):
    export(run, "coco")
    export(run, "vp9-alpha")
    result_of(read_clip(run.parent / "in.mp4", fps=1)).save(run, overlay=False)
    assert not (run / "coco.json").exists()


def test_the_command_exports_runs_in_several_forms(run, tmp_path):
    shutil.copytree(run, tmp_path / "runs" / "a")
    shutil.copytree(run, tmp_path / "runs" / "b")
    arguments = ["export", str(tmp_path / "runs"), "-f", "coco", "--format", "png-alpha", "--json"]
    shutil.copy(tmp_path / "in.mp4", tmp_path / "runs" / "in.mp4")
    (tmp_path / "runs/b/masks/00001.png").unlink()
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 1
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [o["status"] for o in outcomes] == ["done", "done", "failed", "done"]
    assert outcomes[0]["output"] == str(tmp_path / "runs/a/coco.json")
    done = CliRunner().invoke(cli.app, ["export", str(run), "-f", "gif"])
    assert done.exit_code == 2


def test_detections_are_the_masks(tmp_path):
    pytest.importorskip("supervision")
    result = result_of(read_clip(plain(tmp_path / "in.mp4")), class_id=17, num_classes=71)
    detections = result.to_supervision()
    assert [len(found) for found in detections] == [1, 0, 1]
    found = detections[2]
    np.testing.assert_array_equal(found.mask[0], result.masks[2] == 17)
    assert found.xyxy.tolist() == [[32, 24, 60, 44]]
    assert found.class_id.tolist() == [17]
    assert found.confidence == pytest.approx([0.8])
    assert found["class_name"].tolist() == ["dog"]
    image = np.zeros((48, 64, 3), np.uint8)
    from supervision import MaskAnnotator

    painted = MaskAnnotator(opacity=1.0).annotate(image.copy(), found)
    np.testing.assert_array_equal(painted.any(-1), found.mask[0])


def test_without_supervision_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    result = result_of(read_clip(plain(tmp_path / "in.mp4")))
    with pytest.raises(MissingExtraError, match=r"pip install 'coprop-plugin\[supervision\]'"):
        result.to_supervision()


def test_pictures_with_alpha_are_see_through_where_nothing_sounds(run):
    picture = Image.open(export(run, "png-alpha") / "00001.png")
    assert picture.mode == "RGBA"
    assert picture.getextrema()[3] == (0, 0)
