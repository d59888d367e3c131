"""The Keyframe Processor's parts, its weights in files, and backbones of others."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from coprop_plugin.audio.small_encoder import SmallLogMelEncoder
from coprop_plugin.errors import CheckpointError
from coprop_plugin.keyframes import (
    KeyframeProcessor,
    load_keyframe_processor,
    save_keyframe_processor,
)
from coprop_plugin.keyframes.cross_attention import Attention, SoundFusion, sine_code
from coprop_plugin.keyframes.frame_tokens import EMBEDDING_PLACE, FrameSound
from coprop_plugin.keyframes.mask_decoder import QueryDecoder
from coprop_plugin.layers import PVT_V2, build_backbone

TOY = dict(
    backbone=dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    width=16,
    mask_width=8,
    num_queries=4,
    encoder_layers=1,
    decoder_layers=1,
    heads=2,
)
BACKBONES = {
    "pvt": dict(
        type="pvt_v2_b0",
        hidden_sizes=(8, 16, 16, 24),
        depths=(1, 1, 1, 1),
        num_attention_heads=(1, 1, 2, 2),
        mlp_ratios=(2, 2, 2, 2),
    ),
    "resnet": dict(
        type="resnet50", embedding_size=8, hidden_sizes=(8, 16, 16, 24), depths=(1, 1, 1, 1)
    ),
}


def toy(num_classes=1, **options):
    torch.manual_seed(0)
    return KeyframeProcessor(num_classes, **{**TOY, **options}).eval()


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours = Attention(8, memory_width=6, heads=2)
    theirs = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    with torch.no_grad():
        for name, layer in zip("qkv", (ours.query, ours.key, ours.value), strict=True):
            getattr(theirs, f"{name}_proj_weight").copy_(layer.weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.project.state_dict())
    queries, keys, values = torch.randn(2, 5, 8), torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    expected, _ = theirs(queries, keys, values)
    torch.testing.assert_close(ours(queries, keys, values), expected)


def test_pixels_attend_to_audio_tokens():
    torch.manual_seed(0)
    fuse, sound = SoundFusion(8, 6, heads=2), torch.randn(1, 4, 6)
    pixels = torch.randn(1, 8, 3, 5)
    heard = fuse(pixels, sound) - pixels
    assert heard.shape == pixels.shape
    assert heard.flatten(2).std(2).min() > 1e-3
    # The order of tokens says nothing; their codes do.
    torch.testing.assert_close(fuse(pixels, sound.flip(1)), fuse(pixels, sound))


def test_tokens_are_places_of_the_map_the_embedding_and_null():
    torch.manual_seed(0)
    hear = FrameSound(SmallLogMelEncoder(4), width=8)
    tokens = hear(torch.randn(2, 1, 96, 64))
    assert tokens.shape == (2, 6 * 4 + 2, 8)
    null, embedding = tokens[:, -1], tokens[:, EMBEDDING_PLACE]
    torch.testing.assert_close(null[0], null[1])
    assert not torch.allclose(embedding[0], embedding[1])


def test_places_are_told_apart_on_maps_of_any_size():
    for size in ((1, 1), (7, 10), (14, 20)):
        code = sine_code(*size, channels=16)
        assert len(code.unique(dim=0)) == size[0] * size[1]


@pytest.mark.parametrize("background", [False, True])
def test_masks_of_queries_add_up_as_said(background):
    torch.manual_seed(0)
    decoder = QueryDecoder(8, 8, 3, num_objects=2, layers=1, heads=2, background=background)
    queries, feature = torch.randn(1, 3, 8), torch.randn(1, 8, 4, 5)
    answer = decoder._predict(queries, feature)
    scores = decoder.score(queries)[0]
    embedding = decoder.embed(queries)[0]
    for c in range(2):
        loud = torch.zeros(4, 5)
        for q in range(3):
            mask = (embedding[q, :, None, None] * feature[0]).sum(0) / 8**0.5
            loud += scores[q, c].exp() * mask.sigmoid()
        torch.testing.assert_close(answer.logits[0, c + background], (loud + 3e-7).log())
    if background:
        assert not answer.logits[:, 0].any()


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_of_transformers(name):
    processor = toy(3, backbone=BACKBONES[name])
    assert processor.backbone.widths == (8, 16, 16, 24)
    for size in ((64, 64), (45, 70), (9, 33)):
        assert processor(torch.rand(1, 3, *size), torch.randn(1, 1, 96, 64)).shape[2:] == size
    processor.train()(torch.rand(2, 3, 64, 64), torch.randn(2, 1, 96, 64)).sum().backward()
    assert all(p.grad is not None for p in processor.backbone.parameters())


@pytest.mark.parametrize(("name", "millions"), [("resnet50", 23.5), ("pvt_v2_b5", 81.4)])
def test_backbones_have_the_published_sizes(name, millions):
    with torch.device("meta"):
        backbone = build_backbone(name)
    parameters = sum(p.numel() for p in backbone.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.1)
    if name in PVT_V2:
        assert backbone.widths == (64, 128, 320, 512)


def test_pretrained_weights_are_read_once_and_not_named_in_a_file(tmp_path):
    donor = build_backbone(BACKBONES["pvt"])
    donor.model.save_pretrained(tmp_path / "donor")
    options = dict(BACKBONES["pvt"], pretrained=str(tmp_path / "donor"))
    processor = toy(backbone=options)
    for name, value in donor.state_dict().items():
        torch.testing.assert_close(processor.backbone.state_dict()[name], value)
    assert "pretrained" not in processor.config["backbone"]


def test_pretrained_weights_that_are_nowhere_are_named():
    options = dict(BACKBONES["resnet"], pretrained="nobody/nothing")
    with pytest.raises(CheckpointError, match="'nobody/nothing'.*Hugging Face hub"):
        build_backbone(options)


def test_vggish_fits_where_the_small_encoder_does():
    # 72 million weights are a matter of shapes here.
    with torch.device("meta"):
        processor = toy(audio_encoder="VGGish")
        assert processor.sound(torch.rand(2, 1, 96, 64)).shape == (2, 26, 16)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_saved_and_loaded_it_is_the_same(tmp_path, dtype):
    saved = toy(5, input_size=(32, 48), backbone=BACKBONES["resnet"])
    path = save_keyframe_processor(saved, tmp_path / "new" / "weights.safetensors", dtype)
    loaded = load_keyframe_processor(path)
    assert [p.name for p in path.parent.iterdir()] == ["weights.safetensors"]
    assert not loaded.training
    assert loaded.num_classes == 5
    assert loaded.input_size == (32, 48)
    close = dict(rtol=0, atol=0) if dtype is None else dict(rtol=1e-3, atol=1e-3)
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, **close)


def test_a_processor_around_a_module_cannot_be_saved(tmp_path):
    processor = toy(audio_encoder=SmallLogMelEncoder(4))
    with pytest.raises(CheckpointError, match="audio_encoder='SmallLogMelEncoder'"):
        save_keyframe_processor(processor, tmp_path / "weights.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_keyframe_processor(toy(), tmp_path / "file" / "weights.safetensors")


@pytest.fixture
def weights(tmp_path):
    return save_keyframe_processor(toy(), tmp_path / "weights.safetensors")


def rewritten(path, change):
    """Write the file again with its state and metadata changed."""
    state = load_file(path)
    metadata = {"format": "coprop_plugin.KeyframeProcessor/1", "config": json.dumps(TOY)}
    change(state, metadata)
    save_file(state, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, m: s.pop("layer_code"), "do not fit.*missing: layer_code.*save it again"),
        (lambda s, m: s.update(extra=torch.zeros(1)), "unknown: extra"),
        (lambda s, m: s.update(layer_code=torch.zeros(3)), "misshapen: layer_code"),
        (
            lambda s, m: m.update(format="else/1"),
            "KeyframeProcessor/1'.*got 'else/1'",
        ),
        (lambda s, m: m.update(config="{"), "cannot be built"),
        (lambda s, m: m.update(config='{"depth": 3}'), "cannot be built.*depth"),
        (lambda s, m: m.update(config='{"num_classes": 0}'), "cannot be built.*num_classes.*got 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, change, words):
    with pytest.raises(CheckpointError, match=words):
        load_keyframe_processor(rewritten(weights, change))


def test_damaged_and_missing_files_are_refused(weights, tmp_path):
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_keyframe_processor(weights)
    with pytest.raises(CheckpointError, match="There is no file"):
        load_keyframe_processor(tmp_path / "none.safetensors")
