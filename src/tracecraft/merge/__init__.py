"""Branches become one: fusions and other merges, tensor by tensor."""

from tracecraft.merge.checkpoint import preflight
from tracecraft.merge.delta import Report, TensorDelta
from tracecraft.merge.fold import Merge, MergePlan, MergeStep, carry_out, merge_pair, orders
from tracecraft.merge.fusion import Fused, fuse
from tracecraft.merge.mergekit import read_mergekit
from tracecraft.merge.methods import Method
from tracecraft.merge.postflight import postflight
from tracecraft.merge.search import search

__all__ = [
    "Fused",
    "Merge",
    "MergePlan",
    "MergeStep",
    "Method",
    "Report",
    "TensorDelta",
    "carry_out",
    "fuse",
    "merge_pair",
    "orders",
    "postflight",
    "preflight",
    "read_mergekit",
    "search",
]
