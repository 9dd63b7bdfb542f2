"""The program's side of tests that run elsewhere; and the structures LeetCode's problems share."""

import types
from collections.abc import Mapping
from typing import Any

from tracecraft.verify import driver
from tracecraft.verify.peer import Peer

__all__ = ["SHARED", "serve_program", "structures"]

_STRUCTURES = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next

class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val = val
        self.left = left
        self.right = right

def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head

def is_same_list(p1, p2):
    while p1 and p2 and p1.val == p2.val:
        p1, p2 = p1.next, p2.next
    return p1 is None and p2 is None

def tree_node(values):
    if not values:
        return None
    root = TreeNode(values[0])
    waiting, rest = [root], list(values[1:])
    while rest:
        node = waiting.pop(0)
        for side in ("left", "right"):
            if rest:
                value = rest.pop(0)
                if value is not None:
                    setattr(node, side, TreeNode(value))
                    waiting.append(getattr(node, side))
    return root

def is_same_tree(p, q):
    if p is None or q is None:
        return p is q
    return p.val == q.val and is_same_tree(p.left, q.left) and is_same_tree(p.right, q.right)
"""
"""What LeetCode gives every program, and the helpers that sets made of it use in their tests."""
SHARED = ("ListNode", "TreeNode")
"""Those whose instances cross."""


def structures() -> dict[str, Any]:
    """Classes and helpers by name."""
    made = types.ModuleType("solution")
    exec(_STRUCTURES, made.__dict__)
    return {k: v for k, v in vars(made).items() if not k.startswith("__")}


def serve_program(source: bytes, spec: Mapping[str, Any]) -> None:
    """The program's side: load it, then answer the tests."""
    shared = structures() if spec["prelude"] else {}
    program = driver.load_program(source, "solution", prelude=spec["prelude"], more=shared)
    peer = Peer(driver.RPC_IN, driver.RPC_OUT, trusting=True)
    peer.records = {n: vars(program).get(n, shared[n]) for n in SHARED if n in shared}
    peer.names = vars(program)
    peer.serve()
