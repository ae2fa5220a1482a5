"""Hooks of mkdocs: what the documentation site needs beyond Markdown. ``mkdocs.yml`` names this file.

The words behind the language of a block (``console server``) are for the tests that run the commands. The Markdown of
the site does not know them, and its lists need four spaces where GitHub takes three.
"""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"^( *)```(\w+)[ \w]*$", re.MULTILINE)
_IN_NUMBERED_LIST = re.compile(r"^ {3}(?=\S)", re.MULTILINE)
_NUMBERED = re.compile(r"^[0-9]+\. ", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return *markdown* of a page in the form that the site's Markdown reads."""
    plain = _FENCE.sub(r"\1```\2", markdown)
    return _IN_NUMBERED_LIST.sub("    ", plain) if _NUMBERED.search(plain) else plain


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Return *html* unchanged.

    Raises:
        ValueError: a block was not recognised, and its marks are visible on the page.
    """
    if "```" in html:
        raise ValueError(f"{page.file.src_path}: a block is not rendered, its backquotes are visible")
    return html
