"""Loading Qwen's audio language models through transformers."""

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

import torch

from coprop_plugin.checkpoints.transformers_models import load_pretrained, transformers_class
from coprop_plugin.errors import CheckpointError, MissingExtraError
from coprop_plugin.layers import checked_device

DType = Literal["auto", "float32", "bfloat16", "float16"]
"""Of a model's weights; "auto": as saved."""

_PIP_LINE = '`pip install "coprop-plugin[llm]"`'

_THINKER_25 = "Qwen2_5OmniThinkerForConditionalGeneration"
_THINKER_3 = "Qwen3OmniMoeThinkerForConditionalGeneration"

# `model_type` of a config -> the class that generates text. Of a whole Omni model only the
# thinker's weights are loaded, not those of the speech decoder.
FAMILIES = {
    "qwen2_audio": "Qwen2AudioForConditionalGeneration",
    "qwen2_5_omni": _THINKER_25,
    "qwen2_5_omni_thinker": _THINKER_25,
    "qwen3_omni_moe": _THINKER_3,
    "qwen3_omni_moe_thinker": _THINKER_3,
}


def _require(package: str, reason: str) -> None:
    """Check that an optional package is installed.

    Raises:
        MissingExtraError: If it is not; with the pip line.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(
            f"{reason} needs {package}, which is not installed. Run {_PIP_LINE}."
        )


def load_processor(model_id: str, revision: str | None = None) -> Any:
    """Load a model's processor: tokenizer, chat template and feature extractor.

    Raises:
        CheckpointError: If there is none, or it takes no audio.
        MissingExtraError: If it needs a package that is not installed.
    """
    try:
        processor = load_pretrained("AutoProcessor", model_id, revision=revision)
    except ImportError as error:
        # The Omni processors take images too, with torchvision.
        raise MissingExtraError(
            f"The processor of {model_id} needs a package that is not installed: "
            f"{' '.join(str(error).split())[:300]} Run {_PIP_LINE}."
        ) from error
    if not hasattr(processor, "feature_extractor") or not hasattr(processor, "audio_token"):
        raise CheckpointError(
            f"The processor of {model_id} is a {type(processor).__name__}, which takes no audio. "
            "Name an audio language model, e.g. Qwen/Qwen2-Audio-7B-Instruct."
        )
    return processor


def load_model(
    model_id: str,
    revision: str | None = None,
    *,
    dtype: DType = "auto",
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    load_in_4bit: bool = False,
) -> Any:
    """Load the part of a model that generates text, in eval mode.

    Args:
        model_id: A name on the Hugging Face Hub or a folder; `config.model_type` selects the class.
        revision: Of the repository on the Hub.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: Of the model, if there is no `device_map`; None: the first GPU, if any.
        device_map: How accelerate distributes the weights, e.g. "auto".
        load_in_4bit: Quantize the weights to 4 bits (NF4, bitsandbytes).

    Raises:
        CheckpointError: If a part of it cannot be loaded, or it is of another family.
        MissingExtraError: If accelerate or bitsandbytes is needed and not installed.
    """
    config = load_pretrained("AutoConfig", model_id, revision=revision)
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"Expected a model of type {', '.join(FAMILIES)}, got {model_id} of type "
            f"{config.model_type!r}. Serve other models, e.g. with vLLM, and use "
            "`openai_compatible`."
        )
    device = str(checked_device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    placement: dict[str, Any] = {}
    if load_in_4bit:
        _require("bitsandbytes", "load_in_4bit=True")
        placement["quantization_config"] = transformers_class("BitsAndBytesConfig")(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        device_map = device_map or {"": device}
    if device_map is not None:
        _require("accelerate", "device_map")
        placement["device_map"] = device_map
    model = load_pretrained(
        FAMILIES[config.model_type],
        model_id,
        revision=revision,
        config=getattr(config, "thinker_config", config),
        dtype=dtype,
        use_safetensors=True,
        **placement,
    )
    return model if device_map is not None else model.to(device)
