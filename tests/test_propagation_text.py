"""Guided by words: what is said to sound, in the place of the sound."""

import pytest
import torch
import transformers
from make_propagators import awake, carry, toy, video
from tiny_pretrained import END, save_clip_text, tokenizer

from coprop_plugin.errors import CheckpointError, PropagationError
from coprop_plugin.propagation import save_propagator
from coprop_plugin.propagation.checkpoint import load
from coprop_plugin.propagation.text import TextTokens
from coprop_plugin.types import Clip

TEXT = dict(embedding_dim=12, local_files_only=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_clip_text(tmp_path_factory.mktemp("clip")))


def clip_named(name=None, num_frames=3):
    return Clip(torch.rand(num_frames, 3, 8, 8), torch.zeros(num_frames * 16_000), name=name)


def test_tokens_are_the_models_own_text_embeddings_projected(folder):
    torch.manual_seed(0)
    tokens = TextTokens(8, folder, ["dog", "flute", "dog"], **TEXT)
    heard = tokens.hear(clip_named())
    assert heard.shape == (3, 3, 8)
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for column, name in enumerate(["dog", "flute", "dog"]):
            alone = model(**words(f"the sound of a {name}", return_tensors="pt")).text_embeds
            wanted = tokens.norm(tokens.from_text(alone / alone.norm()))
            for frame in heard:
                torch.testing.assert_close(frame[column], wanted[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(heard[0, 0], heard[0, 1])


def test_the_encoder_is_loaded_when_first_asked_and_is_no_weight_of_ours(folder):
    tokens = TextTokens(8, "nobody/has-this", ["dog"], **TEXT)
    with pytest.raises(CheckpointError, match="nobody/has-this"):
        tokens.hear(clip_named())
    tokens = TextTokens(8, folder, ["dog"], **TEXT)
    tokens.hear(clip_named())
    assert sorted(tokens.state_dict()) == [
        "from_text.bias", "from_text.weight", "norm.bias", "norm.weight",
    ]  # fmt: skip
    assert sum(p.numel() for p in tokens.parameters()) == 12 * 8 + 8 + 16


def test_a_whole_clip_and_a_clap_will_do(tmp_path):
    shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    words = tokenizer()
    text = dict(
        **shape, vocab_size=len(words), max_position_embeddings=16, eos_token_id=END,
        bos_token_id=0, projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(0)
    whole = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text,
            vision_config=dict(**shape, image_size=16, patch_size=8),
            projection_dim=12,
        )
    ).eval()
    whole.save_pretrained(tmp_path / "clip")
    words.save_pretrained(tmp_path / "clip")
    clap = transformers.ClapTextModelWithProjection(
        transformers.ClapTextConfig(
            **shape, vocab_size=len(words), max_position_embeddings=32, projection_dim=12
        )
    ).eval()
    clap.save_pretrained(tmp_path / "clap")
    words.save_pretrained(tmp_path / "clap")
    asked = words("the sound of a dog", return_tensors="pt")
    with torch.no_grad():
        of_clip = whole.get_text_features(**asked).pooler_output
        of_clap = clap(**asked).text_embeds
    for name, wanted in (("clip", of_clip), ("clap", of_clap)):
        tokens = TextTokens(8, tmp_path / name, ["dog"], **TEXT)
        found = tokens.texts.embed(["dog"])
        torch.testing.assert_close(found, wanted / wanted.norm(), atol=1e-5, rtol=1e-4)


def test_categories_may_come_by_name_or_be_asked_for(folder):
    by_name = TextTokens(8, folder, {"street": ["dog"], "desert": []}, **TEXT)
    assert by_name.hear(clip_named("street")).shape == (3, 1, 8)
    assert by_name.hear(clip_named("desert")) is None
    for name in ("sea", None):
        with pytest.raises(PropagationError, match=r"categories of 2 clips .*naming"):
            by_name.hear(clip_named(name))
    asked = TextTokens(8, folder, lambda clip: [clip.name, "flute"], **TEXT)
    assert torch.equal(asked.hear(clip_named("dog"))[:, :1], asked.hear(clip_named("dog"))[:, :1])
    assert asked.hear(clip_named("cat")).shape == (3, 2, 8)


def test_other_words_give_other_masks_and_no_words_are_no_sound(folder):
    def logits(categories):
        text = dict(model=folder, categories=categories, **TEXT)
        propagator = awake(toy(tokens="text", text=text, audio_width=8))
        with torch.no_grad():
            sound = propagator.hear(clip_named())
            row = None if sound is None else sound[:1]
            return carry(propagator, *video(), row)

    dog, flute, nothing = logits(["dog"]), logits(["flute"]), logits([])
    assert not torch.allclose(dog, flute)
    assert not torch.allclose(dog, nothing)
    assert torch.equal(dog, logits(["dog"]))


def test_untrained_words_change_nothing(folder):
    text = dict(model=folder, categories=["dog"], **TEXT)
    propagator = toy(tokens="text", text=text, audio_width=8)
    frames, masks = video()
    sound = propagator.hear(clip_named())[:1]
    torch.testing.assert_close(
        carry(propagator, frames, masks, sound), carry(propagator, frames, masks)
    )


def test_gradients_reach_the_projection(folder):
    text = dict(model=folder, **TEXT)
    propagator = awake(toy(tokens="text", text=text, audio_width=8))
    frames, masks = video(2)
    sound = propagator.sound(["dog", "cat"], 1)
    memory = propagator.start(frames[0], sound, masks)
    propagator.step(memory, frames[1], sound).square().mean().backward()
    assert float(propagator.sound.from_text.weight.grad.abs().sum()) > 0


def test_the_switch_is_saved_with_the_weights(folder, tmp_path):
    text = dict(model=folder, categories={"street": ["dog"]}, **TEXT)
    propagator = awake(toy(tokens="text", text=text, audio_width=8))
    again = load(save_propagator(propagator, tmp_path / "words.safetensors"))
    assert isinstance(again.sound, TextTokens)
    clip = clip_named("street")
    torch.testing.assert_close(again.hear(clip), propagator.hear(clip))


def test_what_makes_no_sense_is_refused(folder):
    with pytest.raises(PropagationError, match="a list of names"):
        TextTokens(8, folder, "dog", **TEXT)
    with pytest.raises(PropagationError, match="with {} in it"):
        TextTokens(8, folder, ["dog"], template="a dog", **TEXT)
    with pytest.raises(PropagationError, match=r"text=.*Use tokens='text'"):
        toy(text=dict(model=folder))
    with pytest.raises(PropagationError, match="needs words, but the clip .* has none.*rcpg"):
        TextTokens(8, folder, **TEXT).hear(clip_named())
    with pytest.raises(PropagationError, match="of 512 channels.*got 12"):
        TextTokens(8, folder, ["dog"]).hear(clip_named())
    with pytest.raises(PropagationError, match="Expected names of categories.*guided by text"):
        TextTokens(8, folder)(torch.zeros(2, 1, 96, 64), torch.zeros(2))
