"""Blocks that several rooms build their networks from."""
