"""What a claimer remembers of mail it does not want."""

from __future__ import annotations

from gateway.rules.front import FORGET_S, Front

ACME, GLOBEX = ("customer", 1), ("customer", 2)


def test_the_place_holds_for_all_who_want_no_more_than_before() -> None:
    front = Front()
    assert front.after(frozenset([ACME]), 0.0) is None
    assert front.note(frozenset([ACME]), None, "there", 0.0)
    assert front.after(frozenset([ACME]), 1.0) == "there"
    assert front.after(frozenset([ACME, GLOBEX]), 1.0) == "there"
    assert front.after(frozenset([GLOBEX]), 1.0) is None
    assert front.after(frozenset(), 1.0) is None


def test_a_claim_that_wanted_more_leaves_the_place_alone() -> None:
    front = Front(frozenset([ACME]), "there")
    assert not front.note(frozenset(), None, None, 1.0)
    assert front.after(frozenset([ACME]), 2.0) == "there"


def test_steps_on_do_not_keep_it_for_ever() -> None:
    front, unwanted = Front(), frozenset([ACME])
    front.note(unwanted, None, "there", 0.0)
    front.note(unwanted, "there", "further", FORGET_S - 1)
    assert front.after(unwanted, FORGET_S - 0.5) == "further"
    assert front.after(unwanted, FORGET_S) is None
