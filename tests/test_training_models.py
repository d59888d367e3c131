"""What the stages train: gradients where they belong, sound that matters, outcomes that score."""

import pytest
import torch
from mmengine import MessageHub
from tiny_pretrained import save_clip_text
from torch.utils.data import default_collate
from toy_training import SIZE, TOY_PROCESSOR, TOY_PROPAGATOR

from coprop_plugin.benchmark.metrics import MaskScores, Outcome
from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.propagation import load_propagator
from coprop_plugin.registry import MODELS
from coprop_plugin.training import KeyframeTraining, PropagatorTraining
from coprop_plugin.training.propagator_stage import permuted_ids
from coprop_plugin.world import SpriteClips, WorldClips, WorldFrames


def batch_of(data, count=2):
    return default_collate([data[i] for i in range(count)])


def stage(kind, *args, **options):
    torch.manual_seed(0)
    return kind(*args, **options)


@pytest.fixture
def at_progress():
    """Set the progress of the run in mmengine's message hub, as its Runner does."""
    hub = MessageHub.get_current_instance()
    before = {key: hub.runtime_info.get(key) for key in ("iter", "max_iters")}

    def set_progress(share):
        hub.update_info_dict(dict(iter=round(1000 * share), max_iters=1000))

    yield set_progress
    hub.update_info_dict(before)


@pytest.mark.parametrize("num_classes", [1, 11])
def test_keyframes_are_learned(num_classes):
    training = stage(KeyframeTraining, dict(num_classes=num_classes, **TOY_PROCESSOR))
    batch = batch_of(WorldFrames("train", length=8, size=SIZE, silenced=0.0))
    optimizer = torch.optim.Adam(training.parameters(), 3e-3)
    totals = []
    for _ in range(25):
        loss = sum(training(**batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.7 * totals[0]
    idle = [n for n, p in training.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.parametrize("num_classes", [1, 11])
def test_keyframe_outcomes_can_be_scored(num_classes):
    training = stage(KeyframeTraining, dict(num_classes=num_classes, **TOY_PROCESSOR)).eval()
    with torch.no_grad():
        outcomes = training(**batch_of(WorldFrames("val", length=8, size=SIZE), 3), mode="predict")
    assert len(outcomes) == 3
    outcome = Outcome.from_any(outcomes[1])
    assert outcome.num_classes == num_classes
    assert outcome.masks.shape == outcome.truth.shape == (1, *SIZE)


def test_the_propagator_learns_to_carry(at_progress):
    training = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=0.0)
    batch = batch_of(WorldClips("train", length=8, size=SIZE, num_frames=3, silence_prob=0.0))
    optimizer = torch.optim.Adam(training.parameters(), 1e-2)
    totals = []
    for step in range(15):
        at_progress(step / 15)
        loss = sum(training(**batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]


def test_the_keyframe_itself_is_learned_from_ever_less(at_progress):
    training = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=0.0)
    batch = batch_of(WorldClips("train", length=8, size=SIZE, num_frames=3, silence_prob=0.0))
    heard = []
    for progress in (0.0, 0.99):
        at_progress(progress)
        with torch.no_grad():
            heard.append(float(training(**batch)["loss_reference"]))
    assert heard[0] > 10 * heard[1] > 0
    at_progress(1.0)
    assert list(training(**batch)) == ["loss_masks"]
    at_progress(0.0)
    guided = stage(PropagatorTraining, TOY_PROPAGATOR | dict(guide="flow"))
    assert list(guided(**batch)) == ["loss_masks"]
    training(**batch)["loss_reference"].backward()
    assert training.propagator.network.identity.bank.weight.grad.abs().sum() > 0


def test_own_predictions_follow_true_masks_and_the_bank_is_frozen(at_progress):
    training = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=0.0)
    batch = batch_of(WorldClips("train", length=8, size=SIZE, num_frames=3, silence_prob=0.0))
    bank = training.propagator.network.identity.bank.weight
    remembered = []
    step = training.propagator.step

    def spy(memory, frame, sound, masks=None):
        remembered.append(masks is not None)
        return step(memory, frame, sound, masks)

    training.propagator.step = spy
    for progress, teaches in ((0.0, True), (0.5, False)):
        at_progress(progress)
        training.zero_grad()
        sum(training(**batch).values()).backward()
        assert remembered[-2:] == [teaches, teaches]
        assert (bank.grad is not None) == teaches


def test_without_sound_the_audio_encoder_gets_no_gradient(at_progress):
    at_progress(0.0)
    clips = batch_of(WorldClips("train", length=8, size=SIZE, num_frames=2))
    training = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=1.0)
    sum(training(**clips).values()).backward()
    assert all(p.grad is None for p in training.propagator.sound.parameters())
    heard = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=0.0)
    sum(heard(**clips).values()).backward()
    assert any(p.grad is not None for p in heard.propagator.network.inserts.parameters())


def test_clips_in_which_nothing_sounds_train_nothing():
    training = stage(PropagatorTraining, TOY_PROPAGATOR)
    frames = torch.zeros(1, 2, 3, *SIZE)
    loss = training(frames=frames, masks=torch.zeros(1, 2, *SIZE).long())["loss_masks"]
    loss.backward()
    assert loss.item() == 0
    training.eval()
    with torch.no_grad():
        (outcome,) = training(frames=frames, masks=torch.zeros(1, 2, *SIZE).long(), mode="predict")
    assert not outcome["masks"].any()


def test_propagator_outcomes_count_normal_frames_apart():
    training = stage(PropagatorTraining, TOY_PROPAGATOR).eval()
    batch = batch_of(WorldClips("val", length=8, size=SIZE, num_frames=3))
    with torch.no_grad():
        outcomes = training(**batch, mode="predict")
    scores = MaskScores()
    for outcome in outcomes:
        scores.update(Outcome.from_any(outcome))
    found = scores.compute()
    assert found["M_J_key"] == pytest.approx(1)
    assert 0 <= found["M_J_normal"] < 1


def test_identities_are_permuted_alike_in_all_frames():
    torch.manual_seed(3)
    masks = torch.randint(0, 4, (1, 1, 8, 8)).expand(6, 2, 8, 8).clone()
    masks[:, 1, 0] = 255
    permuted = permuted_ids(masks)
    assert torch.equal(permuted == 0, masks == 0)
    assert torch.equal(permuted == 255, masks == 255)
    pairs = [
        sorted(set(zip(masks[b].flatten().tolist(), permuted[b].flatten().tolist(), strict=True)))
        for b in range(6)
    ]
    assert all(len(found) == 5 for found in pairs)
    assert len({tuple(found) for found in pairs}) > 1


@pytest.mark.parametrize(
    ("kind", "options", "load"),
    [
        (KeyframeTraining, TOY_PROCESSOR, load_keyframe_processor),
        (PropagatorTraining, TOY_PROPAGATOR, load_propagator),
    ],
)
def test_trained_weights_can_be_exported_and_trained_further(kind, options, load, tmp_path):
    training = stage(kind, options)
    path = training.export(tmp_path / "trained.safetensors")
    weights = load(path).state_dict()
    again = kind(weights=path)
    for name, value in again.state_dict().items():
        assert torch.equal(value, weights[name.split(".", 1)[1]])


@pytest.mark.parametrize(
    ("kind", "options", "changes", "untrained"),
    [
        (KeyframeTraining, dict(processor=TOY_PROCESSOR), dict(num_classes=5), ("score", "dense")),
        (
            PropagatorTraining,
            dict(propagator=dict(**TOY_PROPAGATOR, insert_layers=(3,))),
            dict(insert_layers=(2, 3)),
            ("inserts.2.",),
        ),
    ],
)
def test_trained_weights_go_on_in_a_changed_network(kind, options, changes, untrained, tmp_path):
    file = kind(**options).export(tmp_path / "weights.safetensors")
    (name,) = options
    known, changed = (kind(**{name: given}, weights=file) for given in (None, changes))
    before, after = known.state_dict(), changed.state_dict()
    new = {n for n in after if n not in before or before[n].shape != after[n].shape}
    assert new
    assert all(any(part in n for part in untrained) for n in new)
    assert all(torch.equal(before[n], after[n]) for n in after.keys() - new)
    with pytest.raises(TrainingError, match="got an existing"):
        kind(**{name: getattr(changed, name)}, weights=file)


def test_invalid_calls_are_refused():
    propagator = PropagatorTraining(TOY_PROPAGATOR).propagator
    with pytest.raises(TrainingError, match="got an existing AudioInsertPropagator"):
        PropagatorTraining(propagator, aot_weights="aot.pth")
    with pytest.raises(TrainingError, match="options to train from scratch, or a file"):
        KeyframeTraining()
    training = MODELS.build(dict(type="coprop_plugin.KeyframeTraining", processor=TOY_PROCESSOR))
    with pytest.raises(TrainingError, match="Expected mode 'loss' or 'predict'"):
        training(mode="tensor")
    with pytest.raises(TrainingError, match="without log_mel, mask.*WorldFrames"):
        training(frame=torch.zeros(1, 3, *SIZE))


def test_without_sound_objects_are_followed_whether_they_sound_or_not(at_progress):
    at_progress(0.0)
    clips = batch_of(SpriteClips("train", length=8, size=SIZE, num_frames=3, silence_prob=1.0))
    assert not torch.equal(clips["masks"], clips["tracks"])
    steady = dict(clips, masks=clips["tracks"])

    def loss(batch, dropout):
        torch.manual_seed(0)
        training = stage(PropagatorTraining, TOY_PROPAGATOR, audio_dropout=dropout)
        return float(training(**batch)["loss_masks"])

    assert loss(clips, 1.0) == loss(steady, 1.0)
    assert loss(clips, 0.0) != loss(steady, 0.0)


def test_a_propagator_guided_by_words_learns_from_words(at_progress, tmp_path):
    at_progress(0.0)
    text = dict(
        model=str(save_clip_text(tmp_path / "clip")), embedding_dim=12, local_files_only=True
    )
    options = dict(TOY_PROPAGATOR, tokens="text", text=text)
    options.pop("audio_encoder", None)
    clips = batch_of(WorldClips("train", length=8, size=SIZE, num_frames=2))
    clips["words"][0] = "flute, drum"
    training = stage(PropagatorTraining, options, audio_dropout=0.0)
    for name, parameter in training.propagator.network.named_parameters():
        if "project" in name and "inserts" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    loss = training(**clips)["loss_masks"]
    loss.backward()
    assert training.propagator.sound.from_text.weight.grad.abs().sum() > 0
    others = dict(clips, words=["engine" for _ in clips["words"]])
    assert float(training(**others)["loss_masks"]) != float(loss)
    training.eval()
    assert len(training(**clips, mode="predict")) == len(clips["masks"])
