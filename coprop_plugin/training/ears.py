"""Where the audio encoders of what is trained begin."""

from pathlib import Path

from torch import nn

from coprop_plugin.audio.vggish import VGGish, load_vggish
from coprop_plugin.errors import TrainingError


def begin_with_vggish(sound: nn.Module | None, weights: str | Path) -> None:
    """Fill the VGGish of what listens with its released weights.

    Args:
        sound: Has an `encoder`.
        weights: A file, or "released" to download them.

    Raises:
        TrainingError: If the encoder is another than VGGish, or there is none.
        CheckpointError: If the weights cannot be had.
    """
    encoder = getattr(sound, "encoder", None)
    if not isinstance(encoder, VGGish):
        raise TrainingError(
            f"Got vggish={str(weights)!r} for an audio encoder of type {type(encoder).__name__}. "
            "Say audio_encoder='VGGish', or leave vggish out."
        )
    released = load_vggish(None if weights == "released" else weights)
    encoder.load_state_dict(released.state_dict())
