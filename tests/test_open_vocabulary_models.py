"""The models behind `open_vocabulary`, tiny and random, of their real classes: save, load, run."""

import json

import make_media
import pytest
import torch
from make_listening import ScriptedEar
from tiny_finders import SAVE, save_sam3_video
from tiny_pretrained import save_clap, save_pe_audio, tokenizer
from typer.testing import CliRunner

from coprop_plugin import wrap
from coprop_plugin.benchmark import untrained_clap, untrained_sed
from coprop_plugin.cli import app
from coprop_plugin.control_points import SpeechProvider, as_provider
from coprop_plugin.control_points.listening import SpeechDetector, load_detector
from coprop_plugin.control_points.listening.listener import Listener
from coprop_plugin.errors import CheckpointError, ControlPointError
from coprop_plugin.media import export
from coprop_plugin.open_vocabulary import OpenVocabulary, load_finder
from coprop_plugin.types import Clip

SR = 16_000
WORDS = ["dog", "violin"]
FINDERS = ["clipseg", "grounding_dino+sam2", "owlv2+sam2", "sam3"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("finders")
    return {name: str(save(root / name)) for name, save in SAVE.items()}


def finder_of(folders, name, least_score=1e-6, **options):
    source = "+".join(folders[part] for part in name.split("+"))
    return load_finder(source, least_score=least_score, local_files_only=True, **options)


@pytest.fixture(scope="module")
def picture():
    return torch.rand(3, 48, 80, generator=torch.Generator().manual_seed(1))


def union(instances, size):
    logits = [one.logits for one in instances]
    return torch.stack(logits).amax(0) if logits else torch.full(size, -1.0)


@pytest.mark.parametrize("name", FINDERS)
def test_a_finder_gives_each_word_its_own_masks_whatever_the_order(folders, name, picture):
    finder = finder_of(folders, name)
    found, swapped = finder.find(picture, WORDS), finder.find(picture, WORDS[::-1])
    assert [len(each) for each in found] == [len(each) for each in swapped[::-1]]
    assert sum(map(len, found)) > 0
    for one, other in zip(found, swapped[::-1], strict=True):
        size = tuple(picture.shape[-2:])
        torch.testing.assert_close(union(one, size), union(other, size), rtol=1e-3, atol=1e-3)
        for instance in one:
            left, top, right, bottom = instance.box
            assert 0 <= left < right <= 80
            assert 0 <= top < bottom <= 48
            assert 0 <= instance.score <= 1
            assert instance.logits.shape == (48, 80)
    alone = finder.find(picture, WORDS[:1])
    assert len(alone) == 1


@pytest.mark.parametrize("name", FINDERS)
def test_where_nothing_is_sure_enough_nothing_is_found(folders, name, picture):
    finder = finder_of(folders, name, least_score=1 - 1e-6)
    assert finder.find(picture, WORDS) == [[], []]
    (inside,) = finder.in_boxes(picture, "dog", [(10.0, 5.0, 30.0, 25.0)])
    assert not bool((inside.logits[:, 30:] > 0).any())
    assert bool((inside.logits[5:25, 10:30] > 0).any())


def test_words_that_the_tokenizer_joins_or_cuts_keep_their_own_scores(folders, picture):
    detector = finder_of(folders, "grounding_dino+sam2").detector
    # Unknown, cut into letters, with a full stop inside, of two words.
    words = ["Zebra42", "dgo", "st. bernard", "man playing", "dog"]
    together = detector.boxes(picture, words)
    assert len(together) == len(words)
    many = detector.boxes(picture, [f"{'dgoviolin' * 2}{n}" for n in range(8)])
    assert len(many) == 8


def test_boxes_of_one_thing_become_one_instance(folders, picture):
    finder = finder_of(folders, "owlv2+sam2")
    instances = [one for each in finder.find(picture, WORDS) for one in each]
    assert len(instances) <= 20
    found = finder.detector.boxes(picture, WORDS)
    assert sum(len(boxes) for boxes, _ in found) > len(instances)


@pytest.mark.parametrize("name", ["owlv2+sam2", "sam3"])
def test_half_precision(folders, picture, name):
    finder = finder_of(folders, name, dtype=torch.bfloat16)
    instances = [one for each in finder.find(picture, WORDS) for one in each]
    assert {one.logits.dtype for one in instances} == {torch.float32}


def test_other_models_are_refused(folders, tmp_path):
    with pytest.raises(CheckpointError, match="Expected a finder: CLIPSeg.*of type 'sam2_video'"):
        load_finder(folders["sam2"])
    with pytest.raises(CheckpointError, match="of type 'clipseg' as the detector"):
        load_finder(f"{folders['clipseg']}+{folders['sam2']}")
    with pytest.raises(CheckpointError, match="of type 'owlv2' for the masks"):
        load_finder(f"{folders['owlv2']}+{folders['owlv2']}")


@pytest.fixture(scope="module")
def clip():
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(6, 3, 32, 48, generator=generator)
    waveform = 0.2 * torch.randn(3 * SR, generator=generator)
    return Clip(frames, waveform, SR, torch.arange(6, dtype=torch.float64) / 2)


@pytest.fixture(scope="module")
def ears(tmp_path_factory):
    root = tmp_path_factory.mktemp("ears")
    sed = untrained_sed(["Speech", "Bark", "Violin, fiddle"]).listener.detector
    sed.model.save_pretrained(root / "ast")
    sed.extractor.save_pretrained(root / "ast")
    save_clap(root / "clap", untrained_clap())
    tokenizer().save_pretrained(root / "clap")
    save_pe_audio(root / "pe_audio")
    return {name: str(root / name) for name in ("ast", "clap", "pe_audio")}


@pytest.mark.parametrize("ear", ["ast", "clap", "pe_audio"])
def test_listener_and_finder_from_folders_segment_a_clip(folders, ears, clip, ear):
    backend = OpenVocabulary(
        {"detector": ears[ear], "threshold": 0.01},
        folders["clipseg"],
        words=["dog", "person"],
        least_score=1e-3,
        local_files_only=True,
        device="cpu",
    )
    result = wrap(backend, propagator="hold", reanchor=None).segment(clip)
    assert result.masks.shape == (6, 32, 48)
    assert result.frame_results[0].class_names == ("background", "dog", "person")
    assert result.control_points.log["detector"] == ears[ear]
    assert bool(result.masks.any())


def test_one_download_finds_and_follows(folders, clip):
    ear = ScriptedEar(dog=[0.9] * 6)
    source = f"{folders['owlv2']}+{folders['sam2']}"
    backend = OpenVocabulary(Listener(ear), source, ["dog"], least_score=1e-6, device="cpu")
    model = wrap(backend, propagator=f"sam2:{folders['sam2']}", reanchor=None)
    result = model.segment(clip)
    assert result.control_points.indices == [0]
    assert result.frame_results[0].class_names == ("background", "dog")
    assert bool(result.masks[0].any())
    assert result.frame_results[0].origin.found["off_screen"] == []


@pytest.fixture(scope="module")
def sam3_video(tmp_path_factory):
    """A checkpoint as `facebook/sam3` is: what finds and what follows, with one image encoder."""
    return str(save_sam3_video(tmp_path_factory.mktemp("sam3_video")))


def test_sam3_as_finder_and_propagator_holds_one_image_encoder(sam3_video, picture, clip):
    alone = load_finder(sam3_video, least_score=1e-6).find(picture, ["dog"])[0]
    options = dict(least_score=1e-6, device="cpu", local_files_only=True)
    backend = OpenVocabulary(Listener(ScriptedEar(dog=[0.9] * 6)), sam3_video, ["dog"], **options)
    half = dict(type="sam3", checkpoint=sam3_video, dtype="bfloat16")
    model = wrap(backend, propagator=half, reanchor=None)
    encoder = model.propagator.model.vision_encoder.backbone
    assert backend.finder.model.vision_encoder.backbone is encoder
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    # The tracker settles its precision when it is first used, by either part.
    assert model.segment(clip).masks.shape == (6, 32, 48)
    assert {p.dtype for p in backend.finder.model.parameters()} == {torch.bfloat16}
    model.propagator.dtype = "float32"
    model.propagator.float()
    shared = backend.finder.find(picture, ["dog"])[0]
    assert len(shared) == len(alone) > 0


def test_sam3_at_a_smaller_size_has_an_image_encoder_of_its_own(sam3_video):
    small = dict(type="sam3", checkpoint=sam3_video, image_size=28)
    backend = OpenVocabulary("speech", sam3_video, ["dog"], device="cpu")
    encoder = wrap(backend, propagator=small).propagator.model.vision_encoder.backbone
    assert backend.finder.model.vision_encoder.backbone is not encoder


def test_clap_compares_any_words_and_does_not_depend_on_their_order(ears, clip):
    detector = load_detector(ears["clap"])
    heard = detector.activity(clip.waveform, SR, ["dog", "flute"])
    swapped = detector.activity(clip.waveform, SR, ["flute", "dog"])
    assert heard.probs.shape == (12, 2)
    torch.testing.assert_close(swapped.probs.flip(1), heard.probs)
    with pytest.raises(ControlPointError, match="needs words to detect, got none"):
        detector.activity(clip.waveform, SR, None)


def test_listeners_share_one_table_of_nouns(ears, clip):
    heard = Listener(ears["ast"], threshold=0.01).listen(clip)
    assert set(heard.activity.categories) == {"person", "dog", "violin"}
    named = Listener(ears["pe_audio"], namer=ears["ast"], threshold=0.01).listen(clip)
    assert set(named.log["named"]) == set(named.activity.categories)


def test_speech_is_found_without_a_download_and_leaves_the_threads_alone(clip):
    pytest.importorskip("silero_vad", reason="an extra: pip install '.[speech]'")
    before = torch.get_num_threads()
    heard = SpeechDetector().activity(clip.waveform, SR, {"dog": ("Bark",), "person": ("Speech",)})
    assert torch.get_num_threads() == before
    assert heard.categories == ("person",)
    assert heard.probs.shape == (94, 1)
    assert heard.row_s == 0.032
    assert float(heard.probs.max()) < 0.5  # Noise is not speech.
    gate = as_provider({"type": "gate", "expensive": "speech"})
    assert isinstance(gate.expensive, SpeechProvider)


def test_a_run_of_the_command_line_is_edited_and_exported(folders, ears, tmp_path):
    video = make_media.plain(tmp_path / "street.mp4", seconds=2)
    listener = {"detector": ears["ast"], "threshold": 0.01}
    config = {"type": "open_vocabulary", "listener": listener, "least_score": 1e-3}
    backend = json.dumps({**config, "finder": folders["clipseg"]})

    def coprop(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments), "-q"])
        assert done.exit_code == 0, done.output
        return done.output

    words = ("--words", "dog, person", "--reanchor", "never", "--fps", 2)
    coprop("run", video, "-o", tmp_path / "out", "--backend", backend, *words)
    path = tmp_path / "out/street/control_points.json"
    points = json.loads(path.read_text())
    assert points["sounds"] == {
        "classes": ["dog", "person"],
        "segments": {"0": ["dog", "person"]},
    }
    points["sounds"]["segments"]["0"] = ["violin"]
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(points))
    reused = ("--reuse", tmp_path / "out/street", "--control-points", edited)
    coprop("run", video, *reused, "-o", tmp_path / "new")
    content = json.loads((tmp_path / "new/street/result.json").read_text())
    assert content["class_names"] == ["background", "dog", "person", "violin"]
    assert [row["names"] for row in content["sounds"]] == [["violin"]]
    coco = json.loads(export(tmp_path / "new/street", "coco").read_text())
    assert [kind["name"] for kind in coco["categories"]] == ["dog", "person", "violin"]
