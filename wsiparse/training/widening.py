"""A network that goes on with more channels than it learned with so far."""

from __future__ import annotations

from dataclasses import replace

from wsiparse.errors import InputError
from wsiparse.models.open_network import OpenNetwork, Sizes


def widen_network(network: OpenNetwork, sizes: Sizes) -> OpenNetwork:
    """A network with at least as many channels a level that answers as this one does.

    The channels that are new start at random and say nothing yet to those that were there, so that both learn from the
    first step on (after Chen et al. 2016, Net2Net). Raises InputError for sizes that differ in more than wider levels.
    """
    if not _is_wider(network.sizes, sizes):
        raise InputError(
            f"start has sizes {network.sizes}, the config asks for {sizes}; widen channels alone, or leave sizes out"
        )
    wider = OpenNetwork(sizes)
    grown = wider.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 4:  # kernels: outputs that were there hear nothing from new channels
            grown[name][: len(tensor)] = 0
        grown[name][tuple(map(slice, tensor.shape))] = tensor
    return wider


def _is_wider(before: Sizes, after: Sizes) -> bool:
    wide = len(before.channels) == len(after.channels) and all(map(int.__le__, before.channels, after.channels))
    return wide and replace(before, channels=after.channels) == after
