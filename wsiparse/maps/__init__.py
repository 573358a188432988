"""Maps: probabilities and label maps on disk, as OME-Zarr."""
