"""The photographic world, on a few assets that are drawn here."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from make_assets import write_assets, write_disc, write_tone
from processes import start_script
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS, build
from coprop_plugin.world import (
    Assets,
    PhotographicClips,
    PhotographicFrames,
    PhotographicScene,
    TruthBackend,
)
from coprop_plugin.world.photographic_assets import (
    read_background,
    read_cut_out,
    read_sound,
    split_of,
    without_pauses,
)
from coprop_plugin.world.photographic_motion import Motion, Stops

SIZE = (48, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module")
def assets(folder):
    return Assets.from_folder(folder, "train")


def scenes(assets, count=8, off_screen=0.2):
    return [PhotographicScene.drawn(assets, n, 4.0, SIZE, off_screen) for n in range(count)]


def test_kinds_are_the_folders_of_all_splits_in_order(assets):
    assert assets.kinds == ("bell", "cat", "mute")
    assert {assets.class_id(c) for c in assets.cut_outs} == {1, 2, 3}
    assert len(assets.cut_outs) == 6
    assert assets.sounds["mute"] == ()


def test_a_cut_outs_own_sound_goes_before_that_of_its_kind(folder):
    write_tone(folder / "val" / "cutouts" / "cat" / "one.wav", 700)
    cats = [c for c in Assets.from_folder(folder, "val").cut_outs if c.kind == "cat"]
    assert [[s.name for s in c.sounds] for c in cats] == [["one.wav"], []]
    found = Assets.from_folder(folder, "val")
    assert [s.name for s in found.sounds_of(cats[0])] == ["one.wav"]
    assert {s.name for s in found.sounds_of(cats[1])} == {"tone.wav", "one.wav"}


def test_without_split_folders_names_decide_and_no_item_is_in_two_splits(folder, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        name = f"{chr(97 + number % 26)}{chr(97 + number // 26)}thing"
        write_disc(tmp_path / "cutouts" / "disc" / f"{name}.png", 100, rng)
        write_disc(tmp_path / "backgrounds" / f"{name}.png", 100, rng)
    parts = [Assets.from_folder(tmp_path, split) for split in ("train", "val", "test")]
    names = [{c.path.name for c in part.cut_outs} for part in parts]
    assert sum(map(len, names)) == 40
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert len(names[0]) > len(names[2])
    assert split_of("sheep") == split_of("sheep_lamb") == split_of("Sheep-2")


@pytest.mark.parametrize("missing", ["cutouts", "backgrounds"])
def test_a_folder_without_pictures_is_refused(tmp_path, missing):
    write_disc(tmp_path / "train" / "cutouts" / "disc" / "a.png", 99, np.random.default_rng(0))
    write_disc(tmp_path / "train" / "backgrounds" / "a.png", 99, np.random.default_rng(0))
    for file in (tmp_path / "train" / missing).rglob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match="cutouts/KIND/NAME.png"):
        Assets.from_folder(tmp_path, "train")
    with pytest.raises(DatasetError, match="one of train, val, test"):
        Assets.from_folder(tmp_path, "dev")


def test_a_picture_without_alpha_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DatasetError, match="alpha channel.*RGBA PNG"):
        read_cut_out(tmp_path / "a.png")


def test_a_damaged_or_huge_picture_is_refused(tmp_path, monkeypatch):
    write_disc(tmp_path / "a.png", 99, np.random.default_rng(0))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    for read in (read_cut_out, read_background):
        with pytest.raises(DatasetError, match="cannot be read as a picture.*Remove it"):
            read(tmp_path / "b.png")
    monkeypatch.setenv("COPROP_MAX_PIXELS", "1000")
    with pytest.raises(DatasetError, match="a.png: 1,600 pixels per image exceeds the limit"):
        read_cut_out(tmp_path / "a.png")


def test_an_object_that_fills_its_cut_out_needs_no_transparent_pixel(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((9, 9, 4), 255, np.uint8))
    assert (read_cut_out(tmp_path / "a.png") == 255).all()


def test_a_silent_sound_is_refused(tmp_path):
    write_tone(tmp_path / "a.wav", 0)
    with pytest.raises(DatasetError, match="a.wav is silent"):
        read_sound(tmp_path / "a.wav")


def test_the_same_seed_gives_the_same_scene_and_another_one_another(assets):
    one, same, other = (PhotographicScene.drawn(assets, s, 4.0, SIZE) for s in (5, 5, 6))
    assert torch.equal(one.frames([0.5, 2.0]), same.frames([0.5, 2.0]))
    assert torch.equal(one.waveform(), same.waveform())
    assert not torch.equal(one.frames([0.5]), other.frames([0.5]))


def test_masks_are_exact_where_a_thing_is_in_front(assets):
    for scene in scenes(assets):
        owner = torch.from_numpy(scene.owners(1.0))
        everything = frozenset(range(len(scene.objects)))
        assert torch.equal(scene.mask(1.0, everything, "instance"), owner.long())
        classes = scene.mask(1.0, everything, "class")
        for number, thing in enumerate(scene.objects, start=1):
            assert (classes[owner == number] == thing.class_id).all()


def test_a_mask_is_where_the_picture_changes_when_the_object_goes(assets):
    scene = next(s for s in scenes(assets, 30) if len(set(np.unique(s.owners(1.0)))) > 1)
    plain = replace(scene.camera, grain=0.0, jpeg=0, blur=0.0, exposure_s=0.0, shadow=0.0)
    layers = [replace(o, layer=replace(o.layer, blur=0.0), shown=o.shown) for o in scene.objects]
    scene = replace(scene, camera=replace(plain, resolution=1.0), objects=tuple(layers))
    number = int(np.unique(scene.owners(1.0))[-1])
    without = replace(
        scene,
        objects=tuple(replace(o, shown=o.shown and n != number) for n, o in enumerate(layers, 1)),
    )
    changed = (scene.frames([1.0]) != without.frames([1.0])).any(1)[0]
    mask = torch.from_numpy(scene.owners(1.0) == number)
    assert (changed & mask).sum() > 0.9 * mask.sum()
    grown = torch.nn.functional.max_pool2d(mask[None].float(), 5, 1, 2)[0].bool()
    assert not (changed & ~grown).any()


def test_what_is_not_shown_sounds_but_has_no_pixels(assets):
    found = scenes(assets, 60, off_screen=1.0)
    scene = next(s for s in found if not all(o.shown for o in s.objects))
    number = next(n for n, o in enumerate(scene.objects, 1) if not o.shown)
    assert scene.objects[number - 1].events
    assert not any((scene.owners(t) == number).any() for t in (0.0, 1.0, 2.0, 3.0))


def test_only_what_has_a_sound_ever_sounds(assets):
    for scene in scenes(assets, 12):
        for thing in scene.objects:
            assert bool(thing.events) == (thing.sound is not None)
            assert not (thing.events and scene.kinds[thing.kind] == "mute")


def test_sound_is_where_the_events_are(assets):
    scene = next(s for s in scenes(assets, 30) if any(o.events for o in s.objects))
    quiet = replace(scene, noise=0.0).waveform()
    loud = torch.zeros(len(quiet), dtype=torch.bool)
    for thing in scene.objects:
        for start_s, end_s in thing.events:
            loud[round(start_s * 16_000) : round(end_s * 16_000)] = True
    assert quiet[loud].abs().max() > 0.05
    assert not quiet[~loud].any()


def test_control_points_are_where_the_truth_changes(assets):
    for scene in scenes(assets, 4):
        clip = scene.clip(fps=4)
        sets = [scene.prevailing(*span) for span in clip.spans.tolist()]
        changes = [t for t in range(len(sets)) if t == 0 or sets[t] != sets[t - 1]]
        assert list(scene.control_points(clip).indices) == changes


def test_the_truth_as_a_backend_has_the_classes_of_the_assets(assets):
    scene = next(s for s in scenes(assets, 30) if s.masks([1.0]).any())
    clip = scene.clip(fps=1)
    logits = TruthBackend(scene, semantic=True).segment_keyframes(clip, [0, 1])
    assert logits.shape == (2, 4, *SIZE)
    assert torch.equal(logits.argmax(1), scene.truth(clip)[:2])


def test_photographs_without_pasted_things_come_with_the_frames(assets, folder, tmp_path):
    options = dict(length=2, size=SIZE, duration_s=2.0)
    assert "photo" not in PhotographicFrames(assets, **options)[0]
    for photos in (True, folder / "train" / "backgrounds"):
        data = PhotographicFrames(assets, photos=photos, **options)
        photo = data[1]["photo"]
        assert photo.shape == (3, *SIZE)
        assert photo.dtype == torch.uint8
        assert torch.equal(photo, data[1]["photo"])
        assert not torch.equal(photo, data[0]["photo"])
    with pytest.raises(DatasetError, match=r"Expected photographs in .*got none"):
        PhotographicFrames(assets, photos=tmp_path, **options)


def test_data_sets_are_built_by_name_from_a_folder(folder):
    options = dict(length=2, size=SIZE, duration_s=2.0)
    for name in ("PhotographicClips", "PhotographicFrames"):
        config = dict(type=name, assets=str(folder), split="val", **options)
        data = build(DATASETS, config, verb="__getitem__")
        assert data.assets.cut_outs[0].path.is_relative_to(folder / "val")
        assert len(data) == 2


def test_providers_are_compared_on_photographic_scenes(folder):
    arguments = ("--only", "-p", "every_n", "--json", "-q", "--frames", 4)
    done = run("anchor", "compare", "--world", 2, "--assets", folder, *arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["provider"] == "every_n"


def test_models_of_any_classes_are_scored_on_photographic_scenes(folder, tmp_path):
    tiny = ("--world", 1, "--frames", 2, "--size", "32x48", "--quiet", "-o", tmp_path)
    done = run("bench", *tiny, "--assets", folder, "--rows", "bare,oracle+hold+truth")
    assert done.exit_code == 0, done.output
    settings = json.loads((tmp_path / "report.json").read_text())["about"]["settings"]
    assert settings["assets"] == str(folder.resolve())
    assert settings["data"] == "photographic world, test"


def test_assets_without_the_world_are_refused(folder):
    for command in (("bench",), ("anchor", "compare")):
        done = run(*command, folder, "--assets", folder)
        assert done.exit_code == 2
        assert "--assets needs --world" in done.stderr


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_clips_and_frames_are_as_those_of_the_made_up_world(assets):
    clip = PhotographicClips(assets, length=3, size=SIZE, num_frames=3, duration_s=4.0)[1]
    assert clip["frames"].shape == (3, 3, *SIZE)
    assert clip["frames"].dtype == torch.uint8
    assert clip["log_mel"].shape == (3, 1, 96, 64)
    assert ((clip["masks"] == clip["tracks"]) | (clip["masks"] == 0)).all()
    frames = PhotographicFrames(assets, length=4, size=SIZE, duration_s=4.0)
    item = frames[2]
    assert frames.num_classes == 4
    assert item["classes"].shape == (4,)
    assert set(item["mask"].unique().tolist()) <= {0, 1, 2}


def test_assets_are_collected_from_unpacked_packages(tmp_path):
    root = Path(__file__).resolve().parent.parent
    stamps, rng = tmp_path / "packages/a/usr/share/tuxpaint/stamps", np.random.default_rng(0)
    for name in ("birds/parrot", "birds/parrot_mirror", "mammals/dogs/cartoon/pug", "birds/crow"):
        write_disc(stamps / "animals" / f"{name}.png", 99, rng)
    write_tone(stamps / "animals" / "birds" / "parrot.wav", 500)
    write_tone(stamps / "animals" / "birds" / "crow.wav", 0)
    script = root / "examples" / "data" / "photographic_assets.py"
    done = start_script(tmp_path, script, tmp_path / "packages", tmp_path / "assets").wait()
    assert done.returncode == 0, done.stderr
    files = [p.relative_to(tmp_path / "assets") for p in (tmp_path / "assets").rglob("*.*")]
    assert {Path(*path.parts[1:]).as_posix() for path in files} == {
        "cutouts/bird/parrot.png",
        "cutouts/bird/parrot.wav",
        "cutouts/bird/crow.png",
    }
    assert all(path.parts[0] == split_of(path.stem) for path in files)


def test_things_stop_at_places_and_leave_the_picture_if_they_may():
    rng = np.random.default_rng(0)
    stops = [Stops.drawn(rng, 10.0, 0.2, leaves, 1.0) for leaves in (False, True) * 20]
    stay = np.concatenate([s.places for s in stops[::2]])
    assert ((stay > 0) & (stay < 1)).all()
    assert any((abs(s.places - 0.5) > 0.5).any() for s in stops[1::2])
    assert np.allclose(stops[0].at(99.0), stops[0].places[-1], atol=1e-9)


def test_a_rigid_thing_keeps_its_form():
    motion = Motion.drawn(np.random.default_rng(0), 4.0, 0.2, pace=1.0, leaves=False, deforms=0.0)
    v, u = np.mgrid[-1:1:9j, -1:1:9j].astype(np.float32)
    bent_u, bent_v = motion.undeformed(u, v, 1.3)
    assert np.allclose(bent_u, u, atol=1e-6)
    assert np.allclose(bent_v, v, atol=1e-6)


def test_pauses_are_shortened_and_what_comes_before_the_sound_is_cut():
    beep, pause = np.ones(3200, np.float32), np.zeros(16_000, np.float32)
    kept = without_pauses(np.concatenate([pause, beep, pause, beep]))
    assert 6400 <= len(kept) <= 6400 + 2 * 0.2 * 16_000
