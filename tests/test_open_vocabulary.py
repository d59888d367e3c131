"""`open_vocabulary`: what sounds, by name, and where it is; the glue loses nothing."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import make_media
import pytest
import torch
from make_listening import NAMES, PerfectEar, PerfectSam3, ScriptedEar, ScriptedEye

from coprop_plugin import report, wrap
from coprop_plugin.batch import load_backend, make_model
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.plug_and_play import plug_and_play
from coprop_plugin.control_points import as_provider
from coprop_plugin.control_points.listening.listener import Listener
from coprop_plugin.control_points.listening.visible_words import VISIBLE, columns_of, words_of
from coprop_plugin.errors import ArgumentError, ControlPointError, KeyframeError
from coprop_plugin.media import read_mask
from coprop_plugin.open_vocabulary import OpenVocabulary, sounding_instances
from coprop_plugin.pipeline import redo
from coprop_plugin.registry import list_backends
from coprop_plugin.report import write_report
from coprop_plugin.types import Clip, ControlPoints, Sounds, jaccard
from coprop_plugin.world import Scene, TruthBackend

SR = 16_000


def clip_of(num_frames=8, fps=2.0, size=(24, 32)):
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(num_frames, 3, *size, generator=generator)
    waveform = 0.2 * torch.randn(int(num_frames / fps * SR), generator=generator)
    return Clip(frames, waveform, SR, torch.arange(num_frames, dtype=torch.float64) / fps)


DOG, CAT = (2, 2, 10, 20), (16, 4, 28, 16)


def scripted(ear=None, eye=None, **options):
    ear = ear or ScriptedEar(dog=[0.9] * 4 + [0.0] * 4, cat=[0.0] * 2 + [0.8] * 6)
    eye = eye or ScriptedEye(dog=[DOG], cat=[CAT])
    return OpenVocabulary(Listener(ear), eye, **options), ear, eye


def segmented(backend, clip=None, **options):
    model = wrap(backend, propagator="hold", reanchor=None, **options)
    return model.segment(clip_of() if clip is None else clip)


def test_the_classes_of_a_clip_are_the_words_heard_in_it():
    backend, ear, eye = scripted()
    result = segmented(backend)
    assert result.control_points.indices == [0, 2, 4]
    assert result.control_points.source == "listener"
    assert dict(result.control_points.sounds.named) == {
        0: ("dog",), 2: ("dog", "cat"), 4: ("cat",)
    }  # fmt: skip
    assert result.frame_results[0].class_names == ("background", "dog", "cat")
    shown = [mask.unique().tolist() for mask in result.masks]
    assert shown == [[0, 1]] * 2 + [[0, 1, 2]] * 2 + [[0, 2]] * 4
    assert bool((result.masks[0, 2:20, 2:10] == 1).all())
    assert int((result.masks[0] > 0).sum()) == 8 * 18
    # One pass over the sound, and only what sounds is looked for.
    assert ear.calls == 1
    assert eye.calls == [("dog",), ("dog", "cat"), ("cat",)]


def test_control_points_of_another_provider_are_named_by_the_same_listener():
    backend, ear, _ = scripted()
    model = wrap(backend, control_points=[1, 0, 0, 0, 1, 0, 0, 0], propagator="hold", reanchor=None)
    result = model.segment(clip_of())
    assert result.control_points.source == "given"
    assert dict(result.control_points.sounds.named) == {0: ("dog", "cat"), 4: ("cat",)}
    assert result.control_points.log["heard"]["words"]["dog"][0] == pytest.approx(0.9)
    assert ear.calls == 1


def test_given_words_are_the_classes_of_every_clip():
    backend, ear, _ = scripted(words=["cat", "violin", "dog"])
    assert (backend.num_classes, backend.class_names[2]) == (4, "violin")
    frame = segmented(backend).frame_results[0]
    assert frame.class_names == backend.class_names
    assert frame.mask.unique().tolist() == [0, 3]
    fewer, _, eye = scripted(words=["cat"])
    result = segmented(fewer)
    assert result.control_points.indices == [0, 2]
    assert eye.calls == [("cat",)]


def test_what_sounds_off_screen_is_empty_and_named(tmp_path):
    backend, _, _ = scripted(eye=ScriptedEye(cat=[CAT]))
    result = segmented(backend)
    assert not bool(result.masks[:2].any())
    content = json.loads((result.save(tmp_path / "out", overlay=False) / "result.json").read_text())
    assert content["class_names"] == ["background", "dog", "cat"]
    first, third = content["frames"][0], content["frames"][2]
    assert first["off_screen"] == ["dog"]
    assert first["objects"] == {}
    assert third["off_screen"] == ["dog"]
    assert third["objects"] == {"cat": {"score": 0.9, "boxes": [[16.0, 4.0, 28.0, 16.0]]}}
    assert "objects" not in content["frames"][3]
    assert content["sounds"] == [
        {"start_s": 0.0, "end_s": 1.0, "names": ["dog"], "off_screen": ["dog"]},
        {"start_s": 1.0, "end_s": 2.0, "names": ["dog", "cat"], "off_screen": ["dog"]},
        {"start_s": 2.0, "end_s": 4.0, "names": ["cat"], "off_screen": []},
    ]


def test_instances_of_a_word_are_one_object_unless_asked():
    eye = ScriptedEye(dog=[CAT, DOG])
    merged, _, _ = scripted(eye=eye)
    frame = segmented(merged).frame_results[0]
    assert frame.mask.unique().tolist() == [0, 1]
    assert int((frame.mask > 0).sum()) == 8 * 18 + 12 * 12
    apart, _, _ = scripted(eye=eye, instances=2)
    frame = segmented(apart).frame_results[0]
    assert frame.class_names[:3] == ("background", "dog", "dog 2")
    # From left to right, whichever the finder is surer of.
    assert int(frame.mask[5, 5]) == 1
    assert int(frame.mask[8, 20]) == 2


def test_where_every_model_answers_nothing_masks_are_empty():
    backend, _, eye = scripted(ear=ScriptedEar(), eye=ScriptedEye())
    result = segmented(backend)
    assert not bool(result.masks.any())
    assert result.control_points.indices == [0]
    assert eye.calls == []
    backend, _, _ = scripted(eye=ScriptedEye())
    assert not bool(segmented(backend).masks.any())
    assert not bool(wrap(backend).segment_bare(clip_of()).masks.any())


def test_a_clips_own_words_need_no_listener():
    backend, ear, eye = scripted()
    clip = clip_of()
    named = Clip(clip.frames, clip.waveform, SR, clip.times, words=["cat"])
    result = wrap(backend, control_points="every_n", propagator="hold", reanchor=None).segment(
        named
    )
    assert set(result.masks.unique().tolist()) == {0, 1}
    assert (ear.calls, set(eye.calls)) == (0, {("cat",)})


def test_a_drawn_box_replaces_what_the_finder_finds():
    backend, ear, eye = scripted()
    drawn = {0: {"dog": [[0, 0, 4, 6]], "bird": [[20, 0, 30, 3]]}, 4: {"cat": []}}
    content = ControlPoints([1, 0, 0, 0, 1, 0, 0, 0]).to_dict()
    content["sounds"] = {
        "segments": {"0": ["dog"], "4": ["cat"]}, "classes": ["cat"], "boxes": drawn
    }  # fmt: skip
    points = ControlPoints.from_dict(json.loads(json.dumps(content)))
    assert ControlPoints.from_dict(points.to_dict()).sounds == points.sounds
    result = wrap(backend, control_points=points, propagator="hold", reanchor=None).segment(
        clip_of()
    )
    assert result.frame_results[0].class_names == ("background", "cat", "dog", "bird")
    assert int((result.masks[0] == 2).sum()) == 4 * 6
    assert int((result.masks[0] == 3).sum()) == 10 * 3
    assert not bool(result.masks[4:].any())
    assert (ear.calls, eye.calls) == (0, [])


@pytest.mark.parametrize(
    "sounds",
    [
        [],
        {"classes": [3]},
        {"segments": {"0": "dog"}},
        {"segments": {"x": ["dog"]}},
        {"boxes": {"0": {"dog": [[3]]}}},
        {"boxes": {"0": {"dog": [[4, 0, 2, 9]]}}},
    ],
)
def test_names_and_boxes_of_a_file_are_checked(sounds):
    content = {**ControlPoints([1, 0]).to_dict(), "sounds": sounds}
    with pytest.raises(ControlPointError, match='Expected "sounds" as .*Correct it'):
        ControlPoints.from_dict(content)


def test_a_config_makes_the_backend_in_python_and_on_the_command_line():
    config = {"type": "open_vocabulary", "listener": "speech", "words": ["dog"]}
    assert wrap(config).backend.class_names == ("background", "dog")
    made, adapter = load_backend(json.dumps(config))
    assert (made.class_names, adapter) == (("background", "dog"), "auto")
    assert made.to("cpu").listener.device == torch.device("cpu")
    with pytest.raises(ArgumentError, match="does not take the argument `finders`"):
        make_model('{"type": "open_vocabulary", "finders": 1}')


def test_wrong_options_are_refused():
    with pytest.raises(KeyframeError, match="Expected instances of 1 or more"):
        OpenVocabulary(instances=0)
    with pytest.raises(KeyframeError, match="a list of words, got 1, 'all' and 'dog'"):
        OpenVocabulary(words="dog")
    assert "open_vocabulary" in list_backends()
    assert wrap("open_vocabulary").backend.num_classes == len(VISIBLE) + 1


def test_audiosets_labels_become_visible_nouns():
    labels = ["Speech", "Bark", "Whimper (dog)", "Music", "Zither"]
    assert columns_of(words_of(None), labels, "model") == {"person": [0], "dog": [1, 2]}
    assert columns_of(words_of(["zither", "dog"]), labels, "m") == {"zither": [4], "dog": [1, 2]}
    meant = [label for own in VISIBLE.values() for label in own]
    assert len(meant) == len(set(meant))


@pytest.mark.parametrize("seed", [1, 3])
def test_perfect_models_reach_what_true_keyframes_give(seed):
    scene = Scene.made_up(seed, duration_s=6.0, size=(72, 96), num_objects=4)
    clip = scene.clip(fps=4)
    truth = scene.truth(clip)
    backend = OpenVocabulary(
        Listener(PerfectEar(scene), NAMES), PerfectSam3(scene, clip).finder(), NAMES
    )
    ours = segmented(backend, clip)
    true_keyframes, points = TruthBackend(scene, semantic=True), scene.control_points(clip)
    best = wrap(true_keyframes, control_points=points, propagator="hold", reanchor=None).segment(
        clip
    )
    assert ours.control_points == points

    def score(masks):
        pairs = zip(masks, truth, strict=True)
        found = [jaccard(m == k, t == k) for m, t in pairs for k in t.unique() if k]
        return float(torch.stack(found).mean())

    assert score(ours.masks) >= 0.97 * score(best.masks) > 0.3
    assert ours.frame_results[0].class_names == ("background", *NAMES)
    bare = wrap(backend).segment_bare(clip)
    assert bool(((bare.masks > 0) == (truth > 0)).float().mean() > 0.97)


def test_a_benchmark_names_keyframes_by_their_segments_as_a_run_does():
    backend, ear, eye = scripted(words=["dog", "cat"])
    clip, whole = clip_of(), ControlPoints([1, 0, 0, 0, 0, 0, 0, 0])
    labelled, truth = torch.ones(8).bool(), torch.zeros(8, *clip.size).long()
    sample = Sample("a", clip, truth, labelled, control_points=whole)
    report = plug_and_play({"a": [sample]}, {"mine": backend}, ["oracle+hold", "oracle+flow"])
    assert report.failures == []
    # The cat begins to sound a second after the keyframe. Both rows share it, and one pass.
    assert [sorted(words) for words in eye.calls] == [["cat", "dog"]]
    assert ear.calls == 1


def test_the_listener_is_a_provider_of_its_own():
    provider = as_provider({"type": "listener", "detector": ScriptedEar(dog=[0, 0, 1, 1])})
    points = provider.propose(clip_of(num_frames=4))
    assert points.indices == [0, 2]
    assert dict(points.sounds.named) == {0: (), 2: ("dog",)}
    assert points.log["spans"] == {"dog": [[1.0, 2.0]]}


def test_a_namer_shortens_the_list_of_words():
    namer = ScriptedEar(dog=[0.0, 0.9], cat=[0.1, 0.1])
    ear = ScriptedEar(dog=[0.9, 0.0], cat=[0.9, 0.9])
    heard = Listener(ear, namer=namer).listen(clip_of(num_frames=2))
    assert heard.spans == {"dog": [(0.0, 0.5)]}
    assert heard.log["named"] == ["dog"]
    silent = Listener(ear, namer=ScriptedEar(dog=[0.0, 0.0])).listen(clip_of(num_frames=2))
    assert (silent.spans, silent.log["named"]) == ({}, [])


def test_names_come_with_sounds():
    assert Sounds({0: ("b",)}, ("a",), {0: {"c": ((0, 0, 1, 1),)}}).classes == ("a", "b", "c")


@pytest.fixture
def run(tmp_path):
    """A run of six seconds, and the same model again."""
    video = make_media.plain(tmp_path / "street.mp4", seconds=4)
    options = dict(fps=2, progress=False)
    ear = ScriptedEar(dog=[0.9] * 4 + [0.0] * 4, cat=[0.0] * 2 + [0.8] * 6)
    eye = ScriptedEye(dog=[DOG], cat=[CAT], bird=[(0, 0, 8, 8)])
    model = wrap(OpenVocabulary(Listener(ear), eye), propagator="hold", reanchor=None)
    model.segment(video, fps=2).save(tmp_path / "out", overlay=False)
    return model, eye, video, tmp_path, options


def edit(folder, change):
    path = folder / "control_points.json"
    content = json.loads(path.read_text())
    change(content["sounds"])
    path.write_text(json.dumps(content))


def test_other_words_are_computed_again_and_nothing_else(run):
    model, eye, video, folder, options = run
    eye.calls.clear()
    edit(folder / "out", lambda sounds: sounds["segments"].update({"2": ["dog", "bird"]}))
    redone = redo(model, video, folder / "out", folder / "new", overlay=False, **options)
    assert redone.computed == (range(2, 4),)
    assert eye.calls == [("dog", "bird")]
    content = json.loads((folder / "new" / "result.json").read_text())
    # Numbers of the names that were there stay, also in the frames that were copied.
    assert content["class_names"] == ["background", "dog", "cat", "bird"]
    assert content["num_classes"] == 4
    assert [row["names"] for row in content["sounds"]] == [["dog"], ["dog", "bird"], ["cat"]]
    shown = [read_mask(folder / "new/masks" / f"{t:05d}.png") for t in (0, 3, 7)]
    assert [sorted(set(mask.ravel().tolist()) - {0}) for mask in shown] == [[1], [1, 3], [2]]


def test_a_box_drawn_in_a_keyframe_is_computed_again(run):
    model, eye, video, folder, options = run
    eye.calls.clear()
    edit(folder / "out", lambda sounds: sounds.update(boxes={"4": {"cat": [[0, 0, 6, 4]]}}))
    redone = redo(model, video, folder / "out", folder / "new", overlay=False, **options)
    assert redone.computed == (range(4, 8),)
    assert eye.calls == []
    assert int((read_mask(folder / "new/masks/00007.png") == 2).sum()) == 24
    content = json.loads((folder / "new" / "result.json").read_text())
    assert content["frames"][4]["objects"]["cat"]["boxes"] == [[0.0, 0.0, 6.0, 4.0]]
    assert content["frames"][0]["objects"]["dog"]["score"] == 0.9


def test_control_points_without_names_keep_those_of_the_run(run):
    model, eye, video, folder, options = run
    eye.calls.clear()
    new = folder / "edited.json"
    new.write_text(json.dumps({"num_frames": 8, "indices": [0, 2, 4, 6]}))
    redone = redo(
        model, video, folder / "out", folder / "new", points=new, overlay=False, **options
    )
    assert redone.computed == (range(6, 8),)
    assert eye.calls == [("cat",)]


def test_the_report_shows_words_over_time_and_offers_to_edit_them(run):
    _, _, video, folder, _ = run
    page = write_report(folder / "out", video=video).path.read_text()
    assert '<h2 id="wordsTitle">What sounds</h2>' in page
    dog = page[page.index('<th scope="row">dog</th>') :]
    assert 'aria-label="dog: 2 segments"' in dog
    assert '<rect class="named" x="0.0" y="0" width="100.0" height="24"/>' in dog
    assert '<polyline points="0.0,2.4 50.0,2.4' in dog
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["edit"]["points"]["sounds"]["segments"]["2"] == ["dog", "cat"]
    assert data["edit"]["boxes"]["0"] == {"dog": [[2.0, 2.0, 10.0, 20.0]]}
    assert page.count('class="boxes"') == 3


@pytest.mark.parametrize("log", [{}, {"heard": 3}, {"heard": {"words": {"dog": "x"}, "row_s": 1}}])
def test_a_report_ignores_scores_of_another_form(run, log):
    _, _, video, folder, _ = run
    path = folder / "out" / "control_points.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "log": log}))
    page = write_report(folder / "out", video=video).path.read_text()
    assert '<th scope="row">dog</th>' in page
    assert "<polyline" not in page


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_editor_of_the_page_writes_what_redo_reads(run, tmp_path):
    model, eye, video, folder, options = run
    page = write_report(folder / "out", video=video).path.read_text()
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    script = (Path(report.__file__).parent / "templates/words.js").read_text()
    fields = """
      const data = DATA;
      const field = () => ({ value: "", dataset: {} });
      const rows = data.points.map((point) => {
        const inputs = [field(), field()];
        return { dataset: { frame: String(point.frame) }, querySelectorAll: () => inputs, inputs };
      });
      const document = { querySelectorAll: () => rows };
      const $ = () => ({ addEventListener: () => {} });
    """.replace("DATA", data)
    change = """
      rows[1].inputs[0].value = "bird";
      rows[2].inputs[1].value = "cat: 0 0 6 4; dog:";
      console.log(JSON.stringify(editedPoints()));
    """
    made = subprocess.run(
        ["node", "-e", fields + script + change], capture_output=True, text=True, check=True
    )
    edited = tmp_path / "edited.json"
    edited.write_text(made.stdout)
    sounds = json.loads(made.stdout)["sounds"]
    assert sounds["segments"] == {"0": ["dog"], "2": ["bird"], "4": ["cat"]}
    assert sounds["boxes"] == {"4": {"cat": [[0, 0, 6, 4]], "dog": []}}
    eye.calls.clear()
    options |= dict(points=edited, overlay=False)
    redone = redo(model, video, folder / "out", folder / "new", **options)
    assert redone.computed == (range(2, 8),)
    assert eye.calls == [("bird",)]


def moving_clip(loud, moves, fps=8):
    """Two squares: the left one moves where `moves` says, the right one everywhere else."""
    frames = torch.zeros(24, 3, 24, 48)
    for t in range(24):
        left, right = (t % 2) * moves[t], (t % 2) * (1 - moves[t])
        frames[t, :, 4 + left : 14 + left, 4:14] = 1
        frames[t, :, 4 + right : 14 + right, 30:40] = 1
    times = torch.arange(24, dtype=torch.float64) / fps
    waveform = torch.randn(3 * SR, generator=torch.Generator().manual_seed(0)) * 0.2
    level = torch.tensor(loud).repeat_interleave(SR // fps).float()
    return Clip(frames, waveform * level, SR, times)


@pytest.mark.parametrize(("moves", "chosen"), [([1] * 24, [0]), ([0] * 24, [1])])
def test_of_two_alike_the_one_that_moves_with_the_sound_is_taken(moves, chosen):
    clip = moving_clip([1] * 24, moves)
    both = ScriptedEye(dog=[(4, 4, 14, 15), (30, 4, 40, 15)])
    instances = both.find(clip.rgb([0])[0], ["dog"])[0]
    taken = sounding_instances(clip, 0, instances)
    assert taken == [instances[n] for n in chosen]
    backend, _, _ = scripted(ear=ScriptedEar(dog=[0.9] * 6), eye=both, among="moving")
    masks = segmented(backend, clip).masks
    assert bool((masks[0, :, :24] > 0).any()) == (chosen == [0])
    assert bool((masks[0, :, 24:] > 0).any()) == (chosen == [1])


def test_where_motion_does_not_tell_all_are_taken():
    alternating = moving_clip([1] * 24, [t // 2 % 2 for t in range(24)])
    instances = ScriptedEye(dog=[(4, 4, 14, 15), (30, 4, 40, 15)]).find(
        alternating.rgb([0])[0], ["dog"]
    )[0]
    assert sounding_instances(alternating, 0, instances) == instances
    assert sounding_instances(alternating[:3], 0, instances) == instances
    # What moves in the quiet does not sound.
    quiet_then_loud = moving_clip([0.1] * 4 + [1] * 20, [0] * 4 + [1] * 20)
    assert sounding_instances(quiet_then_loud, 4, instances) == [instances[0]]
