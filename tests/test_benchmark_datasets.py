"""AVSBench's data sets in their own layouts, and the parts of them that look at change."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from make_avsbench import (
    CLASSES,
    colour,
    frames,
    make_avss,
    make_ms3,
    make_s4,
    mask,
    pickled_log_mel,
    picture,
    sound,
)
from PIL import Image

from coprop_plugin import ControlPoints, wrap
from coprop_plugin.audio.log_mel import clip_log_mel, log_mel_at
from coprop_plugin.benchmark import index_into
from coprop_plugin.benchmark.datasets import (
    AVSS,
    MOC,
    MS3,
    S4,
    Statistics,
    binary_mask,
    colour_labels,
    index_labels,
    keyframes_of,
    read_ids,
    segments_of,
    select_changing,
    write_ids,
)
from coprop_plugin.control_points import EveryNProvider, from_masks
from coprop_plugin.errors import CopropError, DatasetError, DatasetWarning
from coprop_plugin.media import avsbench_palette
from coprop_plugin.registry import DATASETS
from coprop_plugin.types import Clip

MS3_CLIPS = {
    "-dog": ("test", "11111"),
    "b_1": ("test", "01100"),
    "c": ("test", "00000"),
    "d": ("train", "00111"),
}


@pytest.fixture(scope="session")
def ms3_root(tmp_path_factory):
    return make_ms3(tmp_path_factory.mktemp("data") / "Multi-sources", MS3_CLIPS)


@pytest.fixture(scope="session")
def s4_root(tmp_path_factory):
    clips = {"x": ("cat", "train"), "y": ("dog", "val")}
    return make_s4(tmp_path_factory.mktemp("data") / "Single-source", clips)


@pytest.fixture(scope="session")
def avss_root(tmp_path_factory):
    clips = {
        "s": ("s", "v1s", "train", [2]),
        "s_val": ("s", "v1s", "val", [2] * 5),
        "m": ("-dog", "v1m", "test", [1, 1, 2, 2, 2]),
        "m_b": ("b_1", "v1m", "test", [0, 3, 3, 0, 0]),
        "c": ("other", "v1m", "test", [9] * 5),
        "two": ("-dog", "v2", "test", [1] * 10),
    }
    return make_avss(tmp_path_factory.mktemp("data") / "AVSS", clips)


def test_ms3_is_read_as_it_lies(ms3_root):
    dataset = MS3(ms3_root, "test")
    assert dataset.ids == ["-dog", "b_1", "c"]
    assert dataset.missing() == []
    sample = dataset[1]
    assert (sample.id, sample.split, sample.num_classes) == ("b_1", "test", 1)
    assert (
        sample.clip.frames.permute(0, 2, 3, 1).numpy().tolist() == frames((16, 24), 5, 1).tolist()
    )
    want = np.stack([mask((16, 24), int(c)) for c in "01100"])
    assert sample.masks.dtype == torch.int64
    assert sample.masks.tolist() == want.tolist()
    assert sample.labelled.all()
    assert sample.control_points.indices == [0, 1, 3]
    assert sample.clip.times.tolist() == [15 / 16 + t for t in range(5)]
    assert torch.equal(
        sample.clip.log_mel, clip_log_mel(MS3(ms3_root, "test", log_mel="none")[1].clip)
    )


def test_a_keyframe_gets_the_audio_of_its_own_segment(ms3_root):
    clip = MS3(ms3_root, "test")[0].clip
    seen = []

    def segmenter(frames, log_mel):
        seen.append(log_mel)
        return frames[:, :1]

    points = ControlPoints.from_indices([0, 2], 5, starts_s=torch.tensor([0.0, 2.4]).double())
    backend = dict(type="callable", audio="log_mel")
    options = dict(control_points=points, propagator="hold", reanchor=None)
    wrap(segmenter, backend=backend, **options).segment(clip)
    wanted = log_mel_at(clip.waveform, clip.sample_rate, [0.9375, 2.4 + 0.9375])
    torch.testing.assert_close(torch.cat(seen), wanted)


def test_splits_and_ids_choose_clips(ms3_root, tmp_path):
    assert MS3(ms3_root, "train").ids == ["d"]
    assert MS3(ms3_root, None).ids == list(MS3_CLIPS)
    path = write_ids(tmp_path / "ids.txt", ["c", "-dog"])
    assert read_ids(path) == MS3(ms3_root, "test", path).ids == ["c", "-dog"]
    with pytest.raises(DatasetError, match="1 clip ids are not in.*'d'"):
        MS3(ms3_root, "test", ["d"])
    with pytest.raises(DatasetError, match=r"split 'tset'.*test \(3\), train"):
        MS3(ms3_root, "tset")


def test_stored_log_mels_are_read_if_asked_for(ms3_root):
    sample = MS3(ms3_root, "test", log_mel="pkl")[1]
    assert torch.equal(sample.clip.log_mel, torch.ones(5, 1, 96, 64))
    assert sample.clip.waveform is not None


def test_stored_log_mels_do_without_sound(ms3_root, tmp_path):
    root = shutil.copytree(ms3_root, tmp_path / "data")
    shutil.rmtree(root / "ms3_data/audio_wav")
    clip = MS3(root, "test", log_mel="pkl")[1].clip
    assert clip.waveform is None
    assert torch.equal(clip_log_mel(clip), torch.ones(5, 1, 96, 64))


def test_too_few_stored_log_mels_are_repeated_with_a_warning(ms3_root, tmp_path):
    root = shutil.copytree(ms3_root, tmp_path / "data")
    rows = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 96, 64).contiguous()
    pickled_log_mel(root / "ms3_data/audio_log_mel/test/c.pkl", rows)
    with pytest.warns(DatasetWarning, match="c.pkl has 3 log-mel examples for 5 frames"):
        log_mel = MS3(root, "test", ["c"], log_mel="pkl")[0].clip.log_mel
    assert log_mel[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]


def test_short_sound_repeats_its_last_example_in_ms3_and_is_zero_in_avss(
    ms3_root, avss_root, tmp_path
):
    root = shutil.copytree(ms3_root, tmp_path / "ms3")
    sound(root / "ms3_data/audio_wav/test/c.wav", 3)
    log_mel = MS3(root, "test", ["c"])[0].clip.log_mel
    assert torch.equal(log_mel[2], log_mel[3])
    assert torch.equal(log_mel[2], log_mel[4])
    root = shutil.copytree(avss_root, tmp_path / "avss")
    sound(root / "v1m/c/audio.wav", 3)
    log_mel = AVSS(root, "test", ["c"])[0].clip.log_mel
    assert log_mel[2].abs().max() > 0
    assert log_mel[3:].abs().max() == 0


def test_s4_labels_the_first_frame_alone_in_training(s4_root):
    train, val = S4(s4_root, "train")[0], S4(s4_root, "val")[0]
    assert train.labelled.tolist() == [True, False, False, False, False]
    assert train.masks.flatten(1).any(1).tolist() == train.labelled.tolist()
    assert train.control_points is None
    assert (train.category, val.category) == ("cat", "dog")
    assert val.labelled.all()
    assert val.control_points.indices == [0]


def test_avss_has_5_or_10_frames_and_labels_as_its_subsets_say(avss_root):
    samples = {s.id: s for split in ("train", "val", "test") for s in AVSS(avss_root, split)}
    assert {name: s.num_frames for name, s in samples.items()} == {
        "s": 5, "s_val": 5, "m": 5, "m_b": 5, "c": 5, "two": 10
    }  # fmt: skip
    assert samples["s"].labelled.tolist() == [True, False, False, False, False]
    assert all(samples[name].labelled.all() for name in samples if name != "s")
    assert samples["m"].control_points.indices == [0, 2]
    assert samples["m"].masks.flatten(1).max(1).values.tolist() == [1, 1, 2, 2, 2]
    assert AVSS(avss_root, "test", subsets=["v2"]).ids == ["two"]


def test_avss_can_be_padded_to_ten_frames_with_flags(avss_root):
    bare, padded = AVSS(avss_root, "train")[0], AVSS(avss_root, "train", pad_to=10)[0]
    assert padded.num_frames == len(padded.clip.log_mel) == 10
    assert padded.real.tolist() == [True] * 5 + [False] * 5
    assert padded.labelled.tolist() == [True] + [False] * 9
    assert torch.equal(padded.masks[:5], bare.masks)
    assert padded.clip.frames[5:].max() == padded.clip.log_mel[5:].abs().max() == 0
    assert AVSS(avss_root, "test", ["m"], pad_to=10)[0].control_points.indices == [0, 2]


def test_coloured_and_numbered_labels_are_the_same(avss_root):
    for coloured, numbered in zip(
        AVSS(avss_root, None), AVSS(avss_root, None, labels="semantic"), strict=True
    ):
        assert torch.equal(coloured.masks, numbered.masks)


def test_every_colour_of_the_palette_is_its_class(tmp_path):
    path = tmp_path / "all.png"
    picture(path, avsbench_palette()[:71].reshape(1, 71, 3))
    assert colour_labels(path).tolist() == [list(range(71))]
    assert avsbench_palette()[: len(CLASSES)].tolist() == colour(np.arange(10)).tolist()


def test_a_colour_outside_the_palette_is_not_silently_background(tmp_path):
    path = tmp_path / "odd.png"
    picture(path, [[[128, 0, 0], [3, 2, 1]]])
    with pytest.raises(DatasetError, match=r"odd.png has 1 pixels.*\(3, 2, 1\).*'warn'"):
        colour_labels(path)
    with pytest.warns(DatasetWarning, match="background"):
        assert colour_labels(path, unknown="warn").tolist() == [[1, 0]]


def test_a_class_beyond_the_last_is_refused(tmp_path):
    picture(tmp_path / "a.png", avsbench_palette()[[[70, 71]]])
    with pytest.raises(DatasetError, match="1 pixels of a colour outside the palette"):
        colour_labels(tmp_path / "a.png", 71)
    picture(tmp_path / "b.png", [[70, 71]])
    with pytest.raises(DatasetError, match="Expected.*below 71.*values up to 71"):
        index_labels(tmp_path / "b.png", 71)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("value", [1, 255])
def test_foreground_is_what_is_not_black(tmp_path, mode, value):
    path = tmp_path / "mask.png"
    grey = Image.fromarray(mask((16, 16), value))
    if mode == "1":
        grey = Image.fromarray(mask((16, 16), 255))
    if mode == "I;16":
        Image.fromarray(mask((16, 16), value).astype(np.uint16)).save(path)
    else:
        grey.convert(mode).save(path)
    assert binary_mask(path).tolist() == mask((16, 16), 1).tolist()


def test_sizes_are_the_files_own_or_one_square(ms3_root):
    assert MS3(ms3_root, "test")[0].clip.size == (16, 24)
    sample = MS3(ms3_root, "test", size=32)[0]
    assert sample.clip.size == tuple(sample.masks.shape[1:]) == (32, 32)
    # Bilinear as PIL does it; masks take the nearest value.
    pixels = frames((16, 24), 5, 0)[0]
    want = np.array(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
    assert sample.clip.frames[0].permute(1, 2, 0).tolist() == want.tolist()
    assert set(sample.masks.unique().tolist()) == {0, 1}


def test_cropping_keeps_the_middle_at_the_short_side(avss_root):
    sample = AVSS(avss_root, "test", ["m"], size=16, resize="crop")[0]
    whole = AVSS(avss_root, "test", ["m"])[0]
    assert torch.equal(sample.masks, whole.masks[:, :, 4:20])
    assert torch.equal(sample.clip.frames, whole.clip.frames[:, :, :, 4:20])


def test_frames_and_masks_of_other_sizes_need_a_size(ms3_root, tmp_path):
    root = shutil.copytree(ms3_root, tmp_path / "data")
    for i in range(1, 6):
        picture(root / f"ms3_data/gt_masks/test/c/c_{i}.png", mask((8, 12), 255))
    with pytest.raises(DatasetError, match=r"c: masks of shape \[5, 8, 12\].*`size`"):
        MS3(root, "test", ["c"])[0]
    assert MS3(root, "test", ["c"], size=16)[0].clip.size == (16, 16)


@pytest.mark.parametrize(
    "gone",
    [
        "visual_frames/c/c.mp4_3.png",
        "gt_masks/test/c/c_5.png",
        "audio_wav/test/c.wav",
    ],
)
def test_missing_files_are_named(ms3_root, tmp_path, gone):
    root = shutil.copytree(ms3_root, tmp_path / "data")
    (root / "ms3_data" / gone).unlink()
    dataset = MS3(root, "test", ["c"])
    assert dataset.missing() == [root / "ms3_data" / gone]
    with pytest.raises(DatasetError, match=f"There is no .*{gone}.*Complete the data folder"):
        dataset[0]


def test_damaged_files_are_named(ms3_root, tmp_path):
    root = shutil.copytree(ms3_root, tmp_path / "data")
    path = root / "ms3_data/visual_frames/c/c.mp4_2.png"
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(DatasetError, match="c.mp4_2.png cannot be read as an image"):
        MS3(root, "test", ["c"])[0]
    (root / "ms3_data/audio_wav/test/b_1.wav").write_bytes(b"no sound")
    with pytest.raises(CopropError, match="b_1.wav"):
        MS3(root, "test", ["b_1"])[0]


def ms3_with_table(ms3_root, tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return MS3(ms3_root, "test", meta=path)


def test_byte_order_mark_and_windows_line_ends_are_fine(ms3_root, tmp_path):
    content = b"\xef\xbb\xbfvideo_id,split\r\nc,test\r\n\r\n-dog,test\r\n"
    assert ms3_with_table(ms3_root, tmp_path, content).ids == ["c", "-dog"]


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/absolute", "c/../../x", "..", ".", "a\\b", "C:x", "", "a\tb", "a" * 300],
)
def test_ids_that_could_leave_the_data_folder_are_refused(ms3_root, tmp_path, name):
    content = f'video_id,split\nc,test\n"{name}",test\n'.encode()
    with pytest.raises(DatasetError, match="table.csv has 1 lines.*line 3.*nothing was read"):
        ms3_with_table(ms3_root, tmp_path, content)


def test_splits_and_categories_that_could_leave_the_folder_are_refused(ms3_root, s4_root, tmp_path):
    with pytest.raises(DatasetError, match=r"line 2: '\.\./test'"):
        ms3_with_table(ms3_root, tmp_path, b"video_id,split\nc,../test\n")
    (tmp_path / "s4.csv").write_text("name,start,category,split\nx,0,../../cat,train\n")
    with pytest.raises(DatasetError, match=r"line 2: '\.\./\.\./cat'"):
        S4(s4_root, meta=tmp_path / "s4.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"video_id\nc\n", "no column 'split'; it has: video_id"),
        (b"video_id,split\n", "lists no clips: it has only a header"),
        (b"", "no column 'split'; it has: nothing"),
        (b"video_id,split\nc\n", "line 2: ''"),
        (b"\xff\xfe\x00v", "cannot be read as a table"),
    ],
)
def test_tables_that_are_none_are_refused(ms3_root, tmp_path, content, words):
    with pytest.raises(DatasetError, match=f"table.csv.*{words}"):
        ms3_with_table(ms3_root, tmp_path, content)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DatasetError, match="There is no .*ms3_meta_data.csv"):
        MS3(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(size=0), "`size` in pixels.*got 0"),
        (dict(resize="pad"), "'squash' or 'crop'"),
        (dict(log_mel="mp3"), "'wav', 'pkl' or 'none'"),
    ],
)
def test_unknown_options_are_refused(ms3_root, options, words):
    with pytest.raises(DatasetError, match=words):
        MS3(ms3_root, "test", **options)


def test_unknown_subsets_and_labels_of_avss_are_refused(avss_root, tmp_path):
    for options in (dict(subsets=["v3"]), dict(subsets="v2"), dict(labels="red")):
        with pytest.raises(DatasetError, match="Expected (`subsets`|labels=)"):
            AVSS(avss_root, **options)
    (tmp_path / "t.csv").write_text("uid,split,label\nm,test,..x\n")
    with pytest.raises(DatasetError, match=r"line 2: expected v1s.*got '\.\.x'"):
        AVSS(avss_root, "test", meta=tmp_path / "t.csv")
    with pytest.raises(DatasetError, match="no log-mel files.*'wav'"):
        AVSS(avss_root, "test", log_mel="pkl")[0]


def test_classes_must_be_numbered(avss_root, tmp_path):
    root = shutil.copytree(avss_root, tmp_path / "data")
    assert AVSS(root, None).metainfo["classes"][:3] == ("background", "bird", "dog")
    for content, words in (('{"a": 0, "b": 2}', "0, 1, 2"), ("[", "JSON")):
        (root / "label2idx.json").write_text(content)
        with pytest.raises(DatasetError, match=words):
            AVSS(root, None)


def test_class_labels_of_ms3_are_those_of_avss_with_the_same_id_or_video(ms3_root, avss_root):
    dataset = MS3(ms3_root, "test", avss_root=avss_root)
    first, second = dataset[0], dataset[1]
    # "-dog" goes from bird to dog, which masks of one colour do not show.
    assert MS3(ms3_root, "test")[0].control_points.indices == [0]
    assert first.control_points.indices == [0, 2]
    assert first.categories == ("bird", "dog")
    assert first.num_classes == 1
    assert set(first.masks.unique().tolist()) == {0, 1}
    assert first.labels.flatten(1).max(1).values.tolist() == [1, 1, 2, 2, 2]
    assert second.categories == ("girl",)
    assert dataset.truth(1).sounding == [(), ("girl",), ("girl",), (), ()]
    with pytest.raises(DatasetError, match="'d' has no single twin.*leave its labels out"):
        MS3(ms3_root, "train", avss_root=avss_root)[0]


def test_class_labels_of_s4_are_those_of_v1s(s4_root, tmp_path):
    clips = {"x": ("x", "v1s", "train", [9]), "y": ("y", "v1s", "val", [2, 2, 0, 2, 2])}
    avss = make_avss(tmp_path / "AVSS", clips)
    train, val = (S4(s4_root, split, avss_root=avss)[0] for split in ("train", "val"))
    assert (train.categories, train.control_points) == (("cat",), None)
    assert (val.categories, val.control_points.indices) == (("dog",), [0, 2, 3])
    assert S4(s4_root, "train")[0].categories == ("cat",)  # the table's own


def test_of_several_clips_of_a_video_the_labels_that_cover_the_masks_count(tmp_path):
    """Halves of ten seconds: masks say which frames of the longer clip they are."""
    clips = {"a_1": ("test", "11011"), "a_2": ("test", "01001"), "a_3": ("test", "00000")}
    ms3 = make_ms3(tmp_path / "ms3", clips)
    classes = [1, 1, 0, 2, 2, 0, 3, 0, 0, 4]
    avss = make_avss(tmp_path / "avss", {"ten": ("a", "v2", "test", classes)})
    for i, label in enumerate(classes):  # where the masks of MS3 are
        picture(avss / f"v2/ten/labels_rgb/{i}.png", colour(mask((16, 24), label)))
    dataset = MS3(ms3, "test", avss_root=avss)
    found = [dataset[i].labels.flatten(1).max(1).values.tolist() for i in range(2)]
    assert found == [classes[:5], classes[5:]]
    with pytest.raises(DatasetError, match="'a_3' has no single twin"):
        dataset[2]  # no pixel of it says which frames they are


def test_labels_are_resized_to_the_masks(ms3_root, avss_root, tmp_path):
    root = shutil.copytree(avss_root, tmp_path / "avss")
    for i, label in enumerate([1, 1, 2, 2, 2]):
        big = mask((32, 48), 0)
        big[:16, :16] = label
        picture(root / f"v1m/m/labels_rgb/{i}.png", colour(big))
    labels = MS3(ms3_root, "test", ["-dog"], avss_root=root)[0].labels
    assert torch.equal(labels > 0, MS3(ms3_root, "test", ["-dog"])[0].masks > 0)


def test_changing_clips_have_several_objects_by_the_classes_of_avss(ms3_root, avss_root):
    assert select_changing(MS3(ms3_root, "test")) == ["b_1"]
    # In "b_1" one girl begins and ends.
    assert select_changing(MS3(ms3_root, "test", ["-dog", "b_1"], avss_root=avss_root)) == ["-dog"]


def test_table_3_counts_categories_and_changes(ms3_root, avss_root):
    dataset = MS3(ms3_root, "test", ["-dog", "b_1"], avss_root=avss_root)
    found = Statistics.of(dataset)
    assert (found.videos, found.categories, found.changing) == (2, 1.5, ("-dog",))
    assert found.sounding["-dog"] == [("bird",), ("bird",), ("dog",), ("dog",), ("dog",)]
    assert str(found) == "2 videos, 1.500 categories per video, 50.00 % change"
    assert Statistics.of(MS3(ms3_root, "test")).categories is None


def test_moc_is_what_changes_in_ms3(ms3_root, avss_root, tmp_path):
    with pytest.warns(DatasetWarning, match="1 clips .* own masks, the paper has 17. Chosen: b_1"):
        assert MOC(ms3_root).ids == ["b_1"]
    (tmp_path / "two.csv").write_text("video_id,split\n-dog,test\nb_1,test\n")
    with pytest.warns(DatasetWarning, match="AVSS's labels.*Chosen: -dog"):
        chosen = MOC(ms3_root, meta=tmp_path / "two.csv", avss_root=avss_root)
    assert chosen.ids == ["-dog"]
    ids = write_ids(tmp_path / "moc.txt", ["-dog"])
    assert MOC(ms3_root, ids=ids).ids == ["-dog"]
    (tmp_path / "still.csv").write_text("video_id,split\nc,test\n")
    with pytest.raises(DatasetError, match="no change in any of the.*avss_root"):
        MOC(ms3_root, meta=tmp_path / "still.csv")


def test_keyframes_are_the_first_frames_of_segments(ms3_root, s4_root):
    keyframes = keyframes_of(MS3(ms3_root, "test"))
    assert keyframes.frames == ((0, 0), (1, 0), (1, 1), (1, 3), (2, 0))
    sample, whole = keyframes[2], MS3(ms3_root, "test")[1]
    assert sample.num_frames == 1
    assert torch.equal(sample.masks[0], whole.masks[1])
    assert torch.equal(sample.clip.log_mel[0], whole.clip.log_mel[1])
    assert sample.clip.times.tolist() == [whole.clip.times[1].item()]
    assert torch.equal(sample.clip.waveform, whole.clip.waveform)
    # Only frame 0 of S4's training clips has a mask to learn from.
    assert keyframes_of(S4(s4_root, "train")).frames == ((0, 0),)


def test_keyframes_may_come_from_a_provider(ms3_root):
    config = dict(type="MS3", root=str(ms3_root), split="train")
    keyframes = DATASETS.build(
        dict(type="coprop_plugin.Keyframes", dataset=config, provider=dict(type="every_n", n=2))
    )
    assert keyframes.frames == ((0, 0), (0, 2), (0, 4))
    assert keyframes.metainfo["num_classes"] == 1


def test_true_keyframes_are_those_of_the_class_labels(ms3_root, avss_root):
    dataset = dict(type="MS3", root=str(ms3_root), split="test", ids=["-dog", "b_1"])
    for labels, wanted in ((None, ((0, 0),)), (str(avss_root), ((0, 0), (0, 2)))):
        config = dict(type="Keyframes", dataset=dataset | dict(avss_root=labels), provider="oracle")
        found = DATASETS.build(config)
        assert found.frames[: len(wanted)] == wanted
        assert found.frames[len(wanted) :] == ((1, 0), (1, 1), (1, 3))


def test_keyframes_may_come_from_a_file_of_control_points(ms3_root, tmp_path):
    points = {"clips": {"d": {"flags": [1, 0, 0, 1, 0]}}}
    (tmp_path / "points.json").write_text(json.dumps(points))
    dataset = dict(type="MS3", root=str(ms3_root), split="train")
    config = dict(type="Keyframes", dataset=dataset, provider=str(tmp_path / "points.json"))
    assert DATASETS.build(config).frames == ((0, 0), (0, 3))
    with pytest.raises(DatasetError, match=r"no file .*gone.json.*coprop anchor.*'oracle'"):
        DATASETS.build(config | dict(provider=str(tmp_path / "gone.json")))


def test_segments_tell_absent_objects_from_those_of_their_first_frame(ms3_root, avss_root):
    dataset = MS3(ms3_root, "test", ["-dog", "b_1"], avss_root=avss_root)
    # b_1 sounds in frames 1 and 2; single frames and silence are left out.
    assert segments_of(dataset).parts == ((0, range(0, 2)), (0, range(2, 5)), (1, range(1, 3)))
    found = segments_of(dataset, EveryNProvider(5))
    assert found.parts == ((0, range(0, 5)),)
    assert found[0].masks.flatten(1).max(1).values.tolist() == [1, 1, 2, 2, 2]
    assert segments_of(MS3(ms3_root, "test", ["-dog"]))[0].masks.max() == 1


def test_a_clip_with_one_labelled_frame_is_one_segment(s4_root):
    assert segments_of(S4(s4_root, "train")).parts == ((0, range(5)),)
    with pytest.raises(DatasetError, match="No part of the 1 clips"):
        segments_of(S4(s4_root, "train"), min_frames=6)


def test_data_sets_are_built_from_configs_and_batched_by_workers(ms3_root):
    for name, root in (("MS3", ms3_root), ("coprop_plugin.AVSBenchMS3", ms3_root)):
        dataset = DATASETS.build(dict(type=name, root=str(root), split="test", size=16))
    loader = torch.utils.data.DataLoader(dataset, 2, num_workers=1, collate_fn=list)
    assert [[s.id for s in batch] for batch in loader] == [["-dog", "b_1"], ["c"]]


def test_control_points_of_a_sample_are_those_of_its_masks(avss_root):
    for sample in AVSS(avss_root, "test"):
        assert sample.control_points == from_masks(sample.masks)
        assert sample.control_points.log == from_masks(sample.masks).log


def test_a_stretch_of_a_sample_begins_a_segment(ms3_root):
    sample = MS3(ms3_root, "test", ["b_1"])[0].at(range(2, 5))
    assert sample.control_points.indices == [0, 1]
    assert isinstance(sample.clip, Clip)
    assert sample.masks.shape == (3, 16, 24)


MEDIA = Path(os.environ.get("COPROP_SHARED", "shared")) / "media"


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the made-up AVSBench folders are not here")
def test_real_recordings_in_the_real_layouts():
    root = MEDIA / "Multi-sources"
    clips = [MS3(root, "test", log_mel=kind) for kind in ("wav", "pkl")]
    for computed, stored in zip(*clips, strict=True):
        torch.testing.assert_close(computed.clip.log_mel, stored.clip.log_mel, atol=1e-4, rtol=0)
    dataset = AVSS(MEDIA / "AVSS", None, ["s00_v1m", "s03_v1m"])
    numbered = AVSS(MEDIA / "AVSS", None, ["s00_v1m", "s03_v1m"], labels="semantic")
    for coloured, want in zip(dataset, numbered, strict=True):
        assert torch.equal(coloured.masks, want.masks)
    # In s03 one woman begins and ends.
    assert select_changing(dataset) == ["s00_v1m"]


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the made-up AVSBench folders are not here")
def test_a_store_of_real_recordings_has_the_changes_of_their_manifest(tmp_path):
    made = index_into(
        tmp_path / "store.jsonl", str(MEDIA / "Multi-sources"), None, labels=MEDIA / "AVSS"
    )
    clips = {
        clip["id"]: clip for clip in json.loads((MEDIA / "manifest.json").read_text())["clips"]
    }
    assert made.failed == {}
    assert len(made.store) == 10
    for example in made.store:
        name, _, half = example.id.partition("_")
        seconds = slice(0, 5) if half == "a" else slice(5, 10)
        sounding = clips[name]["sounding_1fps"][seconds]
        flags = [1, *clips[name]["control_points_1fps"][seconds][1:]]
        classes = {each["name"]: each["cls"] for each in clips[name]["objects"]}
        assert example.control_points == tuple(flags)
        assert set(example.categories) == {classes[one] for names in sounding for one in names}


def _changed_ms3(ms3_root, tmp_path, lines=None):
    """Return a copy of a data set, with another table."""
    root = shutil.copytree(ms3_root, tmp_path / "root")
    if lines:
        (root / "ms3_meta_data.csv").write_text("\n".join(lines))
    return root


def test_grey_frames_of_16_bits_keep_their_shades(ms3_root, tmp_path):
    root = _changed_ms3(ms3_root, tmp_path)
    data = MS3(root, "train")
    shades = np.linspace(0, 65535, 16 * 24).reshape(16, 24).round().astype(np.uint16)
    for path in (root / "ms3_data" / "visual_frames" / data.ids[0]).iterdir():
        Image.fromarray(shades).save(path)
    (frame, *_) = data[0].clip.frames
    expected = torch.from_numpy(shades.astype(np.float32) / 65535).expand(3, 16, 24)
    torch.testing.assert_close(frame.float() / 255, expected, rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_column_of_the_clips_is_found_by_its_name(ms3_root, tmp_path):
    first = MS3(ms3_root, "train").ids[0]
    root = _changed_ms3(ms3_root, tmp_path, ["split,video_id", f"train,{first}"])
    assert MS3(root, "train").ids == [first]
    root = _changed_ms3(ms3_root, tmp_path / "other", ["clip,split", f"{first},train"])
    assert MS3(root, "train").ids == [first]


def test_a_clip_that_is_listed_twice_counts_once(ms3_root, tmp_path):
    ids = MS3(ms3_root, "train").ids
    lines = ["video_id,split", *(f"{name},train" for name in (*ids, ids[0]))]
    root = _changed_ms3(ms3_root, tmp_path, lines)
    with pytest.warns(DatasetWarning, match=f"lists 1 clips twice, in lines {len(lines)}"):
        data = MS3(root, "train")
    assert data.ids == ids


def test_frames_of_another_kind_are_named(ms3_root, tmp_path):
    root = _changed_ms3(ms3_root, tmp_path)
    data = MS3(root, "train")
    (frame, *_) = sorted((root / "ms3_data" / "visual_frames" / data.ids[0]).iterdir())
    frame.rename(frame.with_suffix(".jpg"))
    with pytest.raises(DatasetError, match=rf"no .*png, but {frame.stem}.jpg. Expected .png files"):
        data[0]
