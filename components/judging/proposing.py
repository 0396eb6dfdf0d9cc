"""What to try next, by what the run has found: rules, each with its source and its evidence.

A proposal is no promise. All rules but `nobody_can_tell`, which makes no model better, are tried in
`tests/test_proposals.py`, and `another_giant` in `tests/test_real_giants.py`, on data that makes
them, where what they propose has to help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.artifacts import SoFar
from components.judging import about_data, about_training
from components.judging.proposal import Found, Proposal

# No more are made.
MOST = 5

Rule = Callable[[Found], Iterator[Proposal]]
RULES: tuple[Rule, ...] = (
    about_data.more_labels,
    about_data.doubtful_labels,
    about_data.a_part_is_worse,
    about_data.unlike,
    about_training.not_done,
    about_training.overfits,
    about_training.too_fast,
    about_data.rare_classes,
    about_data.same_on_both_sides,
    about_training.another_giant,
    about_training.only_the_head,
    about_data.nobody_can_tell,
)


def propose(so_far: SoFar) -> list[Proposal]:
    """At most five, in the order of what they may be worth."""
    if not so_far.evaluation.figures:
        return []
    found = Found(so_far.evaluation, so_far.suspects, so_far.features, so_far.head, so_far.tuned)
    made = [proposal for rule in RULES for proposal in rule(found)]
    return sorted(made, key=lambda proposal: -proposal.gain)[:MOST]
