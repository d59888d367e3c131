"""CLAP's embeddings instead of spectral shapes."""

import pytest
import torch
from tiny_pretrained import save_clap

from coprop_plugin.benchmark import untrained_clap
from coprop_plugin.control_points import ClapProvider
from coprop_plugin.errors import CheckpointError, ClipError, ControlPointError
from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import Clip

SR = 16_000


@pytest.fixture(scope="module")
def clip():
    """Two seconds of a tone, two of noise, one of silence, one of the tone; five a second."""
    t = torch.arange(6 * SR) / SR
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * t)
    noise = 0.3 * torch.randn(6 * SR, generator=torch.Generator().manual_seed(0))
    waveform = torch.where(t < 2, tone, torch.where(t < 4, noise, torch.where(t < 5, 0 * t, tone)))
    return Clip(torch.zeros(30, 3, 2, 2), waveform, SR, torch.arange(30) / 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clap(tmp_path_factory.mktemp("clap"), untrained_clap())


def test_a_model_from_a_folder_finds_changes_and_silence(folder, clip):
    provider = build(PROVIDERS, dict(type="clap", model=str(folder), local_files_only=True))
    assert provider.model == str(folder), "loaded when it is first used"
    points = provider.propose(clip)
    assert points.indices == [0, 10, 20, 25]
    assert [b["rule"] for b in points.log["boundaries"]] == ["change", "offset", "onset"]
    assert points.silent.nonzero().flatten().tolist() == list(range(20, 25))
    assert points.source == "clap"
    assert provider.propose(clip) == untrained_clap().propose(clip) == points


def test_the_change_is_found_in_the_embedding(clip):
    provider = untrained_clap()
    with torch.no_grad():
        for parameter in provider.model.audio_projection.linear2.parameters():
            parameter.zero_()
        provider.model.audio_projection.linear2.bias[0] = 1.0
    # All embeddings are the same now; silence is found without them.
    assert provider.propose(clip).indices == [0, 20, 25]


def test_embeddings_do_not_depend_on_the_rest_of_their_batch():
    provider = untrained_clap()
    windows = 0.1 * torch.randn(20, 24_000, generator=torch.Generator().manual_seed(1))
    together = torch.from_numpy(provider.embed(windows))
    alone = torch.cat([torch.from_numpy(provider.embed(w[None])) for w in windows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert torch.allclose(together.norm(dim=1), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("num_samples", [0, 1, 900, 9_000])
def test_very_short_audio_is_accepted(num_samples):
    clip = Clip(torch.zeros(1, 3, 2, 2), torch.ones(num_samples) * 0.1, SR, torch.zeros(1))
    assert untrained_clap().propose(clip).indices == [0]


def test_wrong_arguments_are_refused(clip):
    with pytest.raises(CheckpointError, match="nobody/has-this is not on this machine"):
        ClapProvider("nobody/has-this", local_files_only=True).propose(clip)
    with pytest.raises(ControlPointError, match="Expected a model and its extractor"):
        ClapProvider(untrained_clap().model)
    with pytest.raises(ControlPointError, match="seconds above 0, got hop_s=0"):
        ClapProvider(hop_s=0)
    with pytest.raises(ClipError, match="Expected a clip with a waveform"):
        untrained_clap().propose(Clip(torch.zeros(2, 3, 2, 2), log_mel=torch.zeros(2, 1, 96, 64)))
