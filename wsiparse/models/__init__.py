"""Models: tiles and text prompts in, probabilities out."""

import os

# Torch reads both once, as it is imported; a person's own settings stand. Its threads otherwise turn on the spot while
# they wait for one another, on processors that readers and writers want; its large arrays come in pages of 4 kB.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
