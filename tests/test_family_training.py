"""The released families at toy width: trained on the made-up world, saved, and wrapped by name."""

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import default_collate
from toy_training import SIZE, TOY_PROCESSOR, toy_config

from coprop_plugin import wrap
from coprop_plugin.adapters import FAMILIES, find_backend, save_released
from coprop_plugin.errors import DatasetError, TrainingError
from coprop_plugin.keyframes import KeyframeProcessor, save_keyframe_processor
from coprop_plugin.registry import MODELS
from coprop_plugin.training import FamilyTraining, evaluate, train
from coprop_plugin.training.family_losses import query_losses
from coprop_plugin.types import Clip
from coprop_plugin.world import WorldSeconds, made_up_scene

SENSES = {name: TOY_PROCESSOR[name] for name in ("backbone", "audio_encoder")}
TOYS = dict(
    tpavi=dict(SENSES, width=16, head_widths=(8, 8), input_size=(32, 64)),
    avsegformer=dict(
        SENSES,
        width=16,
        num_queries=4,
        heads=2,
        layers=1,
        hidden=16,
        listening_hidden=16,
        freeze_audio=False,
        input_size=SIZE,
    ),
    catr=dict(
        SENSES,
        width=64,
        heads=2,
        fusion_heads=2,
        hidden=16,
        clip_hidden=16,
        layers=1,
        decoder_layers=2,
        num_queries=3,
        mask_width=8,
        dropout=0.0,
        input_size=(64, 96),
    ),
)
families = pytest.mark.parametrize("family", list(TOYS))


def stage(family, **options):
    torch.manual_seed(0)
    return FamilyTraining(dict(TOYS[family], type=family), **options)


def batch_of(data, count=2):
    return default_collate([data[i] for i in range(count)])


@families
@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_a_family_is_learned(family, alone):
    training = stage(family, alone=alone)
    batch = batch_of(WorldSeconds("train", length=8, size=SIZE, silenced=0.0))
    optimizer = torch.optim.Adam(training.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        loss = sum(training(**batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.85 * totals[0]
    assert [n for n, p in training.named_parameters() if p.grad is None] == []


@families
def test_a_trained_family_is_wrapped_by_name_and_encodes_audio_itself(family, tmp_path):
    training = stage(family)
    for name, parameter in training.named_parameters():
        if "attention" in name and name.endswith("batch_norm.weight"):
            torch.nn.init.ones_(parameter)  # TPAVI starts as if it were deaf.
    clip = made_up_scene(2_000, SIZE, duration_s=6.0).clip(sampling="avsbench")
    path = training.export(tmp_path / f"{family}.safetensors")
    model = wrap(family, weights=path, propagator="hold")
    assert model.backend.input_size == TOYS[family]["input_size"]
    heard = model.backend.segment_keyframes(clip, [1, 4])
    loud = Clip(clip.frames, torch.rand(96_000) - 0.5, 16_000, clip.times, sampling="avsbench")
    assert heard.shape == (2, 1, *SIZE)
    assert not torch.allclose(heard, model.backend.segment_keyframes(loud, [1, 4]))
    again = save_released(model.backend.network, tmp_path / "again.safetensors")
    saved, resaved = load_file(path), load_file(again)
    assert saved.keys() == resaved.keys() >= {"audio_encoder.project.weight"}
    assert all(torch.equal(saved[name], resaved[name]) for name in saved)


@families
def test_adapter_and_stage_agree(family):
    """What a stage scores in training is what its adapter gives in use."""
    training = stage(family).eval()
    data = WorldSeconds("val", length=2, size=SIZE)
    with torch.no_grad():
        outcome = training(**batch_of(data, 1), mode="predict")[0]
    item = data[0]
    clip = Clip(item["frames"], times=torch.arange(5) + 15 / 16, log_mel=item["log_mel"])
    backend = find_backend(training.model, context="window")
    probs = backend.segment_keyframes(clip, range(5)).sigmoid()
    torch.testing.assert_close(outcome["probs"], probs, atol=1e-5, rtol=1e-4)
    assert torch.equal(outcome["truth"], item["masks"])


@pytest.mark.parametrize("family", ["tpavi", "catr"])
def test_a_drop_in_call_with_log_mels_gives_the_models_own_numbers(family):
    model = FAMILIES[family].build(**TOYS[family]).eval()
    height, width = model.input_size
    frames, log_mel = torch.rand(5, 3, height, width), torch.randn(5, 1, 96, 64)
    arguments = (frames, log_mel)
    if family == "catr":
        from coprop_plugin.adapters.catr import VideoSamples

        mask = torch.zeros(5, 1, height, width, dtype=torch.bool)
        arguments = (VideoSamples(frames[:, None], mask), mask[:, :, 0, 0].T, *arguments)
    wrapped = wrap(model, control_points=dict(type="every_n", n=1), propagator="hold")
    with torch.no_grad():
        own, carried = model(*arguments), wrapped(*arguments)
    picked = (lambda x: x["pred_masks"]) if family == "catr" else (lambda x: x[0])
    assert torch.equal(picked(own), picked(carried))


@families
def test_a_family_trains_from_its_config(family, tmp_path):
    config = toy_config(f"world_{family}", tmp_path / "run", steps=2)
    senses = save_keyframe_processor(
        KeyframeProcessor(**TOY_PROCESSOR), tmp_path / "senses.safetensors"
    )
    config.model.update(model=dict(TOYS[family], type=family), senses=str(senses))
    weights = train(config)
    assert 0 <= evaluate(config, weights, tmp_path / "scores")["masks/M_J"] <= 1


def test_a_family_begins_with_the_senses_of_a_keyframe_processor(tmp_path):
    processor = KeyframeProcessor(**TOY_PROCESSOR)
    path = save_keyframe_processor(processor, tmp_path / "senses.safetensors")
    model = stage("tpavi", senses=path).model
    for ours, theirs in (
        (model.backbone, processor.backbone),
        (model.audio_encoder, processor.sound.encoder),
    ):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor)
    with pytest.raises(TrainingError, match="senses='shipped' do not fit.*same ones"):
        stage("tpavi", senses="shipped")


def test_models_that_cannot_be_trained_here_are_refused():
    with pytest.raises(TrainingError, match="tpavi, avsegformer, catr, got 'combo'"):
        FamilyTraining(dict(type="combo"))
    with pytest.raises(TrainingError, match="num_classes=1 and audio_encoder"):
        FamilyTraining(dict(TOYS["tpavi"], type="tpavi", audio_encoder=None))
    with pytest.raises(TrainingError, match="tpavi of 3 classes"):
        FamilyTraining(dict(TOYS["tpavi"], type="tpavi", num_classes=3))


def test_the_query_that_fits_best_is_trained_and_only_it():
    logits = torch.zeros(1, 1, 3, 4, 4)
    logits[0, 0, 1, :2] = 4.0
    logits[0, 0, 1, 2:] = -4.0
    logits.requires_grad_()
    scores = torch.zeros(1, 1, 3, 2, requires_grad=True)
    masks = torch.zeros(1, 1, 16, 16).long()
    masks[..., :8, :] = 5
    losses = query_losses([(logits, scores)], masks)
    assert sorted(losses) == ["loss_mask", "loss_score"]
    sum(losses.values()).backward()
    touched = logits.grad.abs().sum((0, 1, 3, 4)) > 0
    assert touched.tolist() == [False, True, False]
    # Column 0 says "sounds": it rises for the matched query and falls for the others.
    assert (scores.grad[0, 0, :, 0] < 0).tolist() == [False, True, False]


def test_frames_of_seconds_have_what_prevails_in_them():
    data = WorldSeconds("val", length=6, size=SIZE, num_frames=10)
    scene = made_up_scene(data.scene_seed(4), SIZE)
    clip = scene.clip(sampling="avsbench")
    item = data[4]
    assert torch.equal(item["frames"], clip.frames)
    assert torch.equal(item["masks"], scene.truth(clip))
    with pytest.raises(DatasetError, match="num_frames from 1 to 10.*got 11"):
        WorldSeconds("val", length=2, num_frames=11)


def test_the_stage_is_registered():
    built = MODELS.build(
        dict(type="coprop_plugin.FamilyTraining", model=dict(TOYS["catr"], type="catr"))
    )
    assert isinstance(built, FamilyTraining)
    assert built.family == "catr"
