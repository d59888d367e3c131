"""What the scripts of newer models call them with, for a clip; for stand-ins and for real ones."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters import find_backend
from coprop_plugin.adapters.decibel_mel import decibel_mel
from coprop_plugin.adapters.devices import cuda_calls_stay
from coprop_plugin.adapters.sam_pictures import sam_input, sam_size
from coprop_plugin.benchmark.conformance import check_backend
from coprop_plugin.layers import normalise
from coprop_plugin.types import Clip, avsbench_times

FRAMES = 3


@dataclass
class Case:
    """A model, what its script calls it with for a clip, and how its masks are read."""

    name: str
    model: nn.Module
    clip: Clip
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    call: str = "forward"

    @property
    def backend(self):
        return find_backend(self.model, **self.options)

    def bare(self):
        torch.manual_seed(1)
        model = copy.deepcopy(self.model).eval()
        if "device" in vars(model):
            model.device = "cpu"
        with torch.no_grad(), cuda_calls_stay("cpu"):
            return getattr(model, self.call)(*self.args, **self.kwargs)


def make_clip(size, **audio):
    return Clip(
        torch.rand(FRAMES, 3, *size),
        audio.pop("waveform", None),
        16_000 if not audio else None,
        torch.arange(FRAMES) + 15 / 16,
        sampling="avsbench",
        **audio,
    )


def embeddings():
    return torch.rand(FRAMES, 128) * 2


def aavs_batch(clip):
    return dict(
        pixel_values=normalise(clip.frames),
        pixel_mask=torch.ones(FRAMES, 384, 384, dtype=torch.long),
        feat_aud=clip.audio_embedding,
        mask_recs=torch.zeros(FRAMES, 384, 384),
        mask_labels=[torch.zeros(1, 384, 384)] * FRAMES,
        class_labels=[torch.zeros(1, dtype=torch.long)] * FRAMES,
        image_size=[(384, 384)],
        vid="street",
        task="v1m",
        subsets="v2",
    )


class FirstStage:
    num_classes, context = 1, "frame"

    def __init__(self, masks):
        self.masks = masks

    def segment_keyframes(self, clip, indices):
        return interpolate(self.masks[list(indices), None] * 2 - 1, clip.size)


def aavs(model):
    clip = make_clip((384, 384), audio_embedding=embeddings())
    return Case("aavs", model, clip, (aavs_batch(clip),))


def stepping_stones(model):
    """The semantic stage; the masks of the first stage are put in place of those in files."""
    clip = make_clip((384, 384), audio_embedding=embeddings())
    masks = torch.zeros(FRAMES, 224, 224)
    masks[0, :112], masks[1, :, 112:], masks[2, 56:168] = 1, 1, 1
    model.load_mask = lambda vid, ver: masks
    stage = dict(first_stage=FirstStage(masks))
    return Case("stepping_stones", model, clip, (aavs_batch(clip),), options=stage)


def cavp(model, side=32):
    waveform = torch.rand(FRAMES * 16_000) * 2 - 1
    clip = make_clip((side, side), waveform=waveform)
    args = normalise(clip.frames), decibel_mel(waveform.reshape(FRAMES, -1))
    options = dict(backend="cavp", input_size=side)
    return Case("cavp", model, clip, args, dict(eval_mode=True), options)


def gavs(model, side=64):
    clip = make_clip((18, 32), audio_embedding=embeddings())
    pictures = sam_input(clip, list(range(FRAMES)), side, torch.device("cpu"))
    records = [
        dict(
            image=pictures[t : t + 1],
            audio=clip.audio_embedding[t : t + 1],
            # As the data loader collates them.
            input_size=[torch.tensor([extent]) for extent in sam_size(clip.size, side)],
            original_size=[torch.tensor([18]), torch.tensor([32])],
        )
        for t in range(FRAMES)
    ]
    truth = [torch.zeros(1, 1, 1, 18, 32)] * FRAMES
    return Case("gavs", model, clip, ((records, truth, ["street"], ["dog"], None, None),))


def sama(model, side=64):
    clip = make_clip((side, side), log_mel=torch.rand(FRAMES, 1, 96, 64) * 4 - 4)
    return Case("sama", model, clip, (normalise(clip.frames), clip.log_mel), call="infer")


def auralsam2(model, side=32):
    frames = torch.rand(5, 3, side, side)
    clip = Clip(
        frames, times=avsbench_times(5), sampling="avsbench", log_mel=torch.rand(5, 1, 96, 64) * 4
    )
    args = normalise(frames), clip.log_mel.expand(-1, 2, -1, -1), {}
    return Case("auralsam2", model, clip, args, dict(sam_process=True))


def conformance(case, vggish=None):
    """Check a case's adapter against the rules of backends; returns the report.

    Its options must do for any clip, not only for the case's own.
    """
    options = {**case.options}
    if "pre_masks" in options:
        options["pre_masks"] = lambda clip, indices: clip.rgb(indices)
    if case.name in ("aavs", "gavs", "stepping_stones"):
        options["vggish"] = vggish
    if case.name == "stepping_stones":
        options["first_stage"] = Bright()
    if "device" in vars(case.model):
        case.model.device = torch.device("cpu")
    # The semantic stage reads the first one's masks from files in its own call.
    own = None if case.name == "stepping_stones" else lambda: (case.args, case.kwargs)
    return check_backend(find_backend(case.model, **options), call=own)


class Bright:
    num_classes, context = 1, "frame"

    def segment_keyframes(self, clip, indices):
        return clip.rgb(indices).mean(1, keepdim=True) - 0.5


def every(call):
    return [range(len(clip)) for clip in call]


def combo(model, name="combo", side=32, **size):
    """One clip of five frames, as detectron2's loader makes it; for AVSS its sounds are padded."""
    frames, pre_masks = torch.randint(0, 256, (2, 5, 3, side, side), dtype=torch.uint8)
    log_mel = torch.rand(5, 1, 96, 64) * 4 - 4
    clip = Clip(frames, times=avsbench_times(5), sampling="avsbench", log_mel=log_mel)
    entry = dict(images=frames, pre_masks=pre_masks, audio_log_mel=log_mel, category_label=3)
    entry |= dict(height=side, width=side)
    if model.is_avss_data:
        flag = torch.tensor([1.0] * 5 + [0.0] * 5)
        padded = torch.cat([log_mel, torch.zeros_like(log_mel)])
        flags = dict.fromkeys(("vid_temporal_mask_flag", "gt_temporal_mask_flag"), flag)
        entry |= dict(audio_log_mel=padded, **flags)
    options = dict(pre_masks=lambda clip, indices: pre_masks[list(indices)] / 255, **size)
    return Case(name, model, clip, ([entry],), options=options)


def leaves(tree):
    if tree is None:
        return []
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [torch.as_tensor(tree, dtype=None if isinstance(tree, torch.Tensor) else torch.float64)]


def masks_of(case, answer):
    """The masks of a return value, a row a frame."""
    if case.name in ("aavs", "stepping_stones"):
        return torch.stack(answer[1])
    if case.name == "gavs":
        return torch.cat(answer[0])
    if case.name in ("combo", "vct"):
        return torch.stack([frame["sem_seg"] for frame in answer])
    if case.name == "auralsam2":
        return torch.cat([f["multistep_pred_multimasks_high_res"][0][:, :1] for f in answer[0]])
    return answer if case.name == "sama" else answer[0]


def distance(case, keyframes, own):
    """How far logits of keyframes are from the model's own masks of them, at most.

    Scores are compared as the shares of their classes; of class indices it is the share of pixels
    that differ.
    """
    if case.name == "stepping_stones":
        return float((keyframes.argmax(1) != own).float().mean())
    if case.name in ("aavs", "combo", "vct"):
        # VCT's masks are smaller than its pictures.
        own = interpolate(own, keyframes.shape[-2:], mode="bilinear")
        # Random queries may all leave a pixel out: then no class has a larger share.
        own = own.clamp_min(1e-30)
        shares = own / own.sum(1, keepdim=True)
        is_binary = keyframes.shape[1] == 1
        probs = keyframes.sigmoid() if is_binary else keyframes.softmax(1)
        return float((probs - (shares[:, 1:] if is_binary else shares)).abs().max())
    expected = own[:, 1:] - own[:, :1] if own.shape[1] == 2 else own
    return float((keyframes - expected).abs().max())
