"""Slides: files in, pixels and tissue out."""
