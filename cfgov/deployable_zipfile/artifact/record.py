"""RECORD of a wheel or an installation (PEP 376): path, digest and size of every file."""

from __future__ import annotations

import base64
import binascii
from typing import Dict, Iterator, List, Optional

from ..definitions import NamedTuple, expression

_DIGESTS = {"sha256": 32, "sha384": 48, "sha512": 64}  # PEP 427: sha256 or better
_HEX = expression(r"[0-9a-fA-F]+\Z")
# Of many rows at once: their digests and their sizes, each joined. 32 bytes are 43 characters without padding.
_SHA256 = expression(r"(?:sha256=[A-Za-z0-9_-]{43})*\Z")
_SHA256_LENGTH = 50
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_DIGITS = expression(r"[0-9]*\Z")


class RecordRow(NamedTuple):
    """One line of RECORD."""

    algorithm: str  # "sha256", "sha384", "sha512"; "" where no digest is given
    digest: str  # URL-safe base64 without padding, as in the file
    size: Optional[int]  # bytes

    @property
    def sha256(self) -> str:
        """The digest as 64 hexadecimal digits; "" when it is of another algorithm or absent."""
        return digest_bytes(self.digest).hex() if self.algorithm == "sha256" else ""

    @staticmethod
    def encoded(digest: bytes) -> str:
        """Return *digest* as RECORD spells it (PEP 376: URL-safe base64 without padding)."""
        return binascii.b2a_base64(digest, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


_NO_DIGEST = RecordRow("", "", None)


def parse_record(text: str) -> Dict[str, RecordRow]:
    """Return the rows of a RECORD by path (PEP 376: path, digest, size).

    Raises:
        ValueError: a row of another form, a digest weaker than SHA-256, a path twice with two digests.
    """
    return quick_rows(text) or _strict_rows(text)


def quick_rows(text: str) -> Optional[Dict[str, RecordRow]]:
    """Return what the strict reader would of rows in their usual form: path, SHA-256 and size, or only a path.

    None: a row has another form, or is wrong, and only the strict reader can tell which.
    """
    if '"' in text or "\0" in text:
        return None
    rows: Dict[str, RecordRow] = {}
    digests: List[str] = []
    sizes: List[str] = []
    new, lines = tuple.__new__, text.splitlines()
    try:
        for line in lines:
            path, digest, size = line.split(",")
            if digest:
                digests.append(digest)
                sizes.append(size)
                rows[path] = new(RecordRow, ("sha256", digest[7:], int(size)))
            elif size:
                return None
            else:
                rows[path] = _NO_DIGEST
    except ValueError:
        return None
    if len(rows) != len(lines) or not _DIGITS.match("".join(sizes)) or not _SHA256.match("".join(digests)):
        return None
    return None if set(map(len, digests)) - {_SHA256_LENGTH} else rows


def _strict_rows(text: str) -> Dict[str, RecordRow]:
    rows: Dict[str, RecordRow] = {}
    for fields in _csv_rows(text):
        if len(fields) != 3:
            raise ValueError(f"has a line of {len(fields)} fields, a line has 3")
        path, digest, size = fields
        algorithm, _, value = digest.partition("=")
        if digest and algorithm in _DIGESTS and len(value) == 2 * _DIGESTS[algorithm] and _HEX.match(value):
            value = RecordRow.encoded(bytes.fromhex(value))  # as some published wheels spell it
        if digest and (algorithm not in _DIGESTS or len(digest_bytes(value)) != _DIGESTS[algorithm]):
            raise ValueError(f"has a digest of {path} that is not {' or '.join(_DIGESTS)}")
        if size and not (size.isascii() and size.isdigit()):
            raise ValueError(f"has a size of {path} that is not a number")
        row = RecordRow(algorithm if digest else "", value.rstrip("="), int(size) if size else None)
        if rows.setdefault(path, row) != row:
            raise ValueError(f"lists {path} twice, with different digests")
    return rows


def _csv_rows(text: str) -> Iterator[List[str]]:
    if "\0" in text:
        raise ValueError("contains a NUL character")  # what csv makes of one differs between versions of Python
    if '"' in text:
        import csv

        try:
            yield from (row for row in csv.reader(text.splitlines()) if row)
        except csv.Error as error:
            raise ValueError(f"is not a CSV file ({error})") from None
        return
    for line in text.splitlines():
        if line:
            yield line.split(",")


def digest_bytes(value: str) -> bytes:
    """Return the digest that RECORD spells *value*, b"" when it is none."""
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return b""
