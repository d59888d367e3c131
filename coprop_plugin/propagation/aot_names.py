"""AOT's state dict: our names of its weights, and the network that it belongs to."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.checkpoints.native import no_larger_than
from coprop_plugin.checkpoints.untrusted import weights_in
from coprop_plugin.errors import CheckpointError, some_names
from coprop_plugin.propagation.presets import NEVER
from coprop_plugin.propagation.propagator import AudioInsertPropagator

UNUSED = ("LSTT.mask_token",)
"""In AOT's files, but without effect on its output."""

# AOT's name and ours, as regular expression and replacement; the first match counts.
_LAYER = r"LSTT\.layers\.(\d+)\."
_BLOCK = r"blocks.\1."
_NAMES = [
    (r"encoder\.", "encoder."),
    (r"encoder_projector\.", "projector."),
    (_LAYER + r"norm1\.", _BLOCK + "self_norm."),
    (_LAYER + r"norm2\.", _BLOCK + "memory_norm."),
    (_LAYER + r"norm3\.", _BLOCK + "feed_norm."),
    (_LAYER + r"self_attn\.linear_Q\.", _BLOCK + "self_attention.query."),
    (_LAYER + r"self_attn\.linear_K\.", _BLOCK + "self_attention.key."),
    (_LAYER + r"self_attn\.linear_V\.", _BLOCK + "self_attention.value."),
    (_LAYER + r"self_attn\.projection\.", _BLOCK + "self_attention.project."),
    (_LAYER + r"linear_Q\.", _BLOCK + "to_key."),
    (_LAYER + r"linear_V\.", _BLOCK + "to_value."),
    (_LAYER + r"long_term_attn\.projection\.", _BLOCK + "long_term.project."),
    (_LAYER + r"short_term_attn\.relative_emb_k\.", _BLOCK + "short_term.relative_key_"),
    (_LAYER + r"short_term_attn\.relative_emb_v$", _BLOCK + "short_term.relative_value"),
    (_LAYER + r"short_term_attn\.projection\.", _BLOCK + "short_term.project."),
    (_LAYER + r"linear1\.", _BLOCK + "feed_forward.expand."),
    (_LAYER + r"activation\.gn\.", _BLOCK + "feed_forward.norm."),
    (_LAYER + r"activation\.conv\.", _BLOCK + "feed_forward.filter."),
    (_LAYER + r"linear2\.", _BLOCK + "feed_forward.contract."),
    (r"LSTT\.decoder_norms\.", "output_norms."),
    (r"decoder\.conv_in\.conv\.", "decoder.enter.0."),
    (r"decoder\.conv_in\.gn\.", "decoder.enter.1."),
    *(
        (rf"decoder\.conv_{stride}x\.{part}\.", f"decoder.refine.{level}.{number}.")
        for level, stride in enumerate((4, 8, 16))
        for number, part in enumerate(("conv", "gn"))
    ),
    *(
        (rf"decoder\.adapter_{stride}x\.", f"decoder.adapt.{level}.")
        for level, stride in enumerate((4, 8, 16))
    ),
    (r"decoder\.conv_out\.", "decoder.leave."),
    (r"patch_wise_id_bank\.", "identity.bank."),
]
_OURS_ALONE = ("inserts.", "identity.audio.")


def our_name(name: str) -> str | None:
    """Return our network's name of AOT's parameter, or None if AOT has no such parameter.

    Example:
        >>> our_name("LSTT.layers.0.linear_Q.weight")
        'blocks.0.to_key.weight'
    """
    for pattern, replacement in _NAMES:
        match = re.match(pattern, name)
        if match:
            return match.expand(replacement) + name[match.end() :]
    return None


def is_aot(state: Mapping[str, Any]) -> bool:
    """Tell whether a state dict is AOT's, of any size."""
    return {"patch_wise_id_bank.weight", "encoder_projector.weight"} <= state.keys()


def load_aot_state(content: Any, origin: str, options: Mapping[str, Any]) -> AudioInsertPropagator:
    """Build the propagator that AOT's weights belong to, and load them.

    Args:
        content: The content of an AOT file: `{"state_dict": ...}`, `{"model": ...}` or weights.
        origin: Where it came from, for messages.
        options: Constructor arguments that the weights do not determine.

    Raises:
        CheckpointError: If these are not AOT's weights, or not all of them fit.
    """
    state = weights_in(content, origin)
    if not is_aot(state):
        raise CheckpointError(
            f"{origin} holds no AOT weights: no `patch_wise_id_bank` and `encoder_projector` "
            f"among {len(state)} names such as {some_names(list(state))}. DeAOT and ImageNet "
            "weights cannot be used; use R50_AOTL, AOTT, AOTS, AOTB or AOTL."
        )
    with no_larger_than(state, origin):
        propagator = AudioInsertPropagator(**{**_shape_of(state, origin), **options})
    wanted = propagator.network.state_dict()
    ours, unknown = {}, []
    for name, tensor in state.items():
        own = our_name(name)
        if own in wanted:
            # A grouped 1x1 convolution there, one matrix per head here.
            ours[own] = tensor.flatten(1) if "relative_key_weight" in own else tensor
        elif name not in UNUSED:
            unknown.append(name)
    missing = [n for n in wanted if n not in ours and not n.startswith(_OURS_ALONE)]
    misshapen = [
        f"{name} is {list(x.shape)}, not {list(wanted[name].shape)}"
        for name, x in ours.items()
        if x.shape != wanted[name].shape
    ]
    _refuse(origin, missing, unknown, misshapen)
    if any(x.dtype == torch.float64 for x in ours.values()):
        propagator.double()
    propagator.network.load_state_dict(ours, strict=False)
    return propagator.eval()


def _shape_of(state: Mapping[str, Tensor], origin: str) -> dict[str, Any]:
    layers = {m[1] for name in state if (m := re.match(r"LSTT\.layers\.(\d+)\.", name))}
    values = state.get("LSTT.layers.0.short_term_attn.relative_emb_v")
    if values is None or values.ndim != 3:
        raise CheckpointError(
            f"Expected `LSTT.layers.0.short_term_attn.relative_emb_v` of three axes in {origin}; "
            "the weights are incomplete, or DeAOT's, which cannot be used."
        )
    projector, bank = state["encoder_projector.weight"], state["patch_wise_id_bank.weight"]
    return dict(
        **_encoder_of(state, len(layers), origin),
        num_layers=len(layers),
        width=projector.shape[0],
        num_heads=values.shape[0],
        short_term_radius=int(values.shape[2] ** 0.5) // 2,
        max_objects=bank.shape[1] - 1,
    )


def _encoder_of(state: Mapping[str, Tensor], num_layers: int, origin: str) -> dict[str, Any]:
    if "encoder.features.0.0.weight" in state:
        return dict(encoder="mobilenetv2", long_term_gap=5 if num_layers >= 3 else NEVER)
    if "encoder.layer1.0.conv3.weight" in state and "encoder.conv1.weight" in state:
        listing = "\n".join(state)
        blocks = [len(set(re.findall(rf"encoder\.layer{n}\.(\d+)\.", listing))) for n in (1, 2, 3)]
        encoder: str | dict[str, Any] = "r50"
        if blocks != [3, 4, 6] or len(state["encoder.conv1.weight"]) != 64:
            width = len(state["encoder.conv1.weight"])
            encoder = dict(type="r50", width=width, blocks=blocks)
        return dict(encoder=encoder, long_term_gap=5)
    names = [name for name in state if name.startswith("encoder.")]
    raise CheckpointError(
        f"The AOT weights in {origin} have an encoder that is not built in ({some_names(names)}). "
        "Supported are ResNet and MobileNetV2: use R50_AOTL, AOTT, AOTS, AOTB or AOTL."
    )


def _refuse(origin: str, missing: list[str], unknown: list[str], misshapen: list[str]) -> None:
    faults = dict(missing=missing, unknown=unknown, misshapen=misshapen)
    found = [
        f"{len(names)} {fault}: {some_names(names)}" for fault, names in faults.items() if names
    ]
    if found:
        raise CheckpointError(
            f"The weights in {origin} look like AOT's but do not fit: {'; '.join(found)}. Every "
            "weight must fit: download a released AOT file, or name the options it was trained "
            "with."
        )
