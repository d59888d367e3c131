"""Run by `test_real_newer.py` in a process of its own: one model, one JSON object on stdout."""

import contextlib
import importlib
import json
import os
import sys

import newer_cases as cases
import stand_ins
import torch
import upstream_builders as upstream
import upstream_newer as newer

from coprop_plugin.adapters import find_backend
from coprop_plugin.registry import MODELS, names

BUILD = {
    "aavs": lambda: cases.aavs(newer.stepping_stones("avs")),
    "stepping_stones": lambda: cases.stepping_stones(newer.stepping_stones("avss")),
    "cavp": lambda: cases.cavp(newer.cavp(), side=64),
    "cavp-binary": lambda: cases.cavp(newer.cavp(num_classes=2), side=64),
    "gavs": lambda: cases.gavs(newer.gavs(), side=128),
    "sama": lambda: cases.sama(newer.sama(), side=256),
    "combo-res50-s4": lambda: combo("avs_s4/Test_COMBO_R50_bs8_90k"),
    "combo-pvt2-avss": lambda: combo("avs_ss/Test_COMBO_PVTV2B5_bs8_90k"),
    "vct-s4": lambda: vct("s4_swinb_384/Test_COMBO_SWINB"),
    "vct-ms3": lambda: vct("ms3_swinb_384/Test_COMBO_SWINB"),
    "vct-avss": lambda: vct("ss_swinb_384/Test_COMBO_SWINB"),
}


def combo(config, side=64):
    detectron = importlib.import_module("upstream_detectron")
    return cases.combo(detectron.build("combo", config), side=side, input_size=side)


def vct(config):
    detectron = importlib.import_module("upstream_detectron")
    # A Swin of a quarter of the width, with one block a stage.
    sizes = dict(
        MODEL__SWIN__DEPTHS=[1, 1, 1, 1],
        MODEL__SWIN__EMBED_DIM=32,
        MODEL__SWIN__NUM_HEADS=[1, 2, 4, 8],
        MODEL__PRE_SAM__PRE_SAM_DIM=[32, 64, 128, 256],
        MODEL__SEM_SEG_HEAD__TRANSFORMER_ENC_LAYERS=1,
        MODEL__MASK_FORMER__DEC_LAYERS=4,
    )
    model = detectron.build("vct", config, **sizes)
    return cases.combo(model, "vct", side=384)


def bit_equal(answer, expected):
    pairs = list(zip(cases.leaves(answer), cases.leaves(expected), strict=True))
    return type(answer) is type(expected) and all(torch.equal(*pair) for pair in pairs)


def build(name):
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        case = BUILD[name]()
        upstream.random_statistics(case.model.eval())
    return case


def conformance(name):
    """Return the rules that an adapter breaks, and what it says of them."""
    case = build(name)
    with contextlib.redirect_stdout(sys.stderr):
        report = cases.conformance(case, stand_ins.StandInVGGish().eval())
    return {f.rule: f.text for f in report.findings if f.status == "failed"}


def check(name):
    case = build(name)
    kinds = {MODELS.module_dict[known] for known in names(MODELS, "accepts")}
    said = {"accepted by": sorted(kind.__name__ for kind in kinds if kind.accepts(case.model))}
    before = {key: value.clone() for key, value in case.model.state_dict().items()}
    own = set(vars(case.model))
    expected = case.bare()
    native = cases.masks_of(case, expected)
    said["spread"] = float(native.float().std())
    for index, module in enumerate(case.model.modules()):
        module.training = bool(index % 3)
    backend = case.backend
    call = backend.unpack(*case.args, **case.kwargs)
    torch.manual_seed(1)
    answer = backend.repack(call, backend.segment_call(call, cases.every(call)))
    said["bit-equal"] = bit_equal(answer, expected)
    call = backend.unpack(*case.args, **case.kwargs)
    backend.segment_call(call, [[0, 2]])
    carried = torch.full((len(case.clip), backend.num_classes, *call[0].size), -7.0)
    masks = cases.masks_of(case, backend.repack(call, [carried]))
    said["keyframes"] = float((masks[[0, 2]].float() - native[[0, 2]].float()).abs().max())
    said["carried"] = float((masks[1].float() - native[1].float()).abs().max())
    said["clip"] = cases.distance(
        case, backend.segment_keyframes(case.clip, [2, 0]), native[[2, 0]]
    )
    window = find_backend(case.model, **case.options | dict(context="window"))
    said["window"] = cases.distance(
        case, window.segment_keyframes(case.clip, [2, 0]), native[[2, 0]]
    )
    flags = [module.training for module in case.model.modules()]
    said["flags"] = flags == [bool(index % 3) for index in range(len(flags))]
    said["weights"] = all(torch.equal(v, before[k]) for k, v in case.model.state_dict().items())
    said["attributes"] = set(vars(case.model)) == own
    return said


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    run = conformance if sys.argv[2:] == ["conformance"] else check
    sys.stdout.write(json.dumps(run(sys.argv[1])))
