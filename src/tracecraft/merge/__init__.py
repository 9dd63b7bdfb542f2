"""Branches become one: fusions and other merges, tensor by tensor."""

from tracecraft.merge.checkpoint import preflight
from tracecraft.merge.delta import Report, TensorDelta
from tracecraft.merge.fold import Merge, MergePlan, MergeStep, carry_out, merge_pair, orders
from tracecraft.merge.fusion import Fused, fuse
from tracecraft.merge.methods import Method

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
    "preflight",
]
