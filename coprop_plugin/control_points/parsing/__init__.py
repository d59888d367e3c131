"""Answers of language models to control-point flags."""

from coprop_plugin.control_points.parsing.answers import flags_schema, parse_flags, quoted

__all__ = ["flags_schema", "parse_flags", "quoted"]
