"""Pictures of what was found."""

from coprop_plugin.report.film_strip import film_strip

__all__ = ["film_strip"]
