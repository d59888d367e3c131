"""Tiny CLAP and AST models with random weights, of the classes that released ones have.

They show that a comparison runs, and what an untrained model scores.
"""

from collections.abc import Sequence

import torch

from coprop_plugin.checkpoints.transformers_models import transformers_class
from coprop_plugin.control_points.clap import ClapProvider
from coprop_plugin.control_points.listening.detectors import AstDetector
from coprop_plugin.control_points.sed import SoundEventProvider

MODEL_ID = "tiny, untrained"


def untrained_clap(seed: int = 0) -> ClapProvider:
    """Return a `clap` provider with a tiny `ClapModel` of random weights.

    Example:
        >>> untrained_clap().model.config.projection_dim
        16
    """
    config = transformers_class("ClapConfig")(
        text_config=dict(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            vocab_size=16,
        ),
        audio_config=dict(
            window_size=4,
            spec_size=64,
            hidden_size=32,
            depths=[1, 1],
            num_attention_heads=[2, 2],
            patch_embeds_hidden_size=16,
            num_mel_bins=32,
            num_hidden_layers=2,
            num_classes=4,
        ),
        projection_dim=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers_class("ClapModel")(config).eval()
    extractor = transformers_class("ClapFeatureExtractor")(
        feature_size=32, max_length_s=1, truncation="rand_trunc"
    )
    return ClapProvider(model, extractor)


def untrained_sed(
    labels: Sequence[str] = ("dog", "flute", "bell"), seed: int = 0
) -> SoundEventProvider:
    """Return a `sed` provider with a tiny `ASTForAudioClassification` of random weights.

    Its thresholds are 0.5, around which random probabilities lie.

    Example:
        >>> untrained_sed(["dog"]).listener.detector.model.config.id2label
        {0: 'dog'}
    """
    config = transformers_class("ASTConfig")(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=100,
        num_mel_bins=32,
        patch_size=16,
        time_stride=16,
        frequency_stride=16,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers_class("ASTForAudioClassification")(config).eval()
    extractor = transformers_class("ASTFeatureExtractor")(max_length=100, num_mel_bins=32)
    detector = AstDetector(model, extractor, MODEL_ID)
    return SoundEventProvider(detector, threshold=0.5, release=0.5)
