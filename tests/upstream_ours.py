"""Run by `test_real_upstream.py` in a process of its own: our model against the released code.

    python tests/upstream_ours.py tpavi-res50-s4 224

prints one JSON object: by how much outputs differ, in standard deviations of upstream's.
"""

import contextlib
import json
import sys

import torch
import upstream_builders as upstream
from upstream_checks import CASES, arguments, bare, leaves

from coprop_plugin.adapters import find_backend, load_state
from coprop_plugin.types import Clip


def native_side(name):
    """The side that its authors evaluate a model with."""
    if name.startswith("avsegformer") and "avss" not in name:
        return 512
    return 448 if name.startswith("catr") else 224


def build_pair(name):
    """An upstream instance with random weights, and ours with the same."""
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        theirs = upstream.random_statistics(CASES[name][0]()).eval()
    if name.startswith("avsegformer"):
        theirs.vggish.preprocess = False
    return theirs, load_state(theirs.state_dict(), name.partition("-")[0])


def worst(ours, theirs):
    pairs = zip(leaves(ours), leaves(theirs), strict=True)
    return max(float((a - b).abs().max() / b.std()) for a, b in pairs)


def check(name, side):
    theirs, ours = build_pair(name)
    call = arguments(name, theirs, 2, side, None)
    said = {"call": worst(bare(ours, call), bare(theirs, call))}
    said["spread"] = min(float(leaf.std()) for leaf in leaves(bare(ours, call)))
    if name.startswith("catr"):
        call[0].mask[:, -1, :, side // 2 :] = True
        said["padded"] = worst(bare(ours, call), bare(theirs, call))
    clip = Clip(
        torch.rand(6, 3, 60, 80),
        None,
        times=torch.arange(6) + 15 / 16,
        log_mel=torch.rand(6, 1, 96, 64) * 4 - 4,
        audio_embedding=torch.rand(6, 128) * 2,
    )
    for context in ("frame", "window"):
        logits = [
            find_backend(model, context=context, input_size=side).segment_keyframes(clip, [4, 0])
            for model in (ours, theirs)
        ]
        said[context] = worst(*logits)
    return said


if __name__ == "__main__":
    torch.set_num_threads(2)
    _, name, side = sys.argv
    sys.stdout.write(json.dumps(check(name, int(side))))
