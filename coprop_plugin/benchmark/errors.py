"""What goes wrong with data sets and scores."""

from coprop_plugin.errors import CopropError


class DatasetError(CopropError, ValueError):
    """A data set on disk that is not laid out as it should be; the message names the file."""


class MetricError(CopropError, ValueError):
    """Predictions and truth that cannot be compared."""


class DatasetWarning(UserWarning):
    """A file of a data set that can be used, but not as it was meant."""
