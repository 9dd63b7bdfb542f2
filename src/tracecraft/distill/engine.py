"""The engine plug point, under the name that this room knows it by: see `tracecraft.engine`."""

from tracecraft.engine import Completion, Engine, Message, Request, Sampling, Session, request

__all__ = ["Completion", "Engine", "Message", "Request", "Sampling", "Session", "request"]
