"""Table 4: words in the place of audio, from labels or from a language model's answer."""

import json
from dataclasses import replace

import pytest
import torch
from make_avsbench import make_ms3, make_s4
from make_propagators import awake, toy
from safetensors.torch import load_file
from tiny_pretrained import save_clip_text
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR

from coprop_plugin import CoProp, media
from coprop_plugin.benchmark.datasets import MS3, S4, read_words
from coprop_plugin.control_points import RCPGProvider, Store
from coprop_plugin.errors import DatasetError, KeyframeError, PropagationError, TrainingError
from coprop_plugin.keyframes import (
    KeyframeProcessor,
    load_keyframe_processor,
    save_keyframe_processor,
)
from coprop_plugin.training import KeyframeTraining, PropagatorTraining, read_config
from coprop_plugin.training.batches import labelled_frames, sounding_clips
from coprop_plugin.types import Annotation, Clip, ControlPoints
from coprop_plugin.world import Scene

SIZE = (32, 32)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = str(save_clip_text(tmp_path_factory.mktemp("clip")))
    return dict(model=folder, embedding_dim=12, local_files_only=True)


@pytest.fixture
def processor(text):
    torch.manual_seed(0)
    return KeyframeProcessor(**TOY_PROCESSOR, guidance="text", text=text).eval()


@pytest.fixture(scope="module")
def clip():
    made = Scene.made_up(seed=3, duration_s=4.0, size=SIZE).clip(sampling="avsbench")
    return replace(made, name="street")


def test_the_words_decide_the_keyframe_masks_and_audio_does_not(processor, clip):
    def logits(clip):
        return processor.segment_keyframes(clip, [0, 2])

    dog, flute = (logits(replace(clip, words=[word])) for word in ("dog", "flute"))
    both = logits(replace(clip, words=["dog", "flute"]))
    assert dog.shape == (2, 1, *SIZE)
    assert not torch.allclose(dog, flute)
    assert not torch.allclose(dog, both)
    silent = Clip(clip.frames, torch.zeros_like(clip.waveform), sampling="avsbench", words=["dog"])
    assert torch.equal(logits(silent), dog)
    assert logits(replace(clip, words=[])).shape == dog.shape  # nothing sounds


def test_a_processor_without_words_is_an_error(processor, clip, text):
    with pytest.raises(KeyframeError, match="'street' has none.*rcpg"):
        processor.segment_keyframes(clip, [0])
    with pytest.raises(KeyframeError, match="needs words for each of 2 frames.*got none"):
        processor(torch.rand(2, 3, *SIZE), torch.zeros(2, 1, 96, 64))
    named = KeyframeProcessor(
        **TOY_PROCESSOR, guidance="text", text=text | dict(categories={"street": ["dog"]})
    )
    assert named.segment_keyframes(clip, [0]).shape == (1, 1, *SIZE)


def test_text_guidance_is_saved_with_the_weights(processor, clip, tmp_path):
    again = load_keyframe_processor(save_keyframe_processor(processor, tmp_path / "w.safetensors"))
    named = replace(clip, words=["cat"])
    want = processor.segment_keyframes(named, [1])
    assert torch.equal(again.segment_keyframes(named, [1]), want)
    # The text encoder is frozen and not among the weights.
    assert not [n for n in load_file(tmp_path / "w.safetensors") if "text_model" in n]


def guided(processor, text, **options):
    propagator = awake(toy(tokens="text", text=text, audio_width=8))
    return CoProp(processor, propagator=propagator, **options)


def test_the_language_models_answer_guides_keyframes_and_propagation(processor, text, clip):
    def answering(word):
        store = Store.load(store_of(word))
        return RCPGProvider(lambda *_: f"A {word}. [1, 0, 1, 0]", store, fallback=None)

    def store_of(word):
        path = text["model"] + f"/{word}.jsonl"
        with open(path, "w") as file:
            file.write(json.dumps({"categories": [word], "control_points": [1, 0]}) + "\n")
        return path

    results = {w: guided(processor, text, control_points=answering(w)) for w in ("dog", "drum")}
    probs = {word: model.segment(clip).probs for word, model in results.items()}
    assert results["dog"].anchor(clip).words == ("dog",)
    assert not torch.allclose(probs["dog"][0], probs["drum"][0])
    # As if the words were the clip's own, which count first.
    given = guided(processor, text, control_points=[1, 0, 1, 0])
    assert torch.equal(given.segment(replace(clip, words=["dog"])).probs, probs["dog"])
    own = results["drum"].segment(replace(clip, words=["dog"]))
    assert torch.equal(own.probs, probs["dog"])


class Everything:
    """A model that is not guided by text, and that always has something to propagate."""

    num_classes = 1

    def segment_keyframes(self, clip, indices):
        return torch.ones(len(indices), 1, *clip.size)


def test_running_without_words_is_an_error(processor, text, clip):
    model = guided(processor, text, control_points="every_n", reanchor=None)
    with pytest.raises(KeyframeError, match="needs words"):
        model.segment(clip)
    with pytest.raises(PropagationError, match="needs words"):
        guided(Everything(), text, control_points=[1, 0, 0, 0]).segment(clip)


def test_annotations_and_points_files_hand_on_their_words(tmp_path, clip):
    by_hand = {"street": Annotation((0.0, 2.2), (("dog",), ("cat", "dog")))}
    media.write_annotations(tmp_path / "hand.csv", by_hand, "csv")
    media.write_annotations(tmp_path / "hand.json", by_hand, "json")
    from coprop_plugin.control_points import FileProvider

    for name in ("hand.csv", "hand.json"):
        assert FileProvider(tmp_path / name).propose(clip).words == ("dog", "cat")
    assert read_words(tmp_path / "hand.json") == {"street": ("dog", "cat")}
    log = {"windows": [{"eq_4": {"q": ["dog"]}}, {"eq_4": {"q": ["cat"]}}, {}]}
    points = ControlPoints([1, 0], log=log).to_dict()
    (tmp_path / "points.json").write_text(json.dumps({"clips": {"a": points}}))
    assert read_words(tmp_path / "points.json") == {"a": ("dog", "cat")}
    (tmp_path / "plain.json").write_text('{"a": ["dog"], "b": []}')
    assert read_words(tmp_path / "plain.json") == {"a": ("dog",), "b": ()}


@pytest.mark.parametrize(
    ("content", "words"),
    [("[", "holds no words"), ('{"a": [1]}', "holds no words"), ('{"a": {}}', "names nothing")],
)
def test_files_without_words_are_refused(content, words, tmp_path):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(DatasetError, match=f"w.json {words}"):
        read_words(tmp_path / "w.json")


def test_clips_of_a_data_set_have_words_from_labels_or_a_file(tmp_path):
    s4 = make_s4(tmp_path / "s4", {"x": ("cat", "train"), "y": ("dog", "train")})
    assert S4(s4)[0].clip.words is None
    assert [sample.clip.words for sample in S4(s4, words="labels")] == [("cat",), ("dog",)]
    (tmp_path / "w.json").write_text('{"x": ["flute"]}')
    dataset = S4(s4, words=tmp_path / "w.json")
    assert dataset[0].clip.words == ("flute",)
    with pytest.raises(DatasetError, match="no words for 'y'"):
        dataset[1]
    ms3 = make_ms3(tmp_path / "ms3", {"a": ("train", "11111")})
    with pytest.raises(DatasetError, match="do not name what sounds in 'a'.*avss_root"):
        MS3(ms3, words="labels")[0]


@pytest.mark.parametrize("stage", ["keyframes", "propagator"])
def test_both_stages_learn_from_words_and_refuse_to_do_without(stage, text, tmp_path):
    s4 = make_s4(tmp_path / "s4", {"x": ("cat", "val"), "y": ("dog", "val")}, SIZE)
    dataset = S4(s4, "val")
    torch.manual_seed(0)
    if stage == "keyframes":
        options = TOY_PROCESSOR | dict(guidance="text", text=text)
        training, collate = KeyframeTraining(options), labelled_frames
        learned = training.processor.sound.from_text
    else:
        options = TOY_PROPAGATOR | dict(tokens="text", text=text)
        training, collate = PropagatorTraining(options, audio_dropout=0.0), sounding_clips
        awake(training.propagator)
        learned = training.propagator.sound.from_text
    batch = collate([dataset[0], dataset[1]])
    assert set(batch["words"]) == {"cat", "dog"}
    sum(training(**batch).values()).backward()
    assert learned.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert len(training.eval()(**batch, mode="predict")) == 2
    del batch["words"]
    for mode in ("loss", "predict"):
        with pytest.raises(TrainingError, match="guided by text.*no words.*avss_root"):
            training(**batch, mode=mode)


@pytest.mark.parametrize("subset", ["s4", "ms3"])
def test_configs_of_table_4_change_the_guidance_alone(subset):
    for stage in ("keyframes", "propagator"):
        plain, guided = (read_config(f"{subset}_{stage}{end}") for end in ("", "_text"))
        part = "processor" if stage == "keyframes" else "propagator"
        changed = {n for n, x in guided.model[part].items() if plain.model[part].get(n) != x}
        assert changed == {"text", "guidance" if stage == "keyframes" else "tokens"}
        assert guided.model.vggish is None
        if subset == "ms3":
            dataset = guided.train_dataloader.dataset
            assert dataset.get("dataset", dataset).avss_root == "data/AVSS"
