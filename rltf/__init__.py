"""Reinforcement learning of code models from unit tests: the one name that an installation puts among a Python's
packages.

The rooms (`actors/`, `buffer/`, `executor/`, ...) lie in the root of a checkout, and this folder links to them, so that
`rltf.executor` is the same import in a checkout, in an installation, in Ray's workers, and for type checkers and
linters, which follow links.
"""
