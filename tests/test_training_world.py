"""The made-up world as data to learn from: the same for the same seed, true, and never shared."""

import numpy as np
import pytest
import torch

from coprop_plugin.audio.log_mel import SILENCE
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS
from coprop_plugin.world import (
    SPLITS,
    InterleavedDataset,
    SpriteClips,
    WorldClips,
    WorldFrames,
    made_up_scene,
    segments_of,
    sprite_clip,
)

SIZE = (32, 48)


@pytest.mark.parametrize("name", ["WorldFrames", "WorldClips", "WorldSeconds", "SpriteClips"])
def test_items_depend_on_split_seed_and_index_alone(name):
    build = DATASETS.get(f"coprop_plugin.{name}")
    data, again = (build("train", length=40, size=SIZE, seed=3) for _ in range(2))
    again[30]  # What was read before must not matter.
    for item, same in zip(data[9].values(), again[9].values(), strict=True):
        assert item == same if isinstance(item, str) else torch.equal(item, same)
    key = "frame" if name == "WorldFrames" else "frames"
    assert not torch.equal(data[9][key], build("train", length=40, size=SIZE, seed=4)[9][key])
    assert not torch.equal(data[9][key], data[10][key])
    held_out = [build("test", length=4, size=SIZE, seed=s)[2][key] for s in (0, 5)]
    assert torch.equal(*held_out)


def test_splits_share_no_scene():
    val, test, train = (SPLITS[name] for name in ("val", "test", "train"))
    assert val[0] < val[-1] < test[0] < test[-1] < train[0]
    assert WorldClips("val", length=3, seed=7).scene_seed(2) in val
    assert WorldClips("train", length=3, seed=7).scene_seed(2) in train


def test_keyframes_listen_within_their_segment():
    data = WorldFrames("train", length=4)
    scene = made_up_scene(17, SIZE)
    for seed in range(50):
        time_s, heard_at_s, sounding = data._keyframe(scene, np.random.default_rng(seed))
        start, end = next((a, b) for a, b in segments_of(scene) if a <= time_s < b)
        assert start <= time_s <= heard_at_s <= min(end, start + 1.04) or heard_at_s == time_s
        assert sounding == scene.sounding(time_s)


def test_other_frames_are_taken_as_avsbench_takes_them():
    data, scene = WorldFrames("train", length=4), made_up_scene(17, SIZE)
    sets = set()
    for seed in range(50):
        time_s, heard_at_s, sounding = data._second(scene, np.random.default_rng(seed))
        begin_s = time_s - 15 / 16
        assert heard_at_s == time_s
        assert 0 <= begin_s <= scene.duration_s - 1
        shares = [
            sum(n in scene.sounding(begin_s + (k + 0.5) / 100) for k in range(100))
            for n in range(len(scene.objects))
        ]
        assert all(
            (share > 52) <= (n in sounding) <= (share > 48) for n, share in enumerate(shares)
        )
        sets.add(sounding)
    assert len(sets) > 1


def test_segments_are_half_open_and_of_one_set_of_sounds():
    scene = made_up_scene(17, SIZE)
    for start, end in segments_of(scene):
        times = np.linspace(start, end - 1e-6, 7)
        assert len({scene.sounding(float(t)) for t in times}) == 1


def test_a_silenced_frame_has_an_empty_mask():
    item = WorldFrames("train", length=4, size=SIZE, silenced=1.0)[1]
    assert bool((item["log_mel"] == SILENCE).all())
    assert not item["mask"].any()
    assert not item["classes"].any()


def test_classes_are_those_of_the_mask():
    data = WorldFrames("val", length=8, size=SIZE)
    for i in range(8):
        found = set(data[i]["mask"].unique().tolist()) - {0}
        assert set(data[i]["classes"].nonzero().flatten().tolist()) == found


def test_clips_follow_what_sounds_at_first():
    data = WorldClips("train", length=20, size=SIZE, num_frames=6, silence_prob=0.0)
    for i in range(6):
        masks = data[i]["masks"]
        first = masks[0].unique().tolist()
        assert first == list(range(len(first)))
        assert masks.max() <= max(first)
    silenced = WorldClips("train", length=20, size=SIZE, num_frames=6, silence_prob=1.0)[0]
    silent = (silenced["log_mel"] == SILENCE).flatten(1).all(1)
    assert silent[-1]
    assert not silenced["masks"][silent].any()
    assert silenced["masks"][0].any()


def test_clips_end_with_their_segment_unless_they_may_cross():
    for crossing in (0.0, 1.0):
        data = WorldClips("train", length=40, size=SIZE, num_frames=5, crossing=crossing)
        sets = []
        for i in range(30):
            scene, _, rng = data._drawn(i)
            times = data._times(scene, rng)
            assert (times.diff() > 0).all()
            assert times[-1] < scene.duration_s
            sets.append(len({scene.sounding(float(t)) for t in times}))
        assert (max(sets) > 1) == bool(crossing)


def test_some_sounds_come_from_outside_the_picture():
    scenes = [made_up_scene(s, SIZE, off_screen=1.0) for s in range(3)]
    for scene in scenes:
        *_, stranger = scene.objects
        times = [(a + b) / 2 for a, b in stranger.events]
        assert len(scene.objects) not in scene.masks(times, "instance").unique().tolist()
        assert len(scene.objects) - 1 in scene.sounding(times[0])


def test_sprites_are_numbered_and_hide_one_another():
    frames, masks = sprite_clip(np.random.default_rng(0), 4, SIZE)
    assert frames.shape == (4, 3, *SIZE)
    assert frames.dtype == masks.dtype == np.uint8
    found = np.unique(masks[0])
    assert found.tolist() == list(range(len(found)))
    assert not np.array_equal(masks[0], masks[3])
    assert SpriteClips("val", length=2, size=SIZE)[1]["masks"].dtype == torch.int64


def test_invalid_options_are_refused():
    with pytest.raises(DatasetError, match="one of train, val, test"):
        WorldFrames("dev")
    with pytest.raises(DatasetError, match="from 1 to 4000 for val"):
        WorldFrames("val", length=4001)
    with pytest.raises(DatasetError, match=r"e.g. \(0\.1, 1\.0\)"):
        WorldClips("val", num_frames=1)
    with pytest.raises(IndexError, match="an index below 4"):
        WorldFrames("val", length=4)[4]


def test_some_scenes_are_steady():
    scenes = [made_up_scene(seed, SIZE) for seed in SPLITS["test"][:60]]
    steady = [scene for scene in scenes if len(segments_of(scene)) == 1]
    assert 3 <= len(steady) <= 16
    assert all(scene.sounding(0.0) == scene.sounding(9.9) != frozenset() for scene in steady)


def test_things_of_any_shape_fall_silent_with_their_sound():
    options = dict(length=4, size=SIZE, num_frames=6, gap_s=(0.5, 0.5))
    steady = SpriteClips("val", **options, silence_prob=0.0, swapped=0.0)[2]
    assert torch.equal(steady["masks"], steady["tracks"])
    silenced = SpriteClips("val", **options, silence_prob=1.0)[2]
    swapped = SpriteClips("val", **options, silence_prob=0.0, swapped=1.0)[2]
    for item in (silenced, swapped):
        sounds = item["masks"].flatten(1).any(1)
        first = int(sounds.int().argmin())
        assert 0 < first < 6
        assert not sounds[first:].any()
        assert torch.equal(item["tracks"], steady["tracks"])
        assert torch.equal(item["masks"][:first], item["tracks"][:first])
    assert silenced["log_mel"][-1].mean() < swapped["log_mel"][-1].mean()


def test_data_sets_take_turns():
    part = dict(type="SpriteClips", length=4, size=SIZE, num_frames=2)
    mixed = InterleavedDataset([part, dict(part, type="WorldClips", split="val")])
    assert len(mixed) == 8
    assert mixed[4].keys() == mixed[5].keys()
    assert torch.equal(mixed[4]["frames"], InterleavedDataset([part])[2]["frames"])
    with pytest.raises(DatasetError, match="no data sets"):
        InterleavedDataset([])
