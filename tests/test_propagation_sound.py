"""Audio tokens: how many, from what, and which sound they follow."""

import pytest
import torch
from torch import nn

from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation import AudioInsertPropagator, SmallLogMelEncoder
from coprop_plugin.propagation.audio_tokens import SoundTokens
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip

TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)


class TinyEncoder(nn.Module):
    """The interface of an audio encoder and nothing else."""

    map_channels, embedding_dim = 3, 2

    def conv_map(self, log_mel):
        return log_mel.unfold(2, 16, 16).unfold(3, 16, 16).mean((-2, -1)).repeat(1, 3, 1, 1)

    def embed(self, conv_map):
        return conv_map.flatten(1)[:, :2]


def clip(num_frames=5, **options):
    return Clip(torch.zeros(num_frames, 3, 8, 8), **options)


def test_a_frame_has_24_tokens_of_its_map_and_one_for_each_neighbour():
    tokens = SoundTokens(TinyEncoder(), width=8, neighbours=(-2, -1, 0, 1))
    assert tokens.hear(clip(log_mel=torch.randn(5, 1, 96, 64))).shape == (5, 28, 8)


def test_hear_is_the_differentiable_call_without_gradient():
    torch.manual_seed(0)
    tokens = SoundTokens(SmallLogMelEncoder(4), width=8)
    heard = clip(70, log_mel=torch.randn(70, 1, 96, 64))
    expected = tokens(heard.log_mel, heard.times)
    torch.testing.assert_close(tokens.hear(heard), expected)
    assert not tokens.hear(heard).requires_grad
    expected.square().sum().backward()
    assert tokens.encoder.layers[0].weight.grad.abs().max() > 0


def test_a_waveform_is_encoded_frame_by_frame():
    torch.manual_seed(0)
    waveform = torch.cat([torch.zeros(32_000), torch.randn(48_000) * 0.1])
    tokens = SoundTokens(SmallLogMelEncoder(4), width=8, neighbours=(0,))
    heard = tokens.hear(clip(waveform=waveform, sampling="avsbench"))
    torch.testing.assert_close(heard[0], heard[1])
    assert not torch.allclose(heard[1], heard[3], atol=1e-2)


def test_other_neighbours_and_other_times_give_other_tokens():
    torch.manual_seed(0)
    tokens = SoundTokens(TinyEncoder(), width=8, neighbours=(0, 1))
    log_mel = torch.randn(3, 1, 96, 64)
    changed = log_mel.clone()
    changed[2] += torch.randn(96, 64)
    one, other = (tokens(x, torch.arange(3.0)) for x in (log_mel, changed))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1, :25], other[1, :25])
    assert not torch.allclose(one[1, 25], other[1, 25])
    later = tokens(log_mel, torch.arange(3.0) * 0.3)
    assert torch.equal(one[:, :25], later[:, :25])
    assert not torch.allclose(one[0, 25], later[0, 25])


def test_beyond_the_end_a_neighbour_is_the_last_frame():
    tokens = SoundTokens(TinyEncoder(), width=8, neighbours=(-1, 0, 1))
    heard = tokens.hear(clip(1, log_mel=torch.randn(1, 1, 96, 64)))
    torch.testing.assert_close(heard[:, 24], heard[:, 25])
    torch.testing.assert_close(heard[:, 25], heard[:, 26])


def test_embeddings_stand_in_where_there_is_nothing_else():
    tokens = SoundTokens(None, width=8)
    embedding = torch.rand(5, 128)
    assert tokens.hear(clip(audio_embedding=embedding)).shape == (5, 2, 8)
    assert tokens.hear(clip(audio_embedding=embedding[:, :64])) is None
    assert tokens.hear(clip(waveform=torch.zeros(80_000))) is None
    assert SoundTokens(TinyEncoder(), 8).hear(clip()) is None


def test_the_embedding_alone_is_the_papers_one_token():
    tokens = SoundTokens(None, width=8, tokens="embedding")
    embedding = torch.rand(5, 128)
    assert torch.equal(tokens.hear(clip(audio_embedding=embedding)), embedding[:, None])
    tokens = SoundTokens(TinyEncoder(), width=8, tokens="embedding")
    assert tokens.hear(clip(log_mel=torch.randn(5, 1, 96, 64))).shape == (5, 1, 2)


def test_silence_is_zero_to_the_small_encoder():
    silence = torch.full((1, 1, 96, 64), 0.01).log()
    encoder = SmallLogMelEncoder(4)
    assert encoder.conv_map(silence).abs().max() < 1e-5


@pytest.mark.parametrize("audio_encoder", ["SmallLogMelEncoder", dict(type="small_log_mel")])
def test_a_propagator_encodes_audio_with_the_encoder_of_its_config(audio_encoder):
    propagator = AudioInsertPropagator("AOTT", **TOY, audio_encoder=audio_encoder, audio_width=32)
    heard = propagator.hear(clip(waveform=torch.randn(80_000) * 0.1))
    assert heard.shape == (5, 26, 32)
    memory = propagator.start(torch.rand(1, 3, 17, 17), heard[:1], torch.ones(1, 17, 17).long())
    assert propagator.step(memory, torch.rand(1, 3, 17, 17), heard[1:2]).shape == (1, 2, 17, 17)


def test_vggish_fits_the_interface():
    tokens = SoundTokens(build(MODELS, "VGGish"), width=8)
    assert tokens.hear(clip(2, log_mel=torch.zeros(2, 1, 96, 64))).shape == (2, 26, 8)


def test_without_an_audio_encoder_there_are_no_tokens():
    deaf = AudioInsertPropagator("AOTT", **TOY, insert_layers=(), audio_identity=False)
    assert deaf.hear(clip(audio_embedding=torch.rand(5, 128))) is None
    assert not [name for name, _ in deaf.named_parameters() if "audio" in name or "sound" in name]


def test_log_mels_without_an_encoder_are_an_error():
    with pytest.raises(PropagationError, match="Expected an audio encoder for log-mels, got None"):
        SoundTokens(None, width=8)(torch.zeros(2, 1, 96, 64), torch.arange(2))
