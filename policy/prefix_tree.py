"""Token sequences with common beginnings as one tree, so that a token with the same history is computed once.

All programs of a group answer the same prompt, and many begin alike. In a causal model the hidden state of a token
depends on the tokens before it alone, so sequences that share a beginning share its states, and gradients through them
add up. A tree is one row for the model: its nodes in depth-first order, position = depth, each node attending to itself
and its ancestors. Log-probabilities and gradients are those of the separate sequences, up to rounding. (Shared prompts:
arXiv 2506.05433; whole trees: arXiv 2511.00413.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """S sequences as a tree of N nodes, numbered depth first."""

    tokens: IntArray
    """(N,) token ids."""
    depths: IntArray
    """(N,) position of each token in its sequences, from 0."""
    ends: IntArray
    """(N,) node i and its descendants are the nodes i to ends[i] - 1."""
    paths: tuple[IntArray, ...]
    """S arrays: the nodes of each sequence, in the order in which the sequences were given."""

    @property
    def size(self) -> int:
        """N."""
        return len(self.tokens)

    def attends(self) -> npt.NDArray[np.bool_]:
        """(N, N), true where the node of the row attends to the node of the column: its ancestors and itself."""
        node = np.arange(self.size)
        return (node[None, :] <= node[:, None]) & (node[:, None] < self.ends[None, :])


def build_trees(
    sequences: Sequence[Sequence[int]], max_nodes: int, share: bool = True
) -> list[tuple[list[int], PrefixTree]]:
    """Trees of at most `max_nodes` nodes each, with the numbers of the sequences they hold; a longer sequence has a
    tree of its own.

    Sequences are taken in lexicographic order, in which those that share most are neighbours. With `share` false each
    has a tree of its own. Raises ValueError when a sequence is empty.
    """
    if not all(len(sequence) for sequence in sequences):
        raise ValueError("a sequence without tokens has no place in a tree")
    arrays = [np.asarray(sequence, np.int64) for sequence in sequences]
    order = sorted(range(len(sequences)), key=lambda number: (tuple(sequences[number]), number))
    trees: list[tuple[list[int], PrefixTree]] = []
    members: list[int] = []
    nodes = 0
    for number in order:
        own = len(arrays[number])
        new = own - _common(arrays[members[-1]], arrays[number]) if members else own
        if members and (not share or nodes + new > max_nodes):
            trees.append((members, _tree([arrays[member] for member in members])))
            members, nodes, new = [], 0, own
        members.append(number)
        nodes += new
    if members:
        trees.append((members, _tree([arrays[member] for member in members])))
    return trees


def _tree(ordered: list[IntArray]) -> PrefixTree:
    """The tree of sequences in lexicographic order."""
    pieces = [ordered[0]]
    depths = [np.arange(len(ordered[0]))]
    path = np.arange(len(ordered[0]))
    paths = [path]
    ends = np.empty(sum(map(len, ordered)), np.int64)
    size = len(path)
    for before, sequence in zip(ordered, ordered[1:], strict=False):
        common = _common(before, sequence)
        ends[path[common:]] = size
        new = len(sequence) - common
        pieces.append(sequence[common:])
        depths.append(np.arange(common, len(sequence)))
        path = np.concatenate([path[:common], np.arange(size, size + new)])
        paths.append(path)
        size += new
    ends[path] = size
    return PrefixTree(np.concatenate(pieces), np.concatenate(depths), ends[:size], tuple(paths))


def _common(first: IntArray, second: IntArray) -> int:
    """Length of the common beginning."""
    length = min(len(first), len(second))
    unlike = np.flatnonzero(first[:length] != second[:length])
    return int(unlike[0]) if len(unlike) else length
