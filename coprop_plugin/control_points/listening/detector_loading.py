"""Loads a detector of sounds; the model type in its config selects the class."""

from pathlib import Path

import torch

from coprop_plugin.checkpoints import checkpoint_of, load_pretrained
from coprop_plugin.control_points.listening.detectors import (
    AstDetector,
    Detector,
    PeAudioDetector,
)
from coprop_plugin.control_points.listening.speech import SPEECH, SpeechDetector
from coprop_plugin.control_points.listening.zero_shot import ClapDetector
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers import checked_device


def load_detector(
    source: str | Path,
    hop_s: float = 0.25,
    window_s: float = 1.0,
    local_files_only: bool = False,
    device: torch.device | str | None = None,
) -> Detector:
    """Load a detector; the model type in its config selects the class.

    Args:
        source: A PE-A-Frame model ("pe_a_frame"), an audio spectrogram transformer with labels
            ("ast"), or CLAP ("clap"): a short name (`coprop weights list`), an id on the hub
            ("facebook/pe-a-frame-small") or a folder; or "speech" for silero-vad, which needs no
            download.
        hop_s: Of the latter two models.
        window_s: Of the latter two models.
        local_files_only: Whether to download nothing.
        device: Device of the model; None is the CPU.

    Raises:
        CheckpointError: If there is no such model, or it is of another type.
        MissingExtraError: If transformers is too old to have its class.
    """
    if source == SPEECH:
        return SpeechDetector()
    source, place = checkpoint_of(source), checked_device(device or "cpu")
    config = load_pretrained("AutoConfig", source, local_files_only=local_files_only)
    options = dict(local_files_only=local_files_only)
    if config.model_type == "pe_audio":
        model = load_pretrained("PeAudioFrameLevelModel", source, **options).to(place)
        processor = load_pretrained("PeAudioProcessor", source, **options)
        return PeAudioDetector(model, processor, str(source))
    if config.model_type == "audio-spectrogram-transformer":
        model = load_pretrained("ASTForAudioClassification", source, **options).to(place)
        extractor = load_pretrained("ASTFeatureExtractor", source, **options)
        return AstDetector(model, extractor, str(source), hop_s, window_s)
    if config.model_type == "clap":
        model = load_pretrained("ClapModel", source, **options).to(place)
        extractor = load_pretrained("ClapFeatureExtractor", source, **options)
        tokenizer = load_pretrained("AutoTokenizer", source, **options)
        return ClapDetector(model, extractor, tokenizer, str(source), hop_s, window_s)
    raise CheckpointError(
        "Expected a model of type 'pe_audio' (e.g. facebook/pe-a-frame-small), "
        "'audio-spectrogram-transformer' (e.g. MIT/ast-finetuned-audioset-10-10-0.4593) or 'clap' "
        f"(e.g. laion/clap-htsat-unfused), got {str(source)!r} of type {config.model_type!r}."
    )
