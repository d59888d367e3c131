"""A propagator without weights that matches pixels to the appearance of the keyframe's objects.

Optical flow moves the keyframe's masks; a classifier of single pixels, fitted to the keyframe in
closed form, finds its objects by their colour and texture. Flow alone leaks onto what passes by and
stays behind when an object jumps; appearance alone knows neither edges nor shapes. Their log-odds
are added, and where flow has lost an object, the largest region that looks like it is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.layers import as_rgb
from coprop_plugin.propagation.baselines import as_logits
from coprop_plugin.propagation.geometry import check_keyframe, check_next_frame, one_hot
from coprop_plugin.propagation.optical_flow import (
    FlowPreset,
    RecentFlows,
    gray,
    import_cv2,
    pixel_positions,
    sample,
)
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

CHANNELS = 12
"""Numbers that describe a pixel: Lab, two blurs of it, and its local deviation."""

_LOOK_SIDE = 112
_FREQUENCY = 3.0
_RIDGE = 2e-3
_DOUBT = 5e-4
_SURE_LOOK = 0.02
_MOST_PIXELS = 512
_MOST_CHANGE = 0.12


def describe_pixels(picture: Tensor) -> np.ndarray:
    """Describe each pixel of a picture by its colour and what is around it.

    Args:
        picture: `[3, H, W]` RGB, uint8 or float in [0, 1].

    Returns:
        `[h, w, 12]` float32: Lab / 100, the same blurred a little and more, and the local standard
        deviation; at half the size, the shorter side at most 112 pixels.
    """
    cv2 = import_cv2()
    if picture.dtype != torch.uint8:
        picture = picture.clamp(0, 1)
    # Bytes are reordered before they become floats, which take four times as long.
    rgb = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
    rgb = as_rgb(torch.from_numpy(rgb)).float().numpy()
    height, width = rgb.shape[:2]
    scale = min(0.5, _LOOK_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    lab = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    lab *= 0.01
    near, far = cv2.GaussianBlur(lab, (0, 0), 1.25), cv2.GaussianBlur(lab, (0, 0), 3.0)
    deviation = cv2.sqrt(cv2.GaussianBlur((lab - near) ** 2, (0, 0), 1.25))
    return np.concatenate([lab, near, far, 2 * deviation], axis=2)


class PixelClassifier:
    """Tells objects apart by single pixels: ridge regression on random Fourier features.

    Fitted in closed form, every object and the background with the same weight (Rahimi and Recht,
    Random Features for Large-Scale Kernel Machines, 2007).

    Args:
        num_objects: n; object 0 is the background.
        num_features: Random features; more are finer and slower.
        sharpness: Of the probabilities.

    Example:
        >>> looks = np.zeros((1, 4, 12), np.float32)
        >>> looks[0, 2:] = 0.5
        >>> classifier = PixelClassifier(num_objects=1)
        >>> classifier.learn(looks, torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]))
        >>> classifier.probs(looks).argmax(0).tolist()
        [[0, 0, 1, 1]]
    """

    def __init__(self, num_objects: int, num_features: int = 128, sharpness: float = 3.0) -> None:
        # Whatever the default dtype is: the same numbers everywhere.
        generator = torch.Generator().manual_seed(1)
        exact: dict[str, Any] = dict(generator=generator, dtype=torch.float32)
        self.sharpness = sharpness
        self._directions = _FREQUENCY * torch.randn(CHANNELS, num_features, **exact)
        self._phases = 2 * torch.pi * torch.rand(num_features, **exact)
        self._moments = torch.zeros(num_features, num_features, dtype=torch.float32)
        self._targets = torch.zeros(num_features, num_objects + 1, dtype=torch.float32)
        self._weights = self._targets

    def learn(self, looks: np.ndarray, shares: Tensor, rate: float = 1.0) -> None:
        """Learn from a picture.

        Args:
            looks: `[h, w, 12]`, of `describe_pixels`.
            shares: `[1 + n, h, w]`, how much of each pixel belongs to each object; pixels of
                which nothing is known are 0 throughout.
            rate: How much this picture counts against all before it, 0 to 1.
        """
        known = shares.flatten(1).T
        weight = (known / known.sum(0).clamp_min(20)).sum(1, keepdim=True)
        used = weight[:, 0] > 0
        if not bool(used.any()):
            return
        known, weight = known[used], weight[used] / weight.sum()
        features = self._features(torch.from_numpy(looks).flatten(0, 1)[used])
        weighted = features * weight
        self._moments = torch.lerp(self._moments, weighted.T @ features, rate)
        self._targets = torch.lerp(self._targets, weighted.T @ (2 * known - 1), rate)
        ridge = _RIDGE * torch.eye(len(self._moments), dtype=torch.float32)
        self._weights = torch.linalg.solve(self._moments + ridge, self._targets)

    def probs(self, looks: np.ndarray) -> Tensor:
        """Return the probability of each object in each pixel: `[1 + n, h, w]`."""
        pixels = torch.from_numpy(looks).flatten(0, 1)
        # In pieces that stay in a core's cache.
        scores = [self._features(part) @ self._weights for part in pixels.split(_MOST_PIXELS)]
        # Objects first: softmax over a short last axis is slow.
        probs = (self.sharpness * torch.cat(scores).T.contiguous()).softmax(0)
        return probs.reshape(-1, *looks.shape[:2])

    def _features(self, pixels: Tensor) -> Tensor:
        return torch.addmm(self._phases, pixels, self._directions).cos()


@dataclass
class ClipMemory:
    """The state of one clip.

    Args:
        masks: `[1, 1 + n, H, W]`, the keyframe's.
        areas: `[1 + n]`, their sizes in pixels.
        origins: `[1, 2, H, W]`, where in the keyframe each pixel of the last frame came from.
        last: The last frame, uint8 `[H, W]`.
        looks: Of the keyframe, see `describe_pixels`.
        classifier: What the objects look like.
    """

    masks: Tensor
    areas: Tensor
    origins: Tensor
    last: np.ndarray
    looks: np.ndarray
    classifier: PixelClassifier


@dataclass
class Cues:
    """What flow and appearance say about one frame.

    Args:
        followed: `[1 + n, h, w]`, the keyframe's masks moved by flow.
        flown: `[1 + n, H, W]`, the same, or where flow has lost an object, the region that looks
            like it.
        alike: `[1 + n, H, W]`, how likely each object is by the looks of each pixel.
        changed: `[h, w]`, how far a pixel's colour is from where flow says it comes from.
        looks: `[h, w, 12]`, of `describe_pixels`.
        before: `[h, w, 3]`, the colour in the keyframe where flow says a pixel comes from.
        was_lost: For each object whether flow has lost it.
    """

    followed: Tensor
    flown: Tensor
    alike: Tensor
    changed: Tensor
    looks: np.ndarray
    before: np.ndarray
    was_lost: list[bool]


@dataclass
class AppearanceMemory:
    """The memory of `AppearancePropagator` for a batch of segments.

    Args:
        clips: One entry a segment of the batch.
        shape: `[B, 1 + n, H, W]`.
    """

    clips: list[ClipMemory]
    shape: tuple[int, ...]


@MODELS.register_module(name=["AppearancePropagator", "appearance"])
class AppearancePropagator:
    """Propagates masks by optical flow, corrected by the appearance of the keyframe's objects.

    Needs OpenCV, neither weights nor audio. Objects that look alike, or like the background, are
    told apart by flow alone.

    Args:
        preset: OpenCV's speed setting of the flow: "ultrafast", "fast" or "medium".
        flow_weight: Weight of the flow's log-odds; that of appearance is 1.
        softness: Sigma in pixels of the blur of the flow's log-odds: how far a mask may grow where
            pixels look like the object.
        lost_below: An object of which a smaller share is left is searched in the whole frame.
        found_above: Least probability of a pixel of an object that is found again.
        change_weight: Weight of the difference between a pixel's colour and that of its origin in
            the keyframe according to flow.
        learn_rate: Weight of a later frame as an example, where its masks are certain; 0 learns
            from the keyframe alone.
        num_features: See `PixelClassifier`.

    Raises:
        MissingExtraError: At `start`, if OpenCV is not installed.

    Example:
        >>> propagator = AppearancePropagator()
        >>> frame, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 32, 32).long()
        >>> masks[:, 8:20, 8:20] = 1
        >>> memory = propagator.start(frame, None, masks)
        >>> propagator.step(memory, frame, None).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        preset: FlowPreset = "medium",
        *,
        flow_weight: float = 0.5,
        softness: float = 1.5,
        lost_below: float = 0.4,
        found_above: float = 0.75,
        change_weight: float = 10.0,
        learn_rate: float = 0.05,
        num_features: int = 128,
    ) -> None:
        self.preset, self._flows = preset, RecentFlows(preset)
        self.flow_weight, self.softness = flow_weight, softness
        self.lost_below, self.found_above = lost_below, found_above
        self.change_weight, self.learn_rate = change_weight, learn_rate
        self.num_features = num_features

    takes_uint8 = True

    def hear(self, clip: Clip) -> None:
        """Return None: the audio is not used."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> AppearanceMemory:
        """Begin a segment with object ids `masks` [B, H, W].

        Raises:
            PropagationError: If frame and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        planes = one_hot(masks, int(masks.max()))
        pairs = zip(frame, planes, strict=True)
        with _without_autocast():
            clips = [self._begin(picture, plane[None]) for picture, plane in pairs]
        return AppearanceMemory(clips, tuple(planes.shape))

    def step(self, memory: AppearanceMemory, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Propagate the masks to the next frame; returns logits `[B, 1 + n, H, W]`.

        Raises:
            PropagationError: If the frame is not of the keyframe's size.
        """
        check_next_frame(frame, memory.shape)
        pairs = zip(memory.clips, frame, strict=True)
        with _without_autocast():
            return torch.stack([self._propagate(clip, picture) for clip, picture in pairs])

    def first(self, memory: AppearanceMemory, count: int) -> AppearanceMemory:
        """Return the memory of the first `count` segments of a batch."""
        return replace(memory, clips=memory.clips[:count], shape=(count, *memory.shape[1:]))

    def _begin(self, picture: Tensor, planes: Tensor) -> ClipMemory:
        looks = describe_pixels(picture)
        classifier = PixelClassifier(planes.shape[1] - 1, self.num_features)
        small = F.interpolate(planes, looks.shape[:2], mode="area")[0].cpu()
        classifier.learn(looks, small)
        height, width = picture.shape[-2:]
        origins = pixel_positions(height, width, picture.device)
        areas = planes[0].sum((1, 2)).cpu()
        return ClipMemory(planes, areas, origins, gray(picture), looks, classifier)

    def _propagate(self, clip: ClipMemory, picture: Tensor) -> Tensor:
        """Return the log-probabilities `[1 + n, H, W]` of one clip's next frame."""
        cues = self.look(clip, picture)
        odds = self.odds(cues)
        probs = torch.cat([odds.new_zeros(1, *odds.shape[1:]), odds]).softmax(0)
        if self.learn_rate:
            self._learn(clip, cues.looks, probs)
        return as_logits(probs)

    def odds(self, cues: "Cues") -> Tensor:
        """Weigh the cues: log-odds `[n, H, W]` of each object against the background."""
        flown = cues.flown[1:]
        odds = self._softened(flown.clamp(_DOUBT, 1 - _DOUBT).logit_()).mul_(self.flow_weight)
        odds += cues.alike[1:].clamp(_SURE_LOOK, 1 - _SURE_LOOK).logit_()
        kept = (self.change_weight * (_MOST_CHANGE - cues.changed)).clamp(-3, 1)
        odds += flown * resized(kept[None], odds.shape[-2:]).to(odds)
        return odds

    def look(self, clip: ClipMemory, picture: Tensor) -> "Cues":
        """Follow the flow to the next frame `[3, H, W]` and gather what is known of it."""
        height, width = picture.shape[-2:]
        now = gray(picture)
        steps = torch.from_numpy(self._flows.between(now, clip.last)).to(picture.device)
        before = pixel_positions(height, width, picture.device)
        before += steps.movedim(-1, 0)[None]
        clip.origins, clip.last = sample(clip.origins, before), now
        flown = sample(clip.masks, clip.origins)
        looks = describe_pixels(picture)
        followed = F.interpolate(flown, looks.shape[:2], mode="area")[0]
        small = clip.classifier.probs(looks)
        alike = resized(small, (height, width)).to(picture.device)
        colours = colours_before(clip.looks, clip.origins)
        changed = change_between(colours, looks)
        flown, was_lost = self._recovered(clip, flown[0], alike, small)
        return Cues(followed, flown, alike, changed, looks, colours, was_lost)

    def _recovered(
        self, clip: ClipMemory, flown: Tensor, alike: Tensor, small: Tensor
    ) -> tuple[Tensor, list[bool]]:
        """Replace each object that flow lost by the largest region that looks like it, in place."""
        left = ((flown > 0.5) & (alike > 0.4)).sum((1, 2)).tolist()
        was_lost = [False] * len(flown)
        for number in range(1, len(flown)):
            if left[number] >= self.lost_below * clip.areas[number]:
                continue
            was_lost[number] = True
            region = _largest_region(small[number] > self.found_above)
            found = resized(region[None], flown.shape[-2:])[0].to(flown)
            if float(found.sum()) > max(left[number], 0.15 * float(clip.areas[number])):
                flown[number] = found
        return flown, was_lost

    def _softened(self, odds: Tensor) -> Tensor:
        """Blur log-odds `[n, H, W]`, so that masks may grow and shrink a little."""
        if not self.softness or not len(odds):
            return odds
        cv2 = import_cv2()
        blurred = [cv2.GaussianBlur(o, (0, 0), self.softness) for o in odds.cpu().numpy()]
        return torch.from_numpy(np.stack(blurred)).to(odds.device)

    def _learn(self, clip: ClipMemory, looks: np.ndarray, probs: Tensor) -> None:
        """Learn from the certain pixels of a frame, if enough of the objects is left."""
        small = F.interpolate(probs[None], looks.shape[:2], mode="area")[0].cpu()
        certain = (small > 0.9).float()
        scale = looks.shape[0] * looks.shape[1] / probs[0].numel()
        if float(certain[1:].sum()) > 0.3 * scale * float(clip.areas[1:].sum()):
            # Every fourth pixel: examples of the keyframe count far more.
            clip.classifier.learn(looks[::2, ::2], certain[:, ::2, ::2], self.learn_rate)


def _without_autocast() -> torch.autocast:
    # The ridge regression needs float32, and LAPACK knows no other short floats.
    return torch.autocast("cpu", enabled=False)


def colours_before(keyframe: np.ndarray, origins: Tensor) -> np.ndarray:
    """Return the keyframe's colours at the origins of a frame's pixels: `[h, w, 3]`, Lab / 100.

    Args:
        keyframe: `[h, w, 12]`, of `describe_pixels`.
        origins: `[1, 2, H, W]` pixel positions in the keyframe at its full size.
    """
    cv2 = import_cv2()
    height, width = keyframe.shape[:2]
    across, down = (
        (cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) + 0.5) * (small / whole)
        - 0.5
        for plane, small, whole in zip(
            origins[0].cpu().numpy(), (width, height), origins.shape[:1:-1], strict=True
        )
    )
    return cv2.remap(
        keyframe[..., :3], across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def change_between(before: np.ndarray, looks: np.ndarray) -> Tensor:
    """Return how far the colours `before` `[h, w, 3]` are from those of a frame: `[h, w]`."""
    cv2 = import_cv2()
    difference = before - looks[..., :3]
    distance = np.sqrt(np.einsum("hwc,hwc->hw", difference, difference))
    return torch.from_numpy(cv2.GaussianBlur(distance, (0, 0), 1.5))


def resized(planes: Tensor, size: Sequence[int]) -> Tensor:
    """Resize `[n, h, w]` bilinearly."""
    return F.interpolate(planes[None], tuple(size), mode="bilinear", align_corners=False)[0]


def _largest_region(mask: Tensor) -> Tensor:
    """Return the largest connected region of `[h, w]` as 0 and 1; nothing if there is none."""
    cv2 = import_cv2()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))
    if count < 2:
        return torch.zeros(mask.shape, dtype=torch.float32)
    return torch.from_numpy(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).float()
