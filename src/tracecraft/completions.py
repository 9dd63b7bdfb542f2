"""The completion ledger: every completion ever paid for, keyed by what asked for it.

One folder, shared by all runs of a store. Each process appends to a segment of its own, a file
of JSON lines, so that two writers can never tear each other's records; readers see all segments.
A line that a kill cut short is owed again, never a crash.
"""
