"""Tiles: the plan, the pixels of a block, and the way back from tiles to a map."""
