"""Control-point providers from flags, true masks, a fixed interval, or cosine similarity."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coprop_plugin.control_points.file_provider import FileProvider, checked_length
from coprop_plugin.control_points.listening.features import consecutive_similarity, frame_features
from coprop_plugin.control_points.listening.sides import REACH_S, compare_sides
from coprop_plugin.control_points.novelty import NoveltyProvider
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints

_LARGEST_COUNTED_ID = 65_536

__all__ = [
    "CosineProvider",
    "EveryNProvider",
    "FileProvider",
    "FlagsProvider",
    "NoveltyProvider",
    "OracleProvider",
    "from_masks",
]


@PROVIDERS.register_module(name=["FlagsProvider", "flags"])
class FlagsProvider:
    """Control points that are given: one 0 or 1 per frame.

    Args:
        flags: `[T]`, the first one 1; or `ControlPoints`.

    Raises:
        ControlPointError: If they are not zeros and ones that start with 1.

    Example:
        >>> FlagsProvider([1, 0, 1]).propose(Clip(torch.rand(3, 3, 8, 8))).indices
        [0, 2]
    """

    def __init__(self, flags: Sequence[int] | Tensor | ControlPoints) -> None:
        try:
            self.points = (
                flags if isinstance(flags, ControlPoints) else ControlPoints(torch.as_tensor(flags))
            )
        except ControlPointError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            raise ControlPointError(
                "Expected control points as one 0 or 1 per frame, e.g. [1, 0, 0, 1, 0], got "
                f"{str(flags)[:160]}. Give a registered name as a string."
            ) from error

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the flags.

        Raises:
            ControlPointError: If there is not one for each frame of the clip.
        """
        return checked_length(self.points, clip, "the list")


@PROVIDERS.register_module(name=["EveryNProvider", "every_n"])
class EveryNProvider:
    """A control point on every n-th frame, independent of the audio.

    Args:
        n: Frames from one control point to the next; 1 makes every frame a keyframe, i.e. runs the
            wrapped model alone.

    Raises:
        ControlPointError: If `n` is not a whole number above 0.

    Example:
        >>> EveryNProvider(2).propose(Clip(torch.rand(5, 3, 8, 8))).indices
        [0, 2, 4]
    """

    def __init__(self, n: int = 5) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ControlPointError(
                f"Expected a whole number of frames, 1 or more, got n={n!r}. It is not in seconds."
            )
        self.n = n

    def propose(self, clip: Clip) -> ControlPoints:
        """Return control points at frames 0, n, 2n, ..."""
        frames = range(0, clip.num_frames, self.n)
        return ControlPoints.from_indices(frames, clip.num_frames, "every_n", {"n": self.n})


@PROVIDERS.register_module(name=["OracleProvider", "oracle"])
class OracleProvider:
    """Control points of the true masks; see `from_masks`.

    Args:
        masks: `[T, H, W]`, whole numbers, 0 the silent background.

    Raises:
        ControlPointError: If the masks have another shape or type.

    Example:
        >>> masks = torch.tensor([0, 3, 3]).reshape(3, 1, 1)
        >>> OracleProvider(masks).propose(Clip(torch.rand(3, 3, 8, 8))).indices
        [0, 1]
    """

    def __init__(self, masks: Tensor) -> None:
        self.points = from_masks(masks)

    def propose(self, clip: Clip) -> ControlPoints:
        """Return where the true set of sounding objects changes.

        Raises:
            ControlPointError: If there is not one mask for each frame of the clip.
        """
        return checked_length(self.points, clip, "the true masks")


def from_masks(masks: Tensor) -> ControlPoints:
    """Find control points in true masks, as the paper annotates them (appendix A.1).

    A frame is a control point if the set of ids in its mask differs from that of the frame before,
    regardless of the position and size of the objects.

    Args:
        masks: `[T, H, W]`, bool or whole numbers: class or instance ids, 0 the silent background.

    Returns:
        The control points, with the ids of every frame in the log.

    Raises:
        ControlPointError: If the masks have another shape, or are not whole numbers.

    Example:
        >>> from_masks(torch.tensor([0, 3, 3, 5]).reshape(4, 1, 1)).indices
        [0, 1, 3]
    """
    masks = torch.as_tensor(masks)
    if masks.ndim != 3 or len(masks) == 0 or masks.is_floating_point() or masks.is_complex():
        raise ControlPointError(
            "Expected masks [T, H, W] of whole numbers, 0 the background, got shape "
            f"{list(masks.shape)} and {masks.dtype}. Take the argmax, or `probs > 0.5`, first."
        )
    ids = [[i for i in _ids_in(mask) if i != 0] for mask in masks]
    frames = [t for t in range(len(ids)) if t == 0 or ids[t] != ids[t - 1]]
    return ControlPoints.from_indices(frames, len(ids), "oracle", {"ids": ids})


def _ids_in(mask: Tensor) -> list[int]:
    flat = mask.flatten().long()
    if len(flat) and 0 <= int(flat.min()) and int(flat.max()) < _LARGEST_COUNTED_ID:
        # Counting is far faster than sorting all pixels.
        return flat.bincount().nonzero().flatten().tolist()
    return flat.unique().tolist()


@PROVIDERS.register_module(name=["CosineProvider", "cosine"])
class CosineProvider:
    """The paper's baseline: control points where consecutive frames differ in sound (Table 2 (a)).

    The paper gives neither the feature nor the threshold. Here it is the cosine similarity of
    VGGish embeddings if there are any, else of averaged log-mels. Of a waveform, the second before
    the start of each frame is compared with the second after it (`compare_sides`); of changes that
    are nearer to each other, as at high frame rates, the strongest is kept. Of a clip with
    log-mels or embeddings, those of consecutive frames are compared.

    Args:
        threshold: A frame with a similarity below it is a control point. None: 0.98 for averaged
            log-mels, which are similar for all sounds, and 0.9 for embeddings.
        vggish: A network from `coprop_plugin.audio.vggish.load_vggish`, for clips without
            embeddings.

    Example:
        >>> clip = Clip(torch.rand(3, 3, 8, 8), audio_embedding=torch.eye(3, 128))
        >>> CosineProvider().propose(clip).indices
        [0, 1, 2]
    """

    def __init__(self, threshold: float | None = None, vggish: nn.Module | None = None) -> None:
        self.threshold = threshold
        self.vggish = vggish

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames whose audio differs from that of the frame before.

        Raises:
            ClipError: If the clip has no audio in any form.
        """
        known = clip.audio_embedding is not None or clip.log_mel is not None
        if clip.waveform is not None and not known:
            similarity, distance = compare_sides(clip, self.vggish)
        else:
            similarity = consecutive_similarity(frame_features(clip, self.vggish))
            distance = None
        threshold = self.threshold
        if threshold is None:
            embedded = clip.audio_embedding is not None or self.vggish is not None
            threshold = 0.9 if embedded else 0.98
        changes = (similarity < threshold).nonzero().flatten().tolist()
        if distance is not None:
            changes = _strongest(changes, clip.times[1:], similarity, distance)
        frames = [0, *(t + 1 for t in changes)]
        log = {
            "threshold": threshold,
            "similarity": [round(value, 4) for value in similarity.tolist()],
        }
        return ControlPoints.from_indices(frames, clip.num_frames, "cosine", log)


def _strongest(
    changes: Sequence[int], times: Tensor, similarity: Tensor, distance: Tensor
) -> list[int]:
    """Return the changes that have no stronger one near them, rising."""
    kept: list[int] = []
    # After silence the similarity is 0 for any amount of sound: there the distance decides.
    for t in sorted(changes, key=lambda t: (round(float(similarity[t]), 6), -float(distance[t]))):
        if all(abs(float(times[t] - times[other])) >= REACH_S for other in kept):
            kept.append(t)
    return sorted(kept)
