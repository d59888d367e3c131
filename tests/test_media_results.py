"""The folder of a result: complete or not there, and nothing else is touched."""

import json
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from make_media import picture, plain
from make_results import clip_in_memory, everything_in, frame_result, result_of
from PIL import Image

from coprop_plugin import media
from coprop_plugin.errors import MediaError
from coprop_plugin.media import (
    ResultWriter,
    read_about,
    read_clip,
    read_mask,
)
from coprop_plugin.types import ControlPoints


def write_all(frame_results, folder):
    with ResultWriter(folder, clip=clip_in_memory()) as writer:
        for frame in frame_results:
            writer.write(frame)


def test_a_saved_result_holds_what_it_says(tmp_path):
    result = result_of(clip_in_memory(), class_id=17, num_classes=71)
    folder = result.save(tmp_path / "out", alpha=True)
    pngs = [f"{part}/{k:05d}.png" for part in ("alpha", "masks", "probs") for k in range(4)]
    assert everything_in(tmp_path / "out") == sorted(
        [*pngs, "control_points.json", "overlay.mp4", "result.json"]
    )
    for k in range(4):
        mask = np.array(Image.open(folder / f"masks/{k:05d}.png"))
        np.testing.assert_array_equal(mask, result.masks[k])
        np.testing.assert_array_equal(read_mask(folder / f"masks/{k:05d}.png"), mask)
        probs = np.array(Image.open(folder / f"probs/{k:05d}.png"))
        np.testing.assert_array_equal(probs, np.where(mask, 204, 0))
        matte = np.array(Image.open(folder / f"alpha/{k:05d}.png"))
        np.testing.assert_array_equal(matte[..., :3], picture(k))
        np.testing.assert_array_equal(matte[..., 3], probs)
    points = json.loads((folder / "control_points.json").read_text())
    assert ControlPoints.from_dict(points) == result.control_points
    assert points["seconds"] == [0]
    about = json.loads((folder / "result.json").read_text())
    assert about["times"] == [0, 0.5, 1, 1.5]
    assert (about["size"], about["num_frames"], about["num_classes"]) == ([48, 64], 4, 71)


def test_masks_show_in_avsbench_colours(tmp_path):
    folder = result_of(clip_in_memory(), class_id=17, num_classes=71).save(
        tmp_path / "out", overlay=False
    )
    image = Image.open(folder / "masks/00000.png")
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((50, 40)) == (128, 64, 0)


def test_writing_a_stream_is_saving_a_result(tmp_path):
    path = plain(tmp_path / "in.mp4", seconds=4)
    result = result_of(read_clip(path))
    saved = result.save(tmp_path / "saved", alpha=True)
    with ResultWriter(tmp_path / "streamed", source=path, alpha=True) as writer:
        for frame in result.frame_results:
            writer.write(frame)
        writer.control_points = result.control_points
    assert everything_in(tmp_path / "streamed") == everything_in(saved)
    for name in everything_in(saved):
        assert (tmp_path / "streamed" / name).read_bytes() == (saved / name).read_bytes(), name


def test_about_comes_back(tmp_path):
    about = {"input": "a.mp4", "options": {"fps": 1.0}}
    folder = tmp_path / "out"
    assert read_about(folder) is None
    with ResultWriter(folder, clip=clip_in_memory(), about=about, overlay=False) as writer:
        writer.write(frame_result(0, 0.0))
        assert read_about(folder) is None
    assert read_about(folder) == about


def test_an_earlier_result_is_replaced(tmp_path):
    result_of(clip_in_memory()).save(tmp_path / "out", alpha=True)
    result_of(clip_in_memory((0, 1))).save(tmp_path / "out", overlay=False)
    assert everything_in(tmp_path) == sorted(
        f"out/{name}"
        for name in (
            "masks/00000.png",
            "masks/00001.png",
            "probs/00000.png",
            "probs/00001.png",
            "control_points.json",
            "result.json",
        )
    )


@pytest.mark.parametrize("foreign", ["thesis.doc", "masks/mine.png", "result.json"])
def test_what_others_wrote_is_left_alone(tmp_path, foreign):
    folder = tmp_path / "out"
    if foreign != "result.json":
        result_of(clip_in_memory()).save(folder, overlay=False)
    folder.mkdir(exist_ok=True)
    (folder / foreign).write_text("{}")
    before = everything_in(tmp_path)
    with pytest.raises(MediaError, match=f"out holds other files than .*{foreign}.*new folder"):
        result_of(clip_in_memory()).save(folder)
    assert everything_in(tmp_path) == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(MediaError, match="got the file .*out"):
        result_of(clip_in_memory()).save(tmp_path / "out")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_leaves_things_as_they_were(tmp_path, earlier):
    if earlier:
        result_of(clip_in_memory()).save(tmp_path / "out", overlay=False)
    before = everything_in(tmp_path)

    def interrupted():
        yield frame_result(0, 0.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_all(interrupted(), tmp_path / "out")
    assert everything_in(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == (["out"] if earlier else [])


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".out.part" / "masks").mkdir(parents=True)
    (tmp_path / ".out.part" / "masks" / "00099.png").write_bytes(b"half")
    folder = result_of(clip_in_memory()).save(tmp_path / "out", overlay=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert len(list((folder / "masks").iterdir())) == 4


@contextmanager
def small_files(num_bytes):
    """A process that may write no larger files, as on a disk that is almost full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("earlier", [False, True])
def test_a_full_disk_is_reported(tmp_path, earlier):
    if earlier:
        result_of(clip_in_memory()).save(tmp_path / "out", overlay=False)
    before = everything_in(tmp_path)
    match = "out cannot be written .File too large.*disk has room"
    with small_files(100), pytest.raises(MediaError, match=match):
        result_of(clip_in_memory()).save(tmp_path / "out")
    assert everything_in(tmp_path) == before


def test_frames_come_in_order(tmp_path):
    frames = [frame_result(0, 0.0), frame_result(2, 1.0)]
    with pytest.raises(MediaError, match="result of frame 1 for .*frame 2.*in order"):
        write_all(frames, tmp_path / "out")


def test_nothing_to_write_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="no frames"):
        write_all([], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_overlay_needs_something_to_paint_on(tmp_path):
    with pytest.raises(MediaError, match="gone.mp4 does not exist"):
        ResultWriter(tmp_path / "out", source=tmp_path / "gone.mp4")


IDS = np.array([[0, 1, 2], [3, 0, 1]], np.uint8)


def painted(mode):
    """Return class ids as an image program may save them."""
    colours = media.avsbench_palette()[IDS]
    if mode == "other palette":
        return Image.fromarray(colours).quantize(8)
    if mode == "grey palette":
        image = Image.fromarray(IDS)
        image.putpalette([value for k in range(256) for value in (k, k, k)])
        return image
    grey = {"I;16": IDS.astype(np.uint16), "I;16 scaled": IDS.astype(np.uint16) * 257}
    grey |= {"I": IDS.astype(np.int32), "F": IDS.astype(np.float32)}
    if mode in grey:
        return Image.fromarray(grey[mode])
    if mode == "RGBA":
        alpha = np.where(IDS > 0, 255, 0).astype(np.uint8)
        hidden = np.where(IDS[..., None] > 0, colours, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([hidden, alpha]))
    if mode == "RGB":
        return Image.fromarray(colours)
    return Image.fromarray(IDS).convert(mode.removeprefix("grey "))


@pytest.mark.parametrize("num_classes", [1, 71])
@pytest.mark.parametrize(
    "mode",
    "L,LA,RGB,RGBA,grey RGB,other palette,grey palette,I;16,I;16 scaled,I,F".split(","),
)
def test_painted_masks_are_read_as_programs_save_them(tmp_path, mode, num_classes):
    suffix = "tif" if mode == "F" else "png"
    painted(mode).save(tmp_path / f"mask.{suffix}")
    mask = media.read_painted_mask(tmp_path / f"mask.{suffix}", (2, 3), num_classes)
    assert mask.tolist() == (IDS if num_classes > 1 else IDS > 0).astype(int).tolist()


def test_a_painted_mask_of_two_colours_is_a_binary_mask(tmp_path):
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        Image.fromarray(((IDS > 0) * 255).astype(np.uint8)).convert(mode).save(tmp_path / "m.png")
        mask = media.read_painted_mask(tmp_path / "m.png", (2, 3), 1)
        assert mask.tolist() == (IDS > 0).astype(int).tolist()


def test_an_interrupt_while_a_result_is_begun_leaves_no_thread(tmp_path):
    def overlays():
        return [t for t in threading.enumerate() if t.name.startswith("coprop-overlay")]

    def interrupt(frame, event, arg):
        ours = "coprop_plugin" in frame.f_code.co_filename
        if event == "return" and ours and overlays():
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = overlays()
    writer = ResultWriter(tmp_path / "a", clip=clip_in_memory())
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), writer:
            sys.setprofile(None)
    finally:
        sys.setprofile(None)
    for thread in overlays():
        thread.join(20)
    assert overlays() == before == []
    assert not (tmp_path / "a").exists()
