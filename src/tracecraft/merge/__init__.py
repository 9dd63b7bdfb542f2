"""Branches become one: fusions and other merges, tensor by tensor."""

from tracecraft.merge.checkpoint import preview
from tracecraft.merge.delta import Report, TensorDelta
from tracecraft.merge.fold import Merge, MergePlan, MergeStep, carry_out, merge_pair
from tracecraft.merge.fusion import Fused, fuse
from tracecraft.merge.mergekit import read_mergekit
from tracecraft.merge.methods import Method
from tracecraft.merge.order import Scored, orders, search
from tracecraft.merge.postflight import try_out

__all__ = [
    "Fused",
    "Merge",
    "MergePlan",
    "MergeStep",
    "Method",
    "Report",
    "Scored",
    "TensorDelta",
    "carry_out",
    "fuse",
    "merge_pair",
    "orders",
    "preview",
    "read_mergekit",
    "search",
    "try_out",
]
