"""What training refuses."""

from coprop_plugin.errors import CopropError


class TrainingError(CopropError, ValueError):
    """Options, data or a config that cannot be trained with."""
