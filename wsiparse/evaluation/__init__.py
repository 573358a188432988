"""Evaluation: predictions held against references."""
