"""Training: labelled images in, weights out."""
