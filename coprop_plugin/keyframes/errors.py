"""What the Keyframe Processor refuses."""

from coprop_plugin.errors import CopropError


class KeyframeError(CopropError, ValueError):
    """Frames, sound or options that the Keyframe Processor cannot work with."""
