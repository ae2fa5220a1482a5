"""The hooks of the documentation site."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tools import documentation

PAGE = SimpleNamespace(file=SimpleNamespace(src_path="page.md"))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("```console server network\nls\n```", "```console\nls\n```"),
        ("```json\n{}\n```", "```json\n{}\n```"),
        ("1. First:\n\n   ```console engine\n   ls\n   ```", "1. First:\n\n    ```console\n    ls\n    ```"),
        ("- First\n\n   text", "- First\n\n   text"),
    ],
)
def test_blocks_take_the_form_that_the_site_reads(written: str, read: str) -> None:
    assert documentation.on_page_markdown(written) == read


def test_a_block_that_was_not_recognised_fails_the_build() -> None:
    with pytest.raises(ValueError, match=r"page\.md: a block is not rendered"):
        documentation.on_page_content("<p>```console server</p>", page=PAGE)

    assert documentation.on_page_content("<p>ls</p>", page=PAGE) == "<p>ls</p>"
