"""Annotations: label maps in, outlines that QuPath opens out, and back."""
