"""Released checkpoints loaded into our own models, strictly: every weight must fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.registered import FAMILIES
from coprop_plugin.adapters.released import Family, ReleasedModel
from coprop_plugin.checkpoints.native import format_of, load_module, save_module
from coprop_plugin.checkpoints.untrusted import existing, is_safetensors, read_weights
from coprop_plugin.errors import CheckpointError, UnknownNameError, some_names


def load_released(path: str | Path, family: str | None = None) -> ReleasedModel:
    """Load a released AVS model, from its author's file or from one that `convert` wrote.

    Args:
        path: A `.pth` file as downloaded, the same weights as safetensors, or ours. Nothing but
            tensors and plain containers is ever unpickled.
        family: `"tpavi"`, `"avsegformer"`, `"catr"`; None detects it by the names in the file.

    Returns:
        Our model of that family on the CPU, in eval mode and float32 (float64 if saved so).

    Raises:
        CheckpointError: If the file is missing or damaged, is of no known family or of another one,
            or has weights missing, unknown or of another shape; they are named.
        UnknownNameError: If there is no such family.

    Example:
        >>> model = load_released("S4_pvt_best.pth", "tpavi")  # doctest: +SKIP
    """
    path = existing(path)
    wanted = None if family is None else _family(family)
    ours = {one.format: one for one in FAMILIES.values()}
    if is_safetensors(path) and (found := ours.get(format_of(path) or "")):
        _refuse_other(path, found, wanted)
        return load_module(
            path, found.format, lambda **options: _empty(found, options).to_empty(device="cpu")
        )
    return load_state(read_weights(path), family, origin=str(path))


def load_state(
    state: Mapping[str, Tensor], family: str | None = None, origin: str = "the given weights"
) -> ReleasedModel:
    """Build the model that released weights belong to, and load them.

    Args:
        state: Names as released, without a prefix, and tensors.
        family: As in `load_released`.
        origin: Where they came from, for messages.

    Returns:
        Our model on the CPU, in eval mode.

    Raises:
        CheckpointError: As `load_released`.
        UnknownNameError: If there is no such family.
    """
    wanted = None if family is None else _family(family)
    found, options = _recognise(state, origin, wanted)
    model = _empty(found, options)
    ours = _renamed(state, found, model.state_dict(), origin)
    model.load_state_dict(ours, assign=True)
    return model.eval()


def convert(
    path: str | Path, out: str | Path, family: str | None = None, dtype: torch.dtype | None = None
) -> Path:
    """Convert a released checkpoint to our safetensors, without its unused weights.

    Args:
        path: The released file.
        out: The new file.
        family: As in `load_released`.
        dtype: `torch.float16` halves the file size; None keeps the weights as they are.

    Returns:
        `out`.

    Raises:
        CheckpointError: As `load_released`; or if `out` cannot be written.
        UnknownNameError: If there is no such family.
    """
    model = load_released(path, family)
    return save_released(model, out, dtype)


def save_released(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Save one of our models of a released family, as loaded or trained further.

    Raises:
        CheckpointError: If the model is not one of ours, or the file cannot be written.
    """
    for family in FAMILIES.values():
        if isinstance(model, family.build):
            return save_module(model, model.config, path, family.format, dtype)
    raise CheckpointError(
        f"Expected one of our own models of {', '.join(FAMILIES)}, as `load_released` returns "
        f"them, got a {type(model).__name__}. Save other models with "
        "`torch.save(model.state_dict(), path)`."
    )


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise UnknownNameError(
            f"{name!r} is not a family of released models. Available: {', '.join(FAMILIES)}; see "
            "docs/models.md for others."
        )
    return FAMILIES[name]


def _recognise(
    state: Mapping[str, Tensor], origin: str, wanted: Family | None
) -> tuple[Family, dict[str, Any]]:
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for family in FAMILIES.values():
        options = family.recognise(shapes)
        if options is not None:
            _refuse_other(origin, family, wanted)
            return family, options
    raise CheckpointError(
        f"The {len(state)} weights in {origin} are of no known family ({', '.join(FAMILIES)}): "
        f"{some_names(list(state))}. Use the file of a whole model, not of its backbone alone; see "
        "docs/models.md for how to run other models."
    )


def _refuse_other(origin: str | Path, found: Family, wanted: Family | None) -> None:
    if wanted is not None and wanted != found:
        raise CheckpointError(
            f"Expected weights of {wanted.name} in {origin}, got {found.name}. Name the family of "
            "the file, or use another file."
        )


def _empty(family: Family, options: Mapping[str, Any]) -> ReleasedModel:
    # Drawing a hundred million random numbers to overwrite takes longer than reading the file.
    with torch.device("meta"):
        model = family.build(**options)
    assert {name for name, _ in model.named_buffers()} <= model.state_dict().keys()
    return model


def _renamed(
    state: Mapping[str, Tensor], family: Family, wanted: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    unknown, misshapen = [], []
    for name, tensor in state.items():
        own = family.our_names(name)
        if own is None or any(one not in wanted or one in ours for one in own if one):
            unknown.append(name)
            continue
        parts = tensor.tensor_split(len(own)) if len(own) > 1 else [tensor] * len(own)
        for one, part in zip(own, parts, strict=True):
            if one is None:
                continue
            ours[one] = part
            if _without_ones(part) == _without_ones(wanted[one]):
                ours[one] = _ready(part.reshape(wanted[one].shape))
            else:
                misshapen.append(
                    f"{name} is {list(part.shape)}, but {one} is {list(wanted[one].shape)}"
                )
    faults = dict(
        missing=[f"{name} (our name)" for name in wanted if name not in ours],
        unknown=unknown,
        misshapen=misshapen,
    )
    found = [
        f"{len(names)} {fault}: {some_names(names)}" for fault, names in faults.items() if names
    ]
    if found:
        raise CheckpointError(
            f"The weights in {origin} look like {family.name}'s but do not fit: "
            f"{'; '.join(found)}. Every weight must fit: download the released file again, or see "
            "docs/models.md for modified models."
        )
    return ours


def _without_ones(tensor: Tensor) -> list[int]:
    """Return the shape without axes of length one: a 1x1 convolution is a matrix."""
    return [length for length in tensor.shape if length != 1]


def _ready(tensor: Tensor) -> Tensor:
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    # A copy: a part must not keep the file's whole tensor alive, or share it with another part.
    return tensor.clone().float() if half else tensor.clone()
