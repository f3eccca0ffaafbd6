"""Label probabilities from the token log-probabilities of a reply.

The reply holds one answer, and for each of its tokens the likeliest alternatives. Walk along the tokens of the label with
the set of labels that are still possible. An alternative that fits one label only gives that label its probability; one
that fits several can be followed only where the reply itself went on with it. So

    P(label) = Σ over the label's first distinguishing tokens of (probability of the shared tokens before) · p(token),

renormalised over the labels, which is the distribution under the constraint that the answer is a label. What cannot be
known — an alternative that fits several labels, a label below the end of the list — is bounded; where the bound exceeds
5 % of the whole the probabilities are None rather than a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tutelage.teachers.llm.base import Token

TOLERANCE = 0.05


def label_probs(tokens: Sequence[Token], span: tuple[int, int], names: Sequence[str]) -> tuple[float, ...] | None:
    """Probabilities (K,) of the labels, or None where the reply does not tell them.

    Args:
        tokens: the reply's tokens; their texts joined are the reply.
        span: where in the reply the label stands, quotes not counted; one character must follow it.
        names: the K labels as they would stand there.

    >>> top = (("sport", math.log(0.7)), ("politics", math.log(0.2)), ("The", math.log(0.1)))
    >>> tokens = [Token('"', 0.0), Token("sport", math.log(0.7), top), Token('"', 0.0)]
    >>> [round(p, 3) for p in label_probs(tokens, (1, 6), ["politics", "sport"])]
    [0.222, 0.778]
    """
    raw = "".join(token.text for token in tokens)
    start, end = span
    if not 0 <= start < end < len(raw):
        return None
    targets = [raw[:start] + name + raw[end] for name in names]
    known = [0.0] * len(names)
    unknown = 0.0
    alive = list(range(len(names)))
    mass = 1.0
    offset = 0
    for token in tokens:
        if offset + len(token.text) <= start:
            offset += len(token.text)
            continue
        listed = _listed(token)
        if not listed:
            return None
        following: list[int] = []
        share = 0.0
        covered: set[int] = set()
        for text, p in listed.items():
            fits = [k for k in alive if _fits(targets[k][offset:], text)]
            covered.update(fits)
            if len(fits) == 1:
                known[fits[0]] += mass * p
            elif text == token.text:
                following, share = fits, p
            elif fits:
                unknown += mass * p
        unseen = len(alive) - len(covered)
        if unseen:
            rest = max(0.0, 1.0 - sum(listed.values()))
            unknown += mass * min(rest, unseen * min(listed.values()))
        if not following:
            alive = []
            break
        mass *= share
        alive = following
        offset += len(token.text)
    if alive:
        return None
    total = sum(known)
    if total <= 0 or unknown > TOLERANCE * (total + unknown):
        return None
    return tuple(p / total for p in known)


def _listed(token: Token) -> dict[str, float]:
    """The alternatives in a token's place with their probabilities, itself included; empty where there are none."""
    if not token.top:
        return {}
    listed = {text: math.exp(min(0.0, logprob)) for text, logprob in token.top if text}
    listed.setdefault(token.text, math.exp(min(0.0, token.logprob)))
    return listed


def _fits(rest: str, text: str) -> bool:
    """Whether a token can be the next piece of (or run past the end of) what is left of a label."""
    return rest.startswith(text) or (bool(rest) and text.startswith(rest))
