"""The rules of a `ControlPointProvider`, Eq. (1)."""

import json
from dataclasses import replace
from functools import cache

import torch

from coprop_plugin.benchmark.conformance.check_clips import check_clip, silent, without_frames
from coprop_plugin.benchmark.conformance.findings import (
    PASSED,
    ConformanceReport,
    Rule,
    Verdict,
    check_rules,
)
from coprop_plugin.benchmark.conformance.part_state import PartState, digest_of
from coprop_plugin.benchmark.metrics import matched_control_points
from coprop_plugin.benchmark.plug_and_play.cost import measured
from coprop_plugin.errors import CopropError, short_reason
from coprop_plugin.pipeline.schedule import check_points
from coprop_plugin.types import Clip, ControlPointProvider, ControlPoints, StreamingProvider
from coprop_plugin.world import Scene

_TRUTH_S = 8.0
"""Length of the scenes whose control points are known."""


def check_provider(provider: ControlPointProvider, name: str = "") -> ConformanceReport:
    """Check a control-point provider against the rules that `wrap` relies on.

    Args:
        provider: The provider.
        name: Its name in the report; by default that of its class.

    Returns:
        The report.

    Example:
        >>> from coprop_plugin.control_points.providers import EveryNProvider
        >>> check_provider(EveryNProvider(2)).failed
        False
    """
    rules = _ProviderRules(provider)
    return check_rules("provider", name or type(provider).__name__, rules.all(), "one flag a frame")


class _ProviderRules:
    """The rules, on a clip of several seconds at four frames a second."""

    def __init__(self, provider: ControlPointProvider) -> None:
        self.provider = provider
        self.clip = check_clip(fps=4.0, frames=32)
        self.state = PartState(provider)
        self.inputs = digest_of(self.clip.frames, self.clip.waveform)

    def all(self) -> list[tuple[str, Rule]]:
        return [
            ("one flag a frame", self.one_flag_a_frame),
            ("deterministic", self.deterministic),
            ("no memory of other clips", self.no_memory),
            ("frames may be absent", self.frames_absent),
            ("log is JSON", self.log),
            ("a clip of one frame", self.one_frame),
            ("a silent clip", self.silence),
            ("sound shorter than the frames", self.short_sound),
            ("other frame and sample rates", self.rates),
            ("no waveform", self.no_waveform),
            ("streaming", self.streaming),
            ("weights, flags and clip stay", self.untouched),
            ("cost", self.cost),
            ("accuracy", self.accuracy),
        ]

    def one_flag_a_frame(self) -> Verdict:
        return self._points(self.clip)

    def _points(self, clip: Clip) -> Verdict:
        points = self.provider.propose(clip)
        if not isinstance(points, ControlPoints):
            return Verdict(
                "failed",
                f"Expected ControlPoints, got a {type(points).__name__}. Return "
                "`ControlPoints.from_indices(frames, clip.num_frames, source=NAME)`.",
            )
        if points.num_frames != clip.num_frames:
            return Verdict(
                "failed",
                f"Expected one flag for each of {clip.num_frames} frames, got "
                f"{points.num_frames}. Count frames of the clip, not seconds.",
            )
        check_points(points, clip)
        return PASSED

    def deterministic(self) -> Verdict:
        found = []
        for seed in (0, 1):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                found.append(self.provider.propose(self.clip))
        if not _equal(*found):
            return Verdict(
                "failed",
                "The same clip has other control points with another random seed. Fix the seed of "
                "what is drawn.",
            )
        return PASSED

    def no_memory(self) -> Verdict:
        before = self.provider.propose(self.clip)
        self.provider.propose(check_clip(fps=2.0))
        if not _equal(before, self.provider.propose(self.clip)):
            return Verdict(
                "failed",
                "A clip has other control points after another clip. Keep nothing of a clip in the "
                "provider.",
            )
        return PASSED

    def frames_absent(self) -> Verdict:
        verdict = self._points(without_frames(self.clip))
        if verdict.status == "failed":
            return verdict
        without = self.provider.propose(without_frames(self.clip))
        if not _equal(self.provider.propose(self.clip), without):
            return Verdict(
                "warning",
                "It uses frames, which are zero where the sound of a long video is analysed before "
                "its frames. Document it, or use the waveform alone.",
            )
        return PASSED

    def log(self) -> Verdict:
        points = self.provider.propose(self.clip)
        try:
            json.dumps(points.to_dict(self.clip.times))
        except (TypeError, ValueError) as error:
            return Verdict(
                "failed",
                f"Expected a log of JSON types, got: {short_reason(error)}. Use lists, numbers and "
                "text; `.tolist()` of tensors.",
            )
        return PASSED

    def one_frame(self) -> Verdict:
        return self._points(self.clip[5:6])

    def silence(self) -> Verdict:
        clip = silent(self.clip)
        verdict = self._points(clip)
        points = self.provider.propose(clip) if verdict.status == "passed" else None
        if points is not None and len(points.indices) > 1:
            return Verdict("measured", f"{len(points.indices)} control points in silence")
        return verdict

    def short_sound(self) -> Verdict:
        assert self.clip.waveform is not None
        half = len(self.clip.waveform) // 2
        return self._points(replace(self.clip, waveform=self.clip.waveform[:half]))

    def rates(self) -> Verdict:
        for fps, sample_rate in ((1.0, 8_000), (12.0, 48_000)):
            clip = check_clip(fps=fps, frames=round(3 * fps))
            waveform = clip.waveform_at(sample_rate)
            verdict = self._points(replace(clip, waveform=waveform, sample_rate=sample_rate))
            if verdict.status == "failed":
                text = f"At {fps:g} frames a second and {sample_rate} Hz: {verdict.text}"
                return replace(verdict, text=text)
        return PASSED

    def no_waveform(self) -> Verdict:
        clip = replace(self.clip, waveform=None, audio_embedding=torch.rand(len(self.clip), 128))
        try:
            return self._points(clip)
        except CopropError as error:
            return Verdict("skipped", f"It needs a waveform: {short_reason(error)}")
        except Exception as error:
            return Verdict(
                "warning",
                "In a drop-in call of a model that takes embeddings there is no waveform; it "
                f"raised {type(error).__name__}. Call `clip.waveform_at(HZ)`, whose error says so.",
            )

    def streaming(self) -> Verdict:
        if not isinstance(self.provider, StreamingProvider):
            return Verdict("skipped", "It has no `propose_ahead`.")
        steps = list(self.provider.propose_ahead(self.clip))
        whole = self.provider.propose(self.clip)
        if not steps or steps[-1][1] != len(self.clip) or not _equal(steps[-1][0], whole):
            return Verdict("failed", "Expected the points of `propose` last, final for all frames.")
        for points, final in steps:
            if not torch.equal(points.flags[:final], whole.flags[:final]):
                return Verdict("failed", f"Points before frame {final} changed after being final.")
        return PASSED

    def untouched(self) -> Verdict:
        changed = self.state.changes()
        if digest_of(self.clip.frames, self.clip.waveform) != self.inputs:
            changed.append("the clip's frames or waveform")
        if changed:
            return Verdict(
                "failed", f"Calls changed {' and '.join(changed)}. Restore them, or use a copy."
            )
        return PASSED

    def cost(self) -> Verdict:
        clips = [clip for clip, _ in _with_truth()]
        _, cost = measured(lambda: [self.provider.propose(clip) for clip in clips])
        return Verdict("measured", f"{60 * cost.seconds / _TRUTH_S / len(clips):.2f} s a minute")

    def accuracy(self) -> Verdict:
        counts = [0, 0, 0]  # matched, predicted, true
        for clip, truth in _with_truth():
            new = matched_control_points(self.provider.propose(clip), truth, tolerance=1)
            counts = [a + b for a, b in zip(counts, new, strict=True)]
        score = 2 * counts[0] / max(counts[1] + counts[2], 1)
        return Verdict("measured", f"F1 {score:.2f} within 0.25 s, on scenes of the world")


@cache
def _with_truth() -> list[tuple[Clip, ControlPoints]]:
    scenes = [Scene.made_up(seed=seed, duration_s=_TRUTH_S, size=(8, 8)) for seed in (3, 4)]
    clips = [(scene, scene.clip(fps=4.0)) for scene in scenes]
    return [(clip, scene.control_points(clip)) for scene, clip in clips]


def _equal(one: ControlPoints, other: ControlPoints) -> bool:
    return torch.equal(one.flags, other.flags)
