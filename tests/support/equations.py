"""The objectives straight from their equations, in float64, one program at a time, unpadded.

Shares no code with the learner.

What a program is to be blamed for is not derived here but written by hand beside each program (`Case`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor


@dataclass
class Case:
    """A program and what is known of it."""

    prompt: list[int]
    tokens: list[int]
    pieces: list[bytes]
    """Bytes of each token."""
    outcome: str
    passed: int
    run: int
    paper: Any
    """What Table 2 blames: None (no error), "ignore", "all", or the 1-based number of a line."""
    released: Any
    """What the released code blames: the same, or the bytes of the line that it searches for."""
    greedy: bool = False


def log_probs(model: Any, start: int | None, case: Case) -> Tensor:
    """(T,) log p(w_t | D, w_1..t-1); `start` is what a decoder begins with, None for a decoder-only model."""
    if not case.tokens:
        return torch.zeros(0, dtype=torch.float64)
    if start is not None:
        logits = model(
            input_ids=torch.tensor([case.prompt]), decoder_input_ids=torch.tensor([[start] + case.tokens[:-1]])
        ).logits[0]
    else:
        logits = model(input_ids=torch.tensor([case.prompt + case.tokens])).logits[0, len(case.prompt) - 1 : -1]
    rows = []
    for t, token in enumerate(case.tokens):
        rows.append(logits[t, token] - torch.logsumexp(logits[t], 0))
    return torch.stack(rows)


# ---- rewards


def coarse(case: Case) -> float:
    """Eq. 3."""
    if case.outcome == "pass":
        return 1.0
    if case.outcome == "failure":
        return -0.3
    return -1.0 if case.outcome == "compile_error" else -0.6


def adaptive(case: Case) -> float:
    """Eq. 5; where it is not defined the coarse reward, 1.0 for a pass."""
    return -0.3 + 1.3 * (case.passed / case.run) if case.outcome == "failure" else coarse(case)


def line_tokens(case: Case, number: int) -> list[int]:
    """Tokens with a byte of the line, its line end included; a line past the end is the last that is not blank."""
    whole = b"".join(case.pieces)
    lines = whole.split(b"\n")
    if number > len(lines) or (number == len(lines) and not lines[-1]):
        number = max(index for index, line in enumerate(lines, 1) if line.strip())
    begin = len(b"\n".join(lines[: number - 1])) + (1 if number > 1 else 0)
    end = begin + len(lines[number - 1]) + (1 if number < len(lines) else 0)
    return _overlapping(case, begin, end)


def searched_tokens(case: Case, line: bytes) -> list[int]:
    """Tokens from the one with the first byte of the first place where `line` stands, to the one with its last."""
    begin = b"".join(case.pieces).find(line)
    return _overlapping(case, begin, begin + len(line))


def _overlapping(case: Case, begin: int, end: int) -> list[int]:
    found, position = [], 0
    for index, piece in enumerate(case.pieces):
        if piece and position < end and position + len(piece) > begin:
            found.append(index)
        position += len(piece)
    return found


def fine(case: Case, released: bool, alpha_const: bool, r_fine: float = -0.3) -> list[float]:
    """alpha R_fine of each token (Eq. 4 and 9)."""
    blamed = case.released if released else case.paper
    length = len(case.tokens)
    if blamed is None or blamed == "ignore":
        return [0.0] * length
    if blamed == "all":
        where = list(range(length))
    else:
        where = searched_tokens(case, blamed) if isinstance(blamed, bytes) else line_tokens(case, blamed)
    if not where:
        return [0.0] * length
    assert where == list(range(where[0], where[-1] + 1))
    alpha = 1.0 if alpha_const else length / (where[-1] + 1 - where[0])
    return [alpha * r_fine if t in where else 0.0 for t in range(length)]


# ---- normalisation


def total(parts: list[Tensor], normalise: str, limit: int) -> Tensor:
    """Parts (T_i,) of every program of the step to one number."""
    programs, tokens = len(parts), sum(len(part) for part in parts)
    if normalise == "sequence_sum":
        return sum((part.sum() for part in parts), torch.zeros((), dtype=torch.float64)) / programs
    if normalise == "sequence_mean":
        return sum((part.mean() for part in parts if len(part)), torch.zeros((), dtype=torch.float64)) / programs
    if normalise == "constant":
        return sum((part.sum() for part in parts), torch.zeros((), dtype=torch.float64)) / (programs * limit)
    return torch.cat(parts).sum() / tokens


# ---- losses; each returns the (T_i,) parts of every program


def rltf_paper(cases: list[Case], baselines: list[Case | None], log_p: list[Tensor]) -> list[Tensor]:
    """Eq. 8 + 9 + 10."""
    parts = []
    for case, base, values in zip(cases, baselines, log_p, strict=True):
        base_coarse, base_adaptive = (coarse(base), adaptive(base)) if base else (0.0, 0.0)
        part = -(coarse(case) - base_coarse) * values
        part = part - torch.tensor(fine(case, False, False), dtype=torch.float64) * values
        if case.outcome == "failure":
            part = part - (adaptive(case) - base_adaptive) * values
        parts.append(part)
    return parts


def rltf_released(cases: list[Case], baselines: list[Case | None], log_p: list[Tensor]) -> list[Tensor]:
    """r_t = R - 0.3 m_t - R_b, with R of a failure by its tests (q = 1)."""
    parts = []
    for case, base, values in zip(cases, baselines, log_p, strict=True):
        rewards = [adaptive(case) + mask - (adaptive(base) if base else 0.0) for mask in fine(case, True, True)]
        parts.append(-torch.tensor(rewards, dtype=torch.float64) * values)
    return parts


def reinforce(
    advantages: list[list[float]], log_p: list[Tensor], behaviour: list[Tensor], cap: float | None, floor: float | None
) -> list[Tensor]:
    """-A_t min(cap, p / p_sampler) log p, nothing of which pushes a token down that is below the floor already."""
    parts = []
    for rows, values, sampled in zip(advantages, log_p, behaviour, strict=True):
        part = []
        for t, advantage in enumerate(rows):
            weight = 1.0 if cap is None else min(cap, float(torch.exp(values[t].detach() - sampled[t])))
            value = values[t]
            if floor is not None and advantage < 0 and float(value.detach()) < floor:
                value = torch.tensor(floor, dtype=torch.float64)
            part.append(-advantage * weight * value)
        parts.append(torch.stack(part) if part else torch.zeros(0, dtype=torch.float64))
    return parts


def clipped(
    advantages: list[list[float]],
    log_p: list[Tensor],
    behaviour: list[Tensor],
    low: float,
    high: float,
    cap: float | None = None,
) -> list[Tensor]:
    """-min(r A, clip(r) A), r at most `cap`."""
    parts = []
    for rows, values, sampled in zip(advantages, log_p, behaviour, strict=True):
        part = []
        for t, advantage in enumerate(rows):
            ratio = torch.exp(values[t] - sampled[t])
            if cap is not None and float(ratio.detach()) > cap:
                ratio = torch.tensor(cap, dtype=torch.float64)
            bounded = ratio
            if float(ratio.detach()) > 1 + high:
                bounded = torch.tensor(1 + high, dtype=torch.float64)
            elif float(ratio.detach()) < 1 - low:
                bounded = torch.tensor(1 - low, dtype=torch.float64)
            one, other = ratio * advantage, bounded * advantage
            part.append(-(one if float(one.detach()) <= float(other.detach()) else other))
        parts.append(torch.stack(part) if part else torch.zeros(0, dtype=torch.float64))
    return parts


def divergence(log_p: list[Tensor], reference: list[Tensor]) -> list[Tensor]:
    """p_ref / p - log(p_ref / p) - 1 of each token (arXiv 2402.03300, Eq. 4)."""
    return [torch.exp(ref - values) - (ref - values) - 1 for values, ref in zip(log_p, reference, strict=True)]


# ---- token bytes


def byte_pieces(tokenizer: Any, tokens: list[int]) -> list[bytes]:
    """Bytes of each token of a byte-level BPE (Radford et al.

    2019): printable bytes stand for themselves, the rest for 256, 257, ..
    """
    own = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    character = {chr(b): b for b in own}
    character.update({chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in own)})
    special = set(tokenizer.all_special_tokens)
    names = tokenizer.convert_ids_to_tokens(tokens)
    return [b"" if name in special else bytes(character[c] for c in name) for name in names]
