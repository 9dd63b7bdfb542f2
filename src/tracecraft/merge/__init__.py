"""Branches become one: fusions and other merges, tensor by tensor."""

from tracecraft.merge.fusion import Fused, fuse

__all__ = ["Fused", "fuse"]
