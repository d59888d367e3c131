"""Run by `test_real_upstream.py` in a process of its own: one family, one JSON object on stdout."""

import contextlib
import json
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch
import upstream_builders as upstream
from einops import rearrange, repeat

# Before packages are stood in for, whose absence transformers must see for itself.
from transformers import PvtV2Backbone, ResNetBackbone  # noqa: F401

from coprop_plugin.adapters import find_backend
from coprop_plugin.adapters.devices import cuda_calls_stay
from coprop_plugin.layers import normalise
from coprop_plugin.registry import MODELS, names
from coprop_plugin.types import Clip

# Name: how to build it, and the side of its frames here.
CASES = {
    "avsegformer-res50-s4": (lambda: upstream.avsegformer(), 64),
    "avsegformer-pvt2-ms3": (lambda: upstream.avsegformer("ms3/AVSegFormer_pvt2_ms3"), 64),
    "avsegformer-res50-avss": (lambda: upstream.avsegformer("avss/AVSegFormer_res50_avss"), 64),
    "avsegformer-pvt2-avss": (lambda: upstream.avsegformer("avss/AVSegFormer_pvt2_avss"), 64),
    "tpavi-res50-s4": (lambda: upstream.tpavi("avs_s4"), 64),
    "tpavi-pvt2-ms3": (lambda: upstream.tpavi("avs_ms3", "PVT"), 64),
    "tpavi-res50-avss": (lambda: upstream.tpavi("avss"), 64),
    "tpavi-pvt2-avss": (lambda: upstream.tpavi("avss", "PVT"), 64),
    "catr-pvt2-s4": (lambda: upstream.catr(), 96),
}


def leaves(tree):
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return []


def bit_equal(one, other):
    pairs = list(zip(leaves(one), leaves(other), strict=True))
    return type(one) is type(other) and len(pairs) > 1 and all(torch.equal(*p) for p in pairs)


def rows_first(name, raw):
    """The masks of a return value, one row a frame in the order (b t)."""
    if not name.startswith("catr"):
        return raw[0]
    best = raw["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)
    index = repeat(
        best, "t b -> t b 1 h w", h=raw["pred_masks"].shape[3], w=raw["pred_masks"].shape[4]
    )
    return rearrange(raw["pred_masks"].gather(2, index), "t b 1 h w -> (b t) 1 h w")


def arguments(name, model, clips, side, folder):
    """What a script of this family passes to its model for a batch of clips."""
    length = 10 if "avss" in name else 5
    rows = clips * length
    frames = normalise(torch.rand(rows, 3, side, side))
    flag = torch.ones(rows)
    if "avss" in name:
        # The last clip is of the kind with five frames and as much padding.
        flag[-5:], frames[-5:] = 0, 0
    if name.startswith("avsegformer"):
        if not model.vggish.preprocess:
            return torch.rand(rows, 1, 96, 64) * 4 - 4, frames
        return (
            [write_wav(folder, clip, 5 if clip == clips - 1 else 10) for clip in range(clips)],
            frames,
            flag,
        )
    audio = torch.rand(rows, 128) * 2
    if name.startswith("tpavi"):
        return (frames, audio * flag[:, None], flag) if "avss" in name else (frames, audio)
    tensors = rearrange(frames, "(t b) c h w -> t b c h w", b=clips)
    mask = torch.zeros(length, clips, side, side, dtype=torch.bool)
    nested = upstream.catr_nested(tensors, mask)
    return nested, torch.zeros(clips, length, dtype=torch.bool), frames, audio


def write_wav(folder, number, seconds):
    path = Path(folder) / f"{number}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(number).normal(0, 3000, seconds * 16_000)
        file.writeframes(noise.astype("<i2").tobytes())
    return str(path)


def bare(model, args, kwargs=None):
    with torch.no_grad(), cuda_calls_stay("cpu"):
        return model.eval()(*args, **(kwargs or {}))


def check_calls(name, model, side, folder, said):
    backend = find_backend(model, context="frame" if name.startswith("avseg") else "window")
    for clips in (1, 2):
        args = arguments(name, model, clips, side, folder)
        expected = bare(model, args)
        call = backend.unpack(*args)
        everywhere = [list(range(len(clip))) for clip in call]
        said[f"clips of {clips}"] = [len(clip) for clip in call]
        logits = backend.segment_call(call, everywhere)
        said[f"bit-equal, {clips} clips"] = bit_equal(backend.repack(call, logits), expected)
    keywords = dict(zip(model.forward.__code__.co_varnames[1:], args, strict=False))
    again = backend.unpack(**keywords)
    said["bit-equal by keyword"] = bit_equal(
        backend.repack(again, backend.segment_call(again, everywhere)), expected
    )
    some = [[0, 3] for _ in call]
    backend.segment_call(call, some)
    carried = [torch.full((len(clip), backend.num_classes, *clip.size), -7.0) for clip in call]
    answer = backend.repack(call, carried)
    shapes = [[list(leaf.shape) for leaf in leaves(tree)] for tree in (answer, expected)]
    said["same shapes"] = shapes[0] == shapes[1]
    mine, theirs = rows_first(name, answer), rows_first(name, expected)
    length = len(mine) // 2
    keyframes = [0, 3, length, length + 3]
    others = [1, 2, 4, length + 1, length + 2, length + 4]
    said["keyframes"] = float((mine[keyframes] - theirs[keyframes]).abs().max())
    said["others are carried"] = bool((mine[others] == -7).all())


def check_keyframes(name, model, side, said):
    clip = Clip(
        torch.rand(7, 3, 40, 48),
        None,
        times=torch.arange(7) + 15 / 16,
        log_mel=torch.rand(7, 1, 96, 64) * 4 - 4,
        audio_embedding=torch.rand(7, 128) * 2,
    )
    for context in ("frame", "window"):
        backend = find_backend(model, context=context, input_size=side)
        logits = backend.segment_keyframes(clip, [5, 0, 2])
        said[f"{context} shape"] = list(logits.shape)
        alone = backend.segment_keyframes(clip, [0])
        said[f"{context} alone"] = float((logits[1] - alone[0]).abs().max())
    if name.startswith("tpavi"):
        one, tiled = (
            find_backend(model, context="frame", input_size=side, patch=patch)
            for patch in (True, False)
        )
        difference = one.segment_keyframes(clip, [1, 4]) - tiled.segment_keyframes(clip, [1, 4])
        said["frame against tiling"] = float(difference.abs().max())
    said["spread"] = float(logits.std())


def check(name):
    build, side = CASES[name]
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        model = upstream.random_statistics(build())
    accepting = {
        k.__name__
        for k in (MODELS.module_dict[n] for n in names(MODELS, "accepts"))
        if k.accepts(model)
    }
    said = {"accepted by": sorted(accepting)}
    flags = [bool(i % 3) for i, _ in enumerate(model.modules())]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    own = set(vars(model))
    with tempfile.TemporaryDirectory() as folder:
        check_calls(name, model, side, folder, said)
    for module, flag in zip(model.modules(), flags, strict=True):
        module.training = flag
    check_keyframes(name, model, side, said)
    said["flags"] = [module.training for module in model.modules()] == flags
    said["weights"] = all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    said["attributes"] = set(vars(model)) == own
    said["cuda"] = "cuda" not in vars(torch.Tensor)
    return said


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.stdout.write(json.dumps(check(sys.argv[1])))
