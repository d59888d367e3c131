"""Sound-event detection: from probabilities to active spans to control points."""

import numpy as np
import pytest
import torch
from tiny_pretrained import save_clip_text, save_pe_audio

from coprop_plugin.benchmark import untrained_sed
from coprop_plugin.checkpoints import load_pretrained
from coprop_plugin.control_points import SoundEventProvider, active_spans
from coprop_plugin.control_points.language import read_names
from coprop_plugin.control_points.listening import (
    Activity,
    PeAudioDetector,
    load_detector,
    windows_at_hop,
)
from coprop_plugin.errors import (
    CheckpointError,
    ClipError,
    ControlPointError,
    ControlPointParseError,
)
from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import Clip

SR = 16_000


def clip_of(waveform, fps=4, sample_rate=SR):
    num_frames = int(len(waveform) / sample_rate * fps)
    times = torch.arange(num_frames, dtype=torch.float64) / fps
    return Clip(torch.zeros(num_frames, 3, 2, 2), waveform, sample_rate, times)


@pytest.fixture(scope="module")
def two_sounds():
    """Three seconds of a tone, then three of noise."""
    t = torch.arange(6 * SR) / SR
    noise = torch.randn(6 * SR, generator=torch.Generator().manual_seed(0))
    return clip_of(0.3 * torch.where(t < 3, torch.sin(2 * torch.pi * 440 * t), noise))


class Scripted:
    """A detector with given probabilities, a row each half second."""

    model_id = "scripted"

    def __init__(self, **rows):
        self.rows = rows

    def activity(self, waveform, sample_rate, categories):
        names = tuple(categories or self.rows)
        columns = [torch.tensor(self.rows[name], dtype=torch.float32) for name in names]
        return Activity(names, torch.stack(columns, dim=1), 0.5)


@pytest.mark.parametrize(
    ("probs", "spans"),
    [
        ([0, 0, 0, 0], []),
        ([0.4, 0.4, 0.4, 0.4], []),  # above release, never at the threshold
        ([0.2, 0.4, 0.6, 0.4, 0.2], [(1, 4)]),  # back and on to the release
        ([0.9, 0.9, 0, 0.9], [(0, 4)]),  # a gap shorter than half a second is a breath
        ([0.9, 0, 0, 0, 0.9], [(0, 1), (4, 5)]),
        ([0.9] * 5, [(0, 5)]),
    ],
)
def test_a_category_is_on_between_release_and_release_around_the_threshold(probs, spans):
    activity = Activity(("dog",), torch.tensor(probs, dtype=torch.float32)[:, None], row_s=0.25)
    found = active_spans(activity, threshold=0.5, release=0.3, start_s=2.0)["dog"]
    assert found == [(2 + a * 0.25, 2 + b * 0.25) for a, b in spans]


def test_activity_shorter_than_a_tenth_of_a_second_is_a_click():
    probs = torch.zeros(100, 1)
    probs[10:12], probs[50:53] = 1, 1
    assert active_spans(Activity(("dog",), probs, 0.04), 0.5, 0.5) == {"dog": [(2.0, 2.12)]}


def test_control_points_are_where_the_set_changes_not_where_probabilities_do():
    detector = Scripted(
        dog=[0.9, 0.8, 0.7, 0.9, 0, 0, 0, 0], flute=[0, 0, 0.6, 0.6, 0.6, 0.6, 0, 0]
    )
    clip = clip_of(torch.zeros(4 * SR))
    points = SoundEventProvider(detector).propose(clip)
    # dog; from 1 s on with the flute; from 2 s on the flute alone; from 3 s on nothing.
    assert points.indices == [0, 4, 8, 12]
    assert points.log["spans"] == {"dog": [[0.0, 2.0]], "flute": [[1.0, 3.0]]}
    assert points.silent is None
    assert SoundEventProvider(detector, ["dog"]).propose(clip).indices == [0, 8]


def test_categories_may_be_a_function_of_the_clip():
    asked = []

    def categories(clip):
        asked.append(clip)
        return ["flute"]

    clip = clip_of(torch.zeros(4 * SR))
    detector = Scripted(dog=[1] * 4 + [0] * 4, flute=[0] * 6 + [1] * 2)
    assert SoundEventProvider(detector, categories).propose(clip).indices == [0, 12]
    assert asked == [clip]


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ('["dog", "flute"]', ["dog", "flute"]),
        ('```json\n["a dog", "The flute"]\n```', ["dog", "flute"]),
        ("[dog, flute]", ["dog", "flute"]),
        ("1. Dog\n2) Flute.", ["Dog", "Flute"]),
        ("- a dog\n- a flute", ["dog", "flute"]),
        ("A dog and a flute.", ["dog", "flute"]),
        ("[]", []),
    ],
)
def test_names_are_read_in_any_form(answer, names):
    assert read_names(answer) == names


@pytest.mark.parametrize("answer", ["", "I am sorry, but I cannot listen to any audio at all."])
def test_answers_without_names_are_refused(answer):
    with pytest.raises(ControlPointParseError, match="Expected a list of names"):
        read_names(answer)


def test_a_language_model_names_the_categories():
    asked = []

    def answer(messages, waveform, sample_rate):
        asked.append(len(waveform) / sample_rate)
        return ['["Flute"]', '["flute", "dog"]', "[]"][len(asked) - 1]

    llm = dict(type="callable", function=answer, model_id="m", max_audio_s=2.5)
    detector = Scripted(dog=[1] * 4 + [0] * 4, Flute=[0] * 6 + [1] * 2)
    provider = SoundEventProvider(detector, llm=llm)
    points = provider.propose(clip_of(torch.zeros(4 * SR)))
    assert points.indices == [0, 8, 12]
    assert asked == [2.5, 1.5]
    assert points.log["model_id"] == "m"
    assert [r["answer"] for r in points.log["conversation"]] == ['["Flute"]', '["flute", "dog"]']
    silent = provider.propose(clip_of(torch.zeros(2 * SR)))
    assert silent.indices == [0]


def test_seconds_of_a_part_of_a_clip_are_those_of_the_whole_clip():
    waveform = torch.zeros(40 * SR)
    detector = Scripted(dog=[0] * 13 + [1] * 27)
    # The part from 10 s on is processed from 5 s on, so row 13 is at 11.5 s.
    assert SoundEventProvider(detector).propose(clip_of(waveform)[40:80]).indices == [0, 6]


def test_windows_are_centred_on_their_hops():
    waveform = torch.arange(1000.0)
    windows = windows_at_hop(waveform, rate=100, hop_s=0.3, window_s=0.5)
    assert windows.shape == (34, 50)
    for row, window in enumerate(windows):
        middle = (row + 0.5) * 30
        for place, value in enumerate(window.tolist()):
            sample = round(middle - 25) + place
            assert value == (sample if 0 <= sample < 1000 else 0)


@pytest.fixture(scope="module")
def ast_folder(two_sounds, tmp_path_factory):
    """A tiny audio spectrogram transformer whose head is fitted to distinguish the two sounds."""
    detector = untrained_sed(["A pure tone", "Noise, hiss", "Bell"]).listener.detector
    model, extractor = detector.model, detector.extractor
    windows = windows_at_hop(two_sounds.waveform, SR, 0.25, 1.0)
    inputs = extractor(list(windows.numpy()), sampling_rate=SR, return_tensors="pt")
    with torch.no_grad():
        pooled = model.audio_spectrogram_transformer(**inputs).pooler_output
        pooled = model.classifier.layernorm(pooled)
        is_tone = torch.arange(len(windows)) < 12
        wanted = torch.stack([is_tone, ~is_tone, torch.zeros(len(windows))], dim=1) * 8.0 - 4
        rows = torch.cat([pooled, torch.ones(len(windows), 1)], dim=1)
        solved = torch.linalg.lstsq(rows, wanted, driver="gelsd").solution
        model.classifier.dense.weight.copy_(solved[:-1].T)
        model.classifier.dense.bias.copy_(solved[-1])
    folder = tmp_path_factory.mktemp("ast")
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def test_an_audio_spectrogram_transformer_from_a_folder_finds_the_change(ast_folder, two_sounds):
    provider = build(PROVIDERS, dict(type="sed", detector=str(ast_folder), local_files_only=True))
    points = provider.propose(two_sounds)
    assert points.indices == [0, 12]
    assert points.log["spans"] == {
        "A pure tone": [[0.0, 3.0]], "Noise, hiss": [[3.0, 6.0]]
    }  # fmt: skip
    assert provider.propose(two_sounds) == points
    assert points.log["detector"] == str(ast_folder)


def test_a_category_matches_the_labels_with_its_words(ast_folder, two_sounds):
    named = SoundEventProvider(ast_folder, ["hiss"]).propose(two_sounds)
    assert named.log["spans"] == {"hiss": [[3.0, 6.0]]}
    with pytest.raises(
        ControlPointError, match=r"'violin' matches none of the 3 labels.*PE-A-Frame"
    ):
        SoundEventProvider(ast_folder, ["violin"]).propose(two_sounds)


@pytest.fixture(scope="module")
def pe_folder(tmp_path_factory):
    return save_pe_audio(tmp_path_factory.mktemp("pe"))


def test_pe_audio_detects_any_words_every_40_ms(pe_folder, two_sounds):
    detector = load_detector(pe_folder, local_files_only=True)
    heard = detector.activity(two_sounds.waveform, SR, ["dog", "the sound of a flute"])
    assert heard.row_s == 0.04
    assert heard.probs.shape == (150, 2)
    swapped = detector.activity(two_sounds.waveform, SR, ["the sound of a flute", "dog"])
    torch.testing.assert_close(swapped.probs, heard.probs.flip(1))
    assert not torch.allclose(heard.probs[:, 0], heard.probs[:, 1])
    # Tone and noise differ by more than the moments of either.
    tone, noise = heard.probs[:75, 0], heard.probs[75:, 0]
    assert abs(float(tone.mean() - noise.mean())) > float(tone[5:-5].std() + noise[5:-5].std())


def test_long_audio_is_processed_in_chunks_without_gap_or_overlap(pe_folder):
    loaded = load_detector(pe_folder)
    detector = PeAudioDetector(loaded.model, loaded.processor, "pe", chunk_s=4.0, margin_s=0.4)
    rng = np.random.default_rng(0)
    waveform = torch.from_numpy(rng.standard_normal(9 * 48_000).astype(np.float32)) * 0.1
    lengths = []
    whole = detector.model.forward

    def watched(**inputs):
        lengths.append(round(inputs["input_values"].shape[-1] / 48_000, 2))
        return whole(**inputs)

    detector.model.forward = watched
    assert len(detector.activity(waveform, 48_000, ["dog"]).probs) == 9 * 25
    assert lengths == [4.4, 4.8, 1.4]


@pytest.mark.parametrize("num_samples", [0, 1, 100, 2000])
def test_very_short_audio_is_accepted(pe_folder, ast_folder, num_samples):
    clip = Clip(torch.zeros(1, 3, 2, 2), torch.ones(num_samples) * 0.1, SR, torch.zeros(1))
    for folder in (pe_folder, ast_folder):
        categories = ["dog"] if folder == pe_folder else None
        assert SoundEventProvider(folder, categories).propose(clip).indices == [0]


def test_pe_audio_needs_categories(pe_folder, two_sounds):
    with pytest.raises(ControlPointError, match=r"needs categories.*categories=\['dog'"):
        SoundEventProvider(pe_folder).propose(two_sounds)


def test_a_missing_model_and_one_of_another_kind_are_refused(tmp_path, two_sounds):
    provider = SoundEventProvider("nobody/has-this", local_files_only=True)
    with pytest.raises(CheckpointError, match="has-this is not on .*weights get nobody/has-"):
        provider.propose(two_sounds)
    folder = save_clip_text(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"Expected a model of type 'pe_audio'.*of type 'clip_text_model'"
    ):
        SoundEventProvider(folder).propose(two_sounds)


def test_a_file_without_some_of_the_weights_is_refused(tmp_path):
    model = untrained_sed().listener.detector.model
    model.audio_spectrogram_transformer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no weights for 4 parameters.*would be random"):
        load_pretrained("ASTForAudioClassification", tmp_path)


def test_a_window_that_the_model_would_cut_is_refused(ast_folder):
    assert load_detector(ast_folder, window_s=1.0).window_s == 1.0
    with pytest.raises(ControlPointError, match="window_s up to 1 s, got .*window_s=60"):
        load_detector(ast_folder, window_s=60)


def test_wrong_options_are_refused(two_sounds):
    with pytest.raises(ControlPointError, match="0 < release <= threshold < 1"):
        SoundEventProvider(threshold=0.3, release=0.5)
    with pytest.raises(ControlPointError, match=r"Expected a list of words, e.g. \['dog'\]"):
        SoundEventProvider(categories="dog")
    with pytest.raises(ClipError, match="Expected a clip with a waveform"):
        SoundEventProvider(Scripted(dog=[1])).propose(Clip(torch.zeros(2, 3, 2, 2)))
