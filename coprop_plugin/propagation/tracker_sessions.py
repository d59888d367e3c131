"""Sessions of transformers' video trackers, fed frame by frame, in memory that does not grow."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.layers import device_of
from coprop_plugin.propagation.geometry import one_hot
from coprop_plugin.types import ABSENT_LOGIT

FrameFeatures = Mapping[str, list[Tensor]]
"""What the image encoder says of one frame, as a session caches it."""

_UNUSED_LATER = ("high_res_masks", "pred_masks")
_MEMORY_OF_MASKS = ("maskmem_features", "maskmem_pos_enc")


@dataclass
class TrackerMemory:
    """The memory of a batch of segments.

    Args:
        sessions: A session of the tracker for each segment; none where there are no objects.
        shape: `[B, 1 + n, H, W]` of the logits.
        frame: Number of the last frame; 0 is the keyframe.
        ahead: Features of the frames that come next, one row a frame, one entry a segment.
    """

    sessions: list[Any]
    shape: tuple[int, ...]
    frame: int = 0
    ahead: deque[list[FrameFeatures]] = field(default_factory=deque)

    def first(self, count: int) -> "TrackerMemory":
        """Return the memory of the first `count` segments."""
        ahead = deque(row[:count] for row in self.ahead)
        return TrackerMemory(self.sessions[:count], (count, *self.shape[1:]), self.frame, ahead)


def start_session(model: Any, session_class: Any, masks: Tensor, num_objects: int) -> Any:
    """Return a session in which objects 1 to n have their masks `[H, W]` as prompts of frame 0."""
    place = device_of(model)
    devices = ("inference_device", "inference_state_device", "video_storage_device")
    session = session_class(**dict.fromkeys(devices, place), dtype=model.dtype)
    side = model.config.image_size
    planes = one_hot(masks[None], num_objects)[:, 1:].to(place)
    planes = F.interpolate(planes, (side, side), mode="bilinear", antialias=True)
    for object_id, plane in enumerate(planes[0], start=1):
        number = session.obj_id_to_idx(object_id)
        session.add_mask_inputs(number, 0, (plane[None, None] >= 0.5).float())
    # All at once, for a later list would replace this one; the model empties it.
    session.obj_with_new_inputs = list(range(1, num_objects + 1))
    return session


@torch.inference_mode()
def encode_frames(model: Any, pixels: Tensor) -> list[FrameFeatures]:
    """Run the image encoder once on several frames `[N, 3, S, S]`; returns an entry a frame."""
    seen = model.get_image_features(pixels, return_dict=True)
    maps, positions = seen.fpn_hidden_states, seen.fpn_position_encoding
    return [
        {
            "vision_feats": [x[:, n : n + 1] for x in maps],
            "vision_pos_embeds": [x[:, n : n + 1] for x in positions],
        }
        for n in range(len(pixels))
    ]


@torch.inference_mode()
def run_frame(model: Any, session: Any, number: int, seen: FrameFeatures) -> Tensor:
    """Run a frame of a session; returns logits `[n, s, s]`, `ABSENT_LOGIT` where an object is not.

    Args:
        model: The tracker.
        session: Of `start_session`, which forgets afterwards what no later frame reads.
        number: Of the frame: 0, 1, 2, ...
        seen: Its features.
    """
    session.cache.cache_vision_features(number, dict(seen))
    # The pixels are not read, as the features are there; their presence says that this is a stream.
    no_pixels = torch.empty(0, device=device_of(model))
    out = model(session, frame_idx=number, frame=no_pixels)
    forget(session, number, model.config.num_maskmem, model.config.max_object_pointers_in_encoder)
    return out.pred_masks[:, 0].float().clamp(ABSENT_LOGIT, -ABSENT_LOGIT)


def forget(session: Any, number: int, mask_memories: int, pointers: int) -> None:
    """Drop what no frame after `number` reads: transformers keeps all frames and outputs.

    Args:
        session: Of a tracker.
        number: Of the frame that was run last.
        mask_memories: Frames whose masks are remembered, the keyframe and this one included.
        pointers: Frames whose object pointers are.
    """
    session.processed_frames.clear()
    for index, outputs in session.output_dict_per_obj.items():
        session.mask_inputs_per_obj[index].clear()
        session.frames_tracked_per_obj[index].clear()
        tracked = outputs["non_cond_frame_outputs"]
        for kept in outputs["cond_frame_outputs"].values():
            _drop(kept, _UNUSED_LATER)
        for frame in list(tracked):
            if frame <= number + 1 - pointers:
                del tracked[frame]
                continue
            _drop(tracked[frame], _UNUSED_LATER)
            if frame <= number + 1 - mask_memories:
                _drop(tracked[frame], _MEMORY_OF_MASKS)


def _drop(output: dict[str, Any], names: Sequence[str]) -> None:
    for name in names:
        output.pop(name, None)
