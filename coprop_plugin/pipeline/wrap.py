"""`wrap` puts Co-Prop around a model, `unwrap` returns it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.errors import AdapterError, did_you_mean
from coprop_plugin.open_vocabulary import OpenVocabulary
from coprop_plugin.pipeline.coprop import (
    ControlPointsOption,
    CoProp,
    PropagatorOption,
)
from coprop_plugin.pipeline.preset_options import (
    BY_PRESET,
    PRESETS,
    Keyframe,
    Preset,
    Reanchor,
    Silence,
)
from coprop_plugin.registry import MODELS, build


def wrap(
    model: Any = None,
    *,
    weights: str | Path | None = None,
    backend: Any = "auto",
    control_points: ControlPointsOption = None,
    propagator: PropagatorOption = None,
    device: torch.device | str | None = None,
    reanchor: Reanchor = BY_PRESET,
    segment_batch: int = 1,
    keyframe: Keyframe | None = None,
    silence: Silence | None = None,
    preset: Preset = "default",
) -> CoProp:
    """Give an audio-visual segmentation model a sense of time.

    The model itself is not changed: `unwrap` gives the same object back, with the same weights in
    the same training state.

    Args:
        model: A TPAVI, CATR or AVSegFormer instance, or a `KeyframeBackend`; the name of the
            model that `weights` belong to, see `load_model`; or the config of a backend. None is
            the preset's model.
        weights: A released checkpoint as it was downloaded, or our safetensors. Only with a name.
        backend: `"auto"` recognises the model by its structure; else a registered name
            (`list_backends()`), a backend class, or a backend.
        control_points: A registered name (`list_providers()`), a config, a provider, or flags.
            None: those that come with the model, else `"change_detector"`; see `CoProp`.
        propagator: `"appearance"`, `"learned"` for the Audio-Insert Propagator with the shipped
            weights, a checkpoint path, a folder that `save_pretrained` wrote, "hf://owner/name" for
            one on the hub, a registered name (`list_propagators()`), a config, or a propagator;
            None is the preset's.
        device: Where the propagator runs; by default where the model is.
        reanchor: When the model is run again within a segment: `"auto"`, every second and where
            predictions disagree, the default; after so many seconds; None for never, the paper's
            way; `"uncertain"`, where masks are; see `CoProp`.
        segment_batch: Most segments to propagate at once. They are independent of one another, so
            this changes time, memory and the last bits of the logits, not the method.
        keyframe: `"first"` is the paper's way; `"confident"` runs several candidates a segment,
            keeps those that agree, and propagates both ways; see `CoProp`.
        silence: `"empty"`: segments without sound stay empty, whichever provider found the control
            points; `"keep"`: the model decides.
        preset: What options are where they are not given: `"default"`, or `"paper"` for the method
            as published; see `CoProp`. `"offline"`, `"fast"`, `"balanced"` and `"best"` need no
            `model`: see `coprop list presets` for what they download and cost.

    Returns:
        The wrapped model.

    Raises:
        AdapterError: If no adapter recognises the model, or more than one does; if there are
            weights without a name, or a name without weights.
        UnknownNameError: If a name is not registered.
        ControlPointError: If `reanchor`, `keyframe`, `silence` or `preset` is not among the options
            of `CoProp`.
        DeviceError: If this machine has no such device, or a part has weights without numbers.
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
    if model is None and weights is None:
        model = preset_model(preset)
    if isinstance(model, str):
        model = load_model(model, weights)
    elif isinstance(model, Mapping) and weights is None:
        model = build(MODELS, model, verb="segment_keyframes")
    elif weights is not None:
        raise AdapterError(
            f"Expected `weights` only with the name of a model, got {str(weights)!r} for a "
            f"{type(model).__name__}. Load them into it, or name the model: wrap('tpavi', "
            f"weights={str(weights)!r})."
        )
    if isinstance(model, CoProp):
        raise AdapterError("The model is wrapped already. Use it as it is, or `unwrap` it first.")
    wrapped = CoProp(
        find_backend(model, backend),
        control_points,
        propagator,
        device,
        reanchor,
        segment_batch,
        keyframe,
        silence,
        preset,
    )
    wrapped._wrapped = (model,)
    return wrapped


def preset_model(preset: Preset, words: Sequence[str] | None = None) -> str | Mapping[str, Any]:
    """Return the name or the config of a preset's model.

    Args:
        preset: The preset.
        words: What to listen for, see `OpenVocabulary`.

    Raises:
        AdapterError: If it has none, or one that does not know words.

    Example:
        >>> preset_model("offline"), preset_model("fast", ["dog"])["words"]
        ('sounding_object', ['dog'])
    """
    model = PRESETS[preset].backend if preset in PRESETS else None
    able = [name for name, options in PRESETS.items() if options.backend is not None]
    if model is None:
        raise AdapterError(
            f"Expected a model with preset={preset!r}, got none. Give one, or a preset that has "
            f"its own: {', '.join(able)}."
        )
    if words is None:
        return model
    if isinstance(model, str):
        raise AdapterError(
            f"{model}, the model of preset={preset!r}, does not know words. Leave them out, or use "
            "the preset 'fast', 'balanced' or 'best'."
        )
    return {**model, "words": list(words)}


def unwrap(model: CoProp) -> Any:
    """Return the object that was given to `wrap`.

    Raises:
        AdapterError: If `model` was not made by `wrap`.

    Example:
        >>> segmenter = lambda frames, audio: frames[:, :1] - 0.5
        >>> unwrap(wrap(segmenter, backend="callable")) is segmenter
        True
    """
    if not isinstance(model, CoProp):
        raise AdapterError(
            f"Expected a model made by `wrap`, got a {type(model).__name__}. Use it as it is."
        )
    return model._wrapped[0]


def load_model(name: str, weights: str | Path | None) -> Any:
    """Load a model by its name and a file of weights.

    Args:
        name: A family of released models, `"tpavi"`, `"avsegformer"` or `"catr"`; or one of our
            own: `"sounding_object"`, `"keyframe_processor"`; or `"open_vocabulary"`, see
            `OpenVocabulary`.
        weights: The file: a released one as it was downloaded, or our safetensors. For
            "keyframe_processor" also a folder that `save_pretrained` wrote, or "hf://owner/name"
            for one on the hub. None for the weights that come with our own models.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        AdapterError: If the name is unknown, or no file is given.
        CheckpointError: If the file is missing, damaged, or of another model.
    """
    from coprop_plugin.adapters.registered import FAMILIES
    from coprop_plugin.keyframes import load_keyframe_processor, load_sounding_object

    if name == "open_vocabulary" and weights is None:
        return OpenVocabulary()
    ours: dict[str, Callable[[Any], nn.Module]] = {
        "sounding_object": load_sounding_object,
        "keyframe_processor": load_keyframe_processor,
    }
    if name in ours:
        return ours[name](weights)
    if name not in FAMILIES:
        known = (*FAMILIES, *ours, "open_vocabulary")
        raise AdapterError(
            f"{name!r} is not a known model; known are {', '.join(known)}."
            f"{did_you_mean(name, known)} Build another model with its own code, and wrap the "
            "instance."
        )
    if weights is None:
        raise AdapterError(
            f"Expected weights with the model {name!r}. Give the file: wrap({name!r}, "
            "weights=...), on the command line --weights. `coprop list models` says where released "
            "ones are."
        )
    from coprop_plugin.adapters.convert import load_released

    return load_released(weights, name)
