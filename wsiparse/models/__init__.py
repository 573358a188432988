"""Models: tiles and text prompts in, probabilities out."""
