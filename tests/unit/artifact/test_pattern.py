"""Patterns that an artifact brings: they mean what ``re`` says, and cannot keep a server busy."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployable_zipfile.artifact.pattern import MAX_LENGTH, Pattern, TooLong
from tests.support.depth import sampled

ATOMS = st.sampled_from(
    ["a", "b", "-", r"\d", r"\w", r"\S", ".", "[ab]", "[^b]", "[a-c1-3]", r"[\w.-]", r"\.", "é", r"\-"]
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    mark = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, mark).map(lambda pair: f"({pair[0]}){pair[1]}"),
        inner.map(lambda one: f"(?:{one})"),
    )


PATTERNS = st.recursive(ATOMS, grown, max_leaves=8)


@given(PATTERNS, st.text("ab-1.é ", max_size=8))
def test_it_matches_what_re_matches(pattern: str, text: str) -> None:
    assert Pattern(pattern).matches(text) == bool(re.fullmatch(f"(?:{pattern})", text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", "abc", "abc\n"),
        ("a|b", "b", "ab"),
        ("", "", "a"),
        (r"^\$", "$", ""),
        (r"x\\$", "x\\", "x"),
        (r"[\]a]+", "]a", "b"),
        ("[a-]", "-", "b"),
        ("(a|)b", "b", "aab"),
        (".{3,5}", "abcd", "ab\n"),
        ("(a*)*b", "aab", "aac"),
    ],
)
def test_examples(pattern: str, good: str, bad: str) -> None:
    assert Pattern(pattern).matches(good)
    assert not Pattern(pattern).matches(bad)


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "[", "[]", "a**", "a{", "a{2,1}", "a{201}", "*", "a|*", "(?=a)", "(?P<n>a)", r"\1", r"\b", r"\p{L}",
        r"\x41", "[z-a]", "[[a]]", r"[\D]", "a" * (MAX_LENGTH + 1), "(" * 30 + ")" * 30, "((a{99}){99}){99}", "a^b",
        "(((){200}){200}){200}", "\\", "a$b", r"\é", "[\\", "[a-",
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^(has|is|repeats) "):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern", sampled(["(a+)+b", "(a|a)*b", "(a|aa)+b", "a*a*a*a*a*a*b", "(.*)*x", "((a?){100}){2}b"], ["(a+)+b"])
)
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.process_time()
    for text in ("a" * 40, "a" * 4000, "a" * 130_000):
        try:
            assert not Pattern(pattern).matches(text)
        except TooLong:
            continue
    assert time.process_time() - began < 60


def test_the_longest_text_and_the_largest_class_end_as_too_long() -> None:
    pattern = "[" + "".join(chr(200 + 2 * n) for n in range(240)) + "z]*"
    with pytest.raises(TooLong):
        Pattern(pattern).matches("z" * 131_072)
