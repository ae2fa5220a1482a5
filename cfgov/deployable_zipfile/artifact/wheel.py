"""Safe reader of other people's wheels, at build from a file, on the target from their place in the artifact.

The form is PEP 427 ("wheel 1.x") with RECORD as in PEP 376 and entry points as in the packaging specifications.
A wheel's zip may be written by anyone, so directory members, data descriptors and extra fields are allowed; what lets
two readers see different files is not: bytes before, between or after members, names twice, links, a local header
that names another member. pip 23.2.1 installs 11 of 33 wheels that break such rules (measured).
"""

from __future__ import annotations

import hashlib
import os
from typing import Dict, Iterator, List, Tuple

from ..definitions import NamedTuple, expression
from ..errors import WheelError
from .names import UNSAFE, folders_of
from .record import RecordRow, digest_bytes, parse_record
from .versions import normalised, same_version
from .wheel_files import files_of
from .window import Entry, Window

MAX_TEXT = 16 * 1024 * 1024  # bytes of a text that is read whole: twice what RECORD of 65 535 files needs
OWN = ("RECORD", "INSTALLER", "REQUESTED")  # in .dist-info: written by the installer, whatever a wheel has of that name
SCHEMES = ("purelib", "platlib", "headers", "scripts", "data")  # PEP 427, "The .data directory"

_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")  # PEP 427: signatures and RECORD itself are not in RECORD
_MAX_WHEEL = 64 * 1024  # bytes of WHEEL: five lines and one for each tag
_MAX_ENTRY_POINTS = 1024 * 1024  # bytes
_MAX_ROW = 160  # bytes of a row of RECORD beside the name: a SHA-512 and a size, quoted
_METADATA_HEAD = 256 * 1024  # bytes in which Name and Version of METADATA are looked for
# Beyond ASCII every character is taken for a letter: which ones are differs between versions of Python. The classes are
# written by what they exclude, because compiling one that holds nearly all of Unicode delays every start.
_LETTER = r"[^\x00-@\[-^`{-\xa0]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`{-\xa0]"
_NAME = rf"{_LETTER}{_LETTER_OR_DIGIT}*"
# The specification's recommended form, blanks and "+" added because published wheels use them.
_SCRIPT_NAME = expression(rf"{_LETTER_OR_DIGIT}(?:{_LETTER_OR_DIGIT}|[.+\- ])*\Z")
_REFERENCE = expression(
    rf"({_NAME}(?:\.{_NAME})*)\s*:\s*({_NAME}(?:\.{_NAME})*)\s*(?:\[[^\]]*\]\s*)?(?:(?<=\s)[;#].*)?\Z"
)
_FILENAME = expression(r"([^-]+)-([^-]+)(?:-(\d[^-]*))?-([^-]+)-([^-]+)-([^-]+)\.whl\Z")


class EntryPoint(NamedTuple):
    """One console or GUI script that a wheel asks for."""

    name: str
    module: str
    attributes: str  # dotted path inside the module
    gui: bool


def is_sound(point: EntryPoint) -> bool:
    """Tell whether the name of *point* is a plain file name, and what it calls a plain reference."""
    reference = f"{point.module}:{point.attributes}"
    match = _REFERENCE.match(reference)
    return bool(
        match
        and match.groups() == (point.module, point.attributes)
        and _SCRIPT_NAME.match(point.name)
        and not UNSAFE.search(f"{point.name}={reference}")
    )


class Wheel(Window):
    """One wheel. Opening reads the directory, WHEEL, METADATA's head and RECORD; the ``check_`` methods prove.

    Parameters:
        descriptor, start, size: where it is; the descriptor stays the caller's.
        label: its path or member name; the last part must be a wheel file name.
        advice: what errors tell to do, "": to copy the artifact again.

    Attributes:
        filename, name, version: of the file name, the name normalised by PEP 503.
        dist_info: name of its ``.dist-info`` folder.
        tags: of the file name, expanded, "cp311-cp311-manylinux_2_17_x86_64" each.
        purelib: WHEEL's Root-Is-Purelib.
        files: every file by name.
        tops: the first part of every name.
        record: RECORD by name.

    Raises:
        WheelError: naming the wheel and the inner file.
    """

    def __init__(self, descriptor: int, start: int, size: int, label: str, advice: str = "") -> None:
        super().__init__(descriptor, start, size, label, WheelError)
        self.advice = advice or self.advice
        self.filename = label.rpartition("/")[2]
        match = _FILENAME.match(self.filename)
        if match is None:
            self.refuse("", "does not have the name of a wheel (NAME-VERSION-PYTHON-ABI-PLATFORM.whl)")
        distribution, self.version, _, *tags = match.groups()
        self.name = normalised(distribution)
        self.tags = tuple(
            f"{python}-{abi}-{platform}"
            for python in tags[0].split(".")
            for abi in tags[1].split(".")
            for platform in tags[2].split(".")
        )
        self.files: Dict[str, Entry] = files_of(self)
        self.tops = {name.partition("/")[0] for name in self.files}
        self.dist_info = self._dist_info()
        self.purelib = self._purelib()
        self.record = self._record()

    @classmethod
    def open(cls, path: str, label: str = "", advice: str = "Lock another version") -> "Wheel":
        """Open the wheel file *path*; use :meth:`close` or a ``with`` block.

        Parameters:
            label: how errors name it, by default its path.
            advice: what errors tell to do.

        Raises:
            WheelError: it cannot be read or is not a wheel.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise WheelError(path, f"cannot be read ({error.strerror})", "Give the path of a wheel") from None
        try:
            return cls(descriptor, 0, os.fstat(descriptor).st_size, label or os.fspath(path), advice)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Close the descriptor that :meth:`open` opened."""
        os.close(self.descriptor)

    def __enter__(self) -> "Wheel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def text(self, name: str, most: int = MAX_TEXT) -> str:
        """Return the content of file *name* as text, of at most *most* bytes.

        Raises:
            WheelError: the file is missing, broken or not UTF-8.
        """
        if name not in self.files:
            self.refuse(name, "is missing")
        if self.files[name].size > most:
            self.refuse(name, f"has {self.files[name].size} bytes, more than {most}")
        try:
            return self.read(self.files[name]).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(name, "is not UTF-8")

    def check_structure(self) -> None:
        """Prove names, RECORD's set of files, ``.data`` folders and entry points, without inflating the files.

        Raises:
            WheelError: naming the first file that breaks a rule.
        """
        unlisted = [f"{self.dist_info}/{own}" for own in _UNLISTED]
        unknown = self.files.keys() - self.record.keys() - set(unlisted)
        if unknown:
            self.refuse(next(name for name in self.files if name in unknown), "is not listed in RECORD")
        if any(".data" in name for name in self.files):
            for name in self.files:
                self._check_place(name)
        self._check_record()
        metadata = self._metadata()
        if normalised(metadata[0]) != self.name or not same_version(metadata[1], self.version):
            self.refuse(
                f"{self.dist_info}/METADATA", f"is of {metadata[0]} {metadata[1]}, the file name says otherwise"
            )
        self.entry_points()

    def _check_place(self, name: str) -> None:
        top, _, rest = name.partition("/")
        if not top.endswith(".data"):
            return
        scheme, _, inner = rest.partition("/")
        if scheme not in SCHEMES or not inner:
            self.refuse(name, f"is in an unknown .data folder, known are {', '.join(SCHEMES)}")

    def _check_record(self) -> None:
        own = f"{self.dist_info}/RECORD"
        for name, (algorithm, _, size) in self.record.items():
            entry = self.files.get(name)
            if entry is None:
                self.refuse(name, "is listed in RECORD but missing")
            if size is not None and size != entry.size:
                self.refuse(name, f"has {entry.size} bytes, RECORD says {size}")
            if not algorithm and name != own:
                self.refuse(name, "has no digest in RECORD")

    def check_contents(self) -> Dict[str, int]:
        """Inflate every file and compare CRC-32, size and RECORD digest; nothing is written.

        Returns where the data of each file begin, from the first byte of the wheel.

        Raises:
            WheelError: naming the first file that differs.
        """
        starts: Dict[str, int] = {}
        for entry, raw, base in self.neighbours(list(self.files.values())):
            if raw:
                at = base + self.data_at(entry, raw, base)
                starts[entry.name] = entry.start - base + at
                self.check_digest(entry, self.content_at(entry, raw, at))
            else:
                starts[entry.name] = self.data_start(entry) - self.start
                for _ in self.proven_blocks(entry):
                    pass
        return starts

    def proven_blocks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of *entry* in pieces; after the last one its RECORD digest has been compared."""
        row = self.record.get(entry.name)
        if row is None or not row.algorithm:
            yield from self.blocks(entry)
            return
        digest = hashlib.new(row.algorithm)
        for block in self.blocks(entry):
            digest.update(block)
            yield block
        if digest.digest() != digest_bytes(row.digest):
            self.refuse(entry.name, f"its {row.algorithm} is not the one in RECORD")

    def check_digest(self, entry: Entry, content: bytes) -> str:
        """Compare the whole *content* of *entry* with its RECORD digest; return its SHA-256, in hexadecimal."""
        sha256 = hashlib.sha256(content)
        row = self.record.get(entry.name)
        if row is not None and row.algorithm and row.digest != RecordRow.encoded(sha256.digest()):
            found = sha256 if row.algorithm == "sha256" else hashlib.new(row.algorithm, content)
            if found.digest() != digest_bytes(row.digest):
                self.refuse(entry.name, f"its {row.algorithm} is not the one in RECORD")
        return sha256.hexdigest()

    def entry_points(self) -> List[EntryPoint]:
        """Return the scripts that ``entry_points.txt`` asks for, proven to be plain names and references.

        Of two scripts of one name the later counts, and a GUI script before a console script, as with pip.

        Raises:
            WheelError: a name that is not a plain file name, a reference that is not ``module:attribute``.
        """
        name = f"{self.dist_info}/entry_points.txt"
        if name not in self.files:
            return []
        found: Dict[str, EntryPoint] = {}
        section = ""
        for line in self.text(name, _MAX_ENTRY_POINTS).splitlines():
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            if line[0] == "[" and line[-1] == "]":
                section = line[1:-1].strip()
            elif section in ("console_scripts", "gui_scripts"):
                point = self._entry_point(name, line, section == "gui_scripts")
                if point.gui or not (point.name in found and found[point.name].gui):
                    found[point.name] = point
        return list(found.values())

    def _entry_point(self, name: str, line: str, gui: bool) -> EntryPoint:
        script, equals, reference = line.partition("=")
        match = _REFERENCE.match(reference.strip())
        if not equals or match is None:
            self.refuse(name, f"has the line {line!r}, which is not NAME = module:attribute")
        script = script.strip()
        if not _SCRIPT_NAME.match(script) or UNSAFE.search(line):
            self.refuse(name, f"has the script name {script!r}, which is not allowed")
        return EntryPoint(script, match.group(1), match.group(2), gui)

    def _dist_info(self) -> str:
        folders = sorted(top for top in self.tops if top.endswith(".dist-info"))
        if len(folders) != 1:
            self.refuse("", f"has {len(folders)} .dist-info folders, a wheel has one")
        distribution, _, version = folders[0][: -len(".dist-info")].partition("-")
        if normalised(distribution) != self.name or not same_version(version, self.version):
            self.refuse(folders[0], "does not have the name and version of the wheel")
        return folders[0]

    def _purelib(self) -> bool:
        name = f"{self.dist_info}/WHEEL"
        fields = dict(_field(line) for line in self.text(name, _MAX_WHEEL).splitlines() if ":" in line)
        if fields.get("wheel-version", "").split(".")[0] != "1":
            self.refuse(name, f"has Wheel-Version {fields.get('wheel-version')!r}, this installer knows 1.x")
        return fields.get("root-is-purelib", "").lower() == "true"

    def _metadata(self) -> Tuple[str, str]:
        name = f"{self.dist_info}/METADATA"
        head = self.text(name)[:_METADATA_HEAD].replace("\r\n", "\n").partition("\n\n")[0]
        fields: Dict[str, str] = {}
        for line in head.splitlines():
            if ":" in line and not line[0].isspace():
                fields.setdefault(*_field(line))
        return fields.get("name", ""), fields.get("version", "")

    def _record(self) -> Dict[str, RecordRow]:
        name = f"{self.dist_info}/RECORD"
        # A row holds a name of the wheel, a digest and a size; three rows for each file are more than anyone writes.
        room = len("".join(self.files).encode("utf-8")) + _MAX_ROW * len(self.files)
        text = self.text(name, min(MAX_TEXT, 64 * 1024 + 3 * room))
        try:
            rows = parse_record(text[1:] if text.startswith("\ufeff") else text)
        except ValueError as error:
            self.refuse(name, str(error))
        for signature in (f"{self.dist_info}/{own}" for own in _UNLISTED[1:]):
            if signature in rows and not rows[signature].algorithm:
                del rows[signature]  # as good as not listed: it cannot have a digest
        if rows.keys() <= self.files.keys():
            return rows
        found: Dict[str, RecordRow] = {}
        folders = folders_of(self.files)
        for path, row in rows.items():
            path = self._recorded_name(path)
            if path.rstrip("/") in folders and not row.digest:
                continue  # a folder, which the specification does not list
            if found.setdefault(path, row) != row:
                self.refuse(name, f"lists {path} twice, with different digests")
        return found

    def _recorded_name(self, path: str) -> str:
        """Return the member that RECORD's *path* means; published wheels write "/x", "./x" or "a\\x" for some."""
        if path not in self.files and "\\" in path:
            path = path.replace("\\", "/")
        while path not in self.files and path.startswith(("/", "./")):
            path = path.partition("/")[2]
        return path


def is_script(name: str) -> bool:
    """Tell whether *name* is a script in a wheel's ``.data`` folder (PEP 427)."""
    top, _, rest = name.partition("/")
    return top.endswith(".data") and rest.startswith("scripts/")


def _field(line: str) -> Tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip().lower(), value.strip()
