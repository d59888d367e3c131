"""`coprop check`: our own parts keep the rules, and each broken rule is found by its name."""

import json

import pytest
import stand_ins
import torch
from einops import rearrange
from make_propagators import toy
from torch import nn
from toy_training import TOY_PROCESSOR
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.adapters import CallableBackend
from coprop_plugin.adapters.avsegformer import AVSegFormerBackend
from coprop_plugin.adapters.catr import CATRBackend
from coprop_plugin.adapters.tpavi import TPAVIBackend
from coprop_plugin.batch import load_backend, load_propagator, load_provider
from coprop_plugin.benchmark.conformance import check_backend, check_propagator, check_provider
from coprop_plugin.errors import AdapterWarning
from coprop_plugin.keyframes import KeyframeProcessor
from coprop_plugin.propagation import HoldPropagator
from coprop_plugin.types import ControlPoints

SIZE = 32


def avsegformer():
    torch.manual_seed(0)
    model = stand_ins.AVSegFormer().eval()
    arguments = (torch.rand(5, 1, 96, 64), torch.rand(5, 3, SIZE, SIZE))
    return AVSegFormerBackend(model), arguments


def tpavi():
    torch.manual_seed(0)
    vggish = stand_ins.StandInVGGish().eval()
    backend = TPAVIBackend(stand_ins.TPAVI(stages=(0, 2)).eval(), vggish=vggish)
    return backend, (torch.rand(5, 3, SIZE, SIZE), torch.rand(5, 128))


def catr():
    torch.manual_seed(0)
    frames = torch.rand(5, 3, SIZE, SIZE)
    tensors = rearrange(frames, "(t b) c h w -> t b c h w", b=1)
    nested = stand_ins.NestedTensor(tensors, torch.zeros(5, 1, SIZE, SIZE, dtype=torch.bool))
    pad = torch.zeros(1, 5, dtype=torch.bool)
    vggish = stand_ins.StandInVGGish().eval()
    backend = CATRBackend(stand_ins.CATR().eval(), vggish=vggish)
    return backend, (nested, pad, frames, torch.rand(5, 128))


def function():
    def heard(frames, audio):
        return 9 * (frames[:, :1] - 0.5) * audio.abs().mean(1)[:, None, None, None]

    return CallableBackend(heard), (torch.rand(4, 3, SIZE, SIZE), torch.rand(4, 15_600))


def broken(report):
    return {finding.rule for finding in report.findings if finding.status == "failed"}


@pytest.mark.parametrize(
    "make", [avsegformer, tpavi, pytest.param(catr, marks=pytest.mark.slow), function]
)
def test_adapters_keep_the_rules_of_backends(make):
    backend, arguments = make()
    report = check_backend(backend, call=lambda: (arguments, {}))
    assert not report.failed, str(report)
    statuses = {finding.rule: finding.status for finding in report.findings}
    assert statuses["drop-in call"] == "passed"


def test_our_keyframe_processor_keeps_them():
    torch.manual_seed(0)
    report = check_backend(KeyframeProcessor(**TOY_PROCESSOR).eval())
    assert not report.failed, str(report)


@pytest.mark.parametrize("provider", ["every_n", "cosine"])
def test_providers_keep_theirs(provider):
    config = '{"type": "every_n", "n": 3}' if provider == "every_n" else provider
    report = check_provider(load_provider(config))
    assert not report.failed, str(report)


@pytest.mark.parametrize("make", [HoldPropagator, toy])
def test_propagators_keep_theirs(make):
    report = check_propagator(make())
    assert not report.failed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sounding_object", "keyframe_processor"])
def test_the_models_that_ship_keep_the_rules(name):
    assert not check_backend(load_backend(name)[0]).failed


@pytest.mark.slow
def test_the_other_parts_that_ship_keep_the_rules():
    for name in ("flow", "appearance", "learned"):
        assert not check_propagator(load_propagator(name)).failed
    for name in ("novelty", "change_detector"):
        assert not check_provider(load_provider(name)).failed


FAULTS = {
    "shape": lambda logits, clip, indices: logits[..., ::2],
    "dtype, numbers": lambda logits, clip, indices: logits.double(),
    "deterministic": lambda logits, clip, indices: logits + torch.rand(()),
    "a batch equals one by one": lambda logits, clip, indices: logits + len(indices),
    "order and repetition": lambda logits, clip, indices: logits[torch.tensor(indices).argsort()],
    "context": lambda logits, clip, indices: logits + clip.rgb().mean(),
    "a clip of one frame": lambda logits, clip, indices: logits / (len(clip) > 1),
    "a silent clip": lambda logits, clip, indices: logits / clip.waveform.abs().max(),
    "another size": lambda logits, clip, indices: logits[:, :, : clip.size[1] - 2],
}
"""A rule, and what breaks it."""


class Careless:
    """A backend that breaks one rule."""

    num_classes, context = 1, "frame"

    def __init__(self, fault=""):
        torch.manual_seed(0)
        self.fault, self.network = fault, nn.Conv2d(3, 1, 3, padding=1)
        if fault == "attributes":
            self.num_classes = 0

    def segment_keyframes(self, clip, indices):
        keeps = self.fault == "no gradient is kept" and torch.is_grad_enabled()
        with torch.set_grad_enabled(keeps):
            logits = self.network(clip.rgb(indices))
            if self.fault == "weights, flags and clip stay":
                self.network.bias += 1e-3
            return FAULTS.get(self.fault, lambda logits, *_: logits)(logits, clip, indices)


UNDER_GRAD = ("attributes", "no gradient is kept", "weights, flags and clip stay")


def test_parts_without_a_fault_break_no_rule():
    assert broken(check_backend(Careless())) == set()
    assert broken(check_provider(Guess())) == set()
    assert broken(check_propagator(Drifts())) == set()


@pytest.mark.parametrize("fault", [*FAULTS, *UNDER_GRAD])
def test_a_broken_rule_of_backends_is_found(fault):
    report = check_backend(Careless(fault))
    assert fault in broken(report), str(report)
    # A rule says what to change, or what the part raised.
    texts = [f.text for f in report.findings if f.status == "failed"]
    assert all(len(text.split()) > 3 for text in texts)


def test_a_backend_that_cannot_segment_no_frames_is_warned():
    class Stacks(Careless):
        def segment_keyframes(self, clip, indices):
            return torch.stack(
                [super(Stacks, self).segment_keyframes(clip, [i])[0] for i in indices]
            )

    report = check_backend(Stacks())
    assert not report.failed
    assert {f.rule for f in report.findings if f.status == "warning"} == {"no frames"}


def test_probabilities_are_told_from_logits():
    def softmax(frames, audio):
        return (9 * frames[:, :2] - 4).softmax(1)

    def sigmoid(frames, audio):
        return (9 * frames[:, :1] - 4).sigmoid()

    with pytest.warns(AdapterWarning, match="as after a softmax"):
        report = check_backend(CallableBackend(softmax, num_classes=2))
    assert broken(report) == {"logits, not probabilities"}
    with pytest.warns(AdapterWarning, match="as after a sigmoid"):
        report = check_backend(CallableBackend(sigmoid))
    assert not report.failed
    assert "warning    logits, not probabilities" in str(report)


def test_dropout_of_a_model_left_in_training_mode_is_switched_off():
    class Drops(Careless):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(self.network, nn.Dropout(0.5)).eval()

    assert broken(check_backend(Drops())) == set()
    assert broken(check_backend(CallableBackend(Drops().network, audio="none"))) == set()


def test_a_return_value_that_is_not_the_models_own_is_found():
    class Rounds(CallableBackend):
        def repack(self, call, logits):
            return super().repack(call, logits).round()

    _, arguments = function()
    backend = Rounds(lambda frames, audio: 9 * frames[:, :1] - 4)
    report = check_backend(backend, call=lambda: (arguments, {}))
    assert broken(report) == {"drop-in call"}


class Guess:
    """A provider that breaks one rule."""

    def __init__(self, fault=""):
        self.fault, self.seen = fault, set()

    def propose(self, clip):
        number, log, frames = clip.num_frames, {}, [0]
        match self.fault:
            case "one flag a frame":
                number += 1
            case "deterministic":
                frames += [1] * bool(torch.rand(()) < 0.3)
            case "no memory of other clips":
                self.seen.add(number)
                frames += [1] * (len(self.seen) > 1)
            case "frames may be absent":
                assert clip.rgb().max() > 0
            case "log is JSON":
                log["levels"] = torch.ones(1)
            case "a clip of one frame":
                frames += [number > 1]
        return ControlPoints.from_indices(frames, number, "guess", log)


@pytest.mark.parametrize(
    "fault",
    [
        "one flag a frame",
        "no memory of other clips",
        "frames may be absent",
        "log is JSON",
        "a clip of one frame",
    ],
)
def test_a_broken_rule_of_providers_is_found(fault):
    assert fault in broken(check_provider(Guess(fault)))


class Drifts(HoldPropagator):
    """A propagator that breaks one rule."""

    def __init__(self, fault=""):
        self.fault, self.last = fault, None

    def start(self, frame, sound, masks):
        self.last = memory = super().start(frame, sound, masks)
        if self.fault == "weights, flags and inputs stay":
            masks += 1
        return memory

    def step(self, memory, frame, sound):
        match self.fault:
            case "shape":
                return super().step(memory, frame, sound)[:, 1:]
            case "deterministic":
                return super().step(memory, frame, sound) + torch.rand(())
            case "all state is in the memory":
                return super().step(self.last, frame, sound)
            case "a batch equals one by one":
                return super().step(memory, frame, sound) * len(memory)
            case "frames as uint8":
                return super().step(memory, frame, sound) + frame.float().mean()
            case "without audio":
                return super().step(memory, frame, sound) + sound.mean()
        return super().step(memory, frame, sound)

    def hear(self, clip):
        if self.fault == "audio features":
            return torch.rand(2, 4)
        return torch.ones(len(clip), 1) if self.fault == "without audio" else None


@pytest.mark.parametrize(
    "fault",
    [
        "shape",
        "audio features",
        "deterministic",
        "all state is in the memory",
        "a batch equals one by one",
        "frames as uint8",
        "without audio",
        "weights, flags and inputs stay",
    ],
)
def test_a_broken_rule_of_propagators_is_found(fault):
    assert fault in broken(check_propagator(Drifts(fault)))


PARTS = """
import torch
from coprop_plugin.propagation import HoldPropagator
from coprop_plugin.control_points.providers import EveryNProvider

def bright(frames, audio):
    return 9 * frames[:, :1] - 4

def noisy(frames, audio):
    return bright(frames, audio) + torch.rand(())

def call():
    return torch.rand(4, 3, 32, 32), torch.rand(4, 15_600)

def provider():
    return EveryNProvider(2)

hold = HoldPropagator()
"""


def check(*arguments):
    return CliRunner().invoke(cli.app, ["check", *map(str, arguments)])


def test_the_command_prints_a_report_and_exits_with_1_on_failures(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    good = check("backend", f"{tmp_path}/parts.py:bright", "--call", f"{tmp_path}/parts.py:call")
    assert good.exit_code == 0, good.output
    assert "0 failed" in good.stdout
    bad = check("backend", f"{tmp_path}/parts.py:noisy", "--json")
    assert bad.exit_code == 1
    findings = json.loads(bad.stdout)["findings"]
    assert "deterministic" in {f["rule"] for f in findings if f["status"] == "failed"}
    for kind, name in (("provider", "provider"), ("propagator", "hold")):
        done = check(kind, f"{tmp_path}/parts.py:{name}")
        assert (done.exit_code, "0 failed" in done.stdout) == (0, True), done.output


def test_what_cannot_be_checked_is_wrong_usage(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    for arguments, words in (
        (("propagator", f"{tmp_path}/parts.py:call"), "gave a tuple"),
        (("provider", "novelty", "--call", "x.py:y"), "Leave it out"),
        (("backend", f"{tmp_path}/parts.py:nothing"), "has no 'nothing'"),
    ):
        done = check(*arguments)
        assert done.exit_code == 2
        assert words in done.stderr
