"""Co-Prop around a model that the user has, or that a file of weights describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.errors import AdapterError
from coprop_plugin.pipeline.coprop import CoProp


def wrap(
    model: Any,
    *,
    weights: str | Path | None = None,
    backend: Any = "auto",
    control_points: Any = "novelty",
    propagator: Any = None,
    device: torch.device | str | None = None,
    reanchor: float | str | Mapping[str, Any] | None = None,
    segment_batch: int = 1,
    keyframe: str | Mapping[str, Any] = "first",
) -> CoProp:
    """Give an audio-visual segmentation model a sense of time.

    The model itself is not changed: `unwrap` gives the same object back, with the same weights in
    the same training state.

    Args:
        model: A TPAVI, CATR or AVSegFormer instance, or a `KeyframeBackend`; or the name of what
            `weights` are of, see `load_model`.
        weights: A released checkpoint as it was downloaded, or safetensors of ours. Only with a
            name.
        backend: `"auto"` recognises the model by its structure; else a registered name
            (`list_backends()`), a backend class, or a backend.
        control_points: A registered name (`list_providers()`), a config, a provider, or flags.
        propagator: None for the default, a checkpoint path, a folder that `save_pretrained` wrote,
            "hf://owner/name" for one on the hub, a registered name (`list_propagators()`), a
            config, or a propagator.
        device: Where the propagator runs; None is where the model lives.
        reanchor: Seconds after which the model is asked again within a segment; None is the
            paper's way, at control points alone. `"uncertain"`: where masks are in doubt; see
            `CoProp`.
        segment_batch: How many segments to carry at once, at most. They are independent of one
            another, so this changes time, memory and the last bits of the logits, not the method.
        keyframe: `"first"` is the paper's way; `"confident"` asks about several frames a segment,
            and carries both ways what the answers agree on; see `CoProp`.

    Returns:
        The wrapped model.

    Raises:
        AdapterError: If no adapter recognises the model, or more than one does; if there are
            weights without a name, or a name without weights.
        UnknownNameError: If a name is not registered.
        ControlPointError: If `reanchor` or `keyframe` is none of what `CoProp` takes.
        CheckpointError: If `propagator` is a file that holds no propagator, or `weights` do not
            fit the model.

    Example:
        >>> from coprop_plugin import unwrap, wrap
        >>> segmenter = lambda frames, audio: frames[:, :1] - 0.5
        >>> model = wrap(segmenter, backend="callable")
        >>> unwrap(model) is segmenter
        True
        >>> model = wrap("tpavi", weights="S4_pvt_best.pth")  # doctest: +SKIP
    """
    if isinstance(model, str):
        model = load_model(model, weights)
    elif weights is not None:
        raise AdapterError(
            f"Got weights={str(weights)!r} for a {type(model).__name__}, which has its own. Load "
            f"them into it, or name the model: wrap('tpavi', weights={str(weights)!r})."
        )
    if isinstance(model, CoProp):
        raise AdapterError("Got a model that is wrapped already. Use it, or `unwrap` it first.")
    wrapped = CoProp(
        find_backend(model, backend),
        control_points,
        propagator,
        device,
        reanchor,
        segment_batch,
        keyframe,
    )
    wrapped._wrapped = (model,)
    return wrapped


def unwrap(model: CoProp) -> Any:
    """Return the very object that was given to `wrap`.

    Raises:
        AdapterError: If `model` was not made by `wrap`.

    Example:
        >>> segmenter = lambda frames, audio: frames[:, :1] - 0.5
        >>> unwrap(wrap(segmenter, backend="callable")) is segmenter
        True
    """
    if not isinstance(model, CoProp):
        raise AdapterError(
            f"Got a {type(model).__name__}, which `wrap` did not make; there is nothing to unwrap."
        )
    return model._wrapped[0]


def load_model(name: str, weights: str | Path | None) -> nn.Module:
    """Load a model that a name and a file of weights describe completely.

    Args:
        name: A family of released models, `"tpavi"`, `"avsegformer"` or `"catr"`; or
            `"keyframe_processor"`, our own.
        weights: The file: a released one as it was downloaded, or safetensors of ours. For
            "keyframe_processor" also a folder that `save_pretrained` wrote, "hf://owner/name" for
            one on the hub, or None: the weights that ship, which know the made-up world.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        AdapterError: If there is no such name, or no file is given.
        CheckpointError: If the file is missing, damaged, or of another model.
    """
    from coprop_plugin.adapters.registered import FAMILIES

    if name not in (*FAMILIES, "keyframe_processor"):
        raise AdapterError(
            f"Got the model {name!r}; there are {', '.join(FAMILIES)} and keyframe_processor. For "
            "another model build it with its own code, and wrap the instance."
        )
    if weights is None and name in FAMILIES:
        raise AdapterError(
            f"Got the model {name!r} without weights. Give the file: wrap({name!r}, weights=...), "
            "on the command line --weights. `coprop list models` says where released ones are."
        )
    if name in FAMILIES:
        from coprop_plugin.adapters.convert import load_released

        return load_released(weights, name)
    from coprop_plugin.keyframes import load_keyframe_processor

    return load_keyframe_processor(weights)
