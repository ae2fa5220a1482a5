"""What a wheel is made of: its proof, its metadata, and what its compiled files need from the system.

Also the one form in which locally built wheels are kept: members sorted and dated alike, so that two builds of one
sdist give one file. ELF: System V ABI, "Dynamic Linking"; symbol versions: Linux Standard Base Core 5.0, 10.7.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import posixpath
import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..artifact.record import RecordRow
from ..artifact.wheel import Wheel, normalised
from ..errors import WheelError

# Imported where ELF files are read: a build from the cache reads none.
if TYPE_CHECKING:
    from elftools.elf.gnuversions import GNUVerNeedSection

FORMAT = 4  # of Facts, for caches
_ELF = b"\x7fELF"
_MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_386": "i686",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_ARM": "armv7l",
    "EM_RISCV": "riscv64",
}
_GLIBC = re.compile(r"GLIBC_([0-9]+)\.([0-9]+)")
_RELATIVE_RELOCATIONS = ("GLIBC_ABI_DT_RELR", (2, 36))  # the name under which glibc 2.36 announces them
# Libraries that are glibc itself, on every architecture that manylinux knows.
_LIBC_OWN = re.compile(
    r"(?:libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl|ld-linux[a-z0-9_-]*|ld64)\.so\.[0-9]+\Z"
)
_STARRED = re.compile(r"((?:>=|<=|>|<)\s*[0-9]+(?:\.[0-9]+)*)\.\*")
# At the left margin: what is indented may be within "try" or a function.
_PKG_RESOURCES = re.compile(rb"^(?:import|from)[ \t]+pkg_resources\b(?!\.)", re.MULTILINE)
# Folders in which auditwheel and its likes put the libraries that they copy into a wheel.
EMBEDDED = re.compile(r"(?:[^/]+/)*(?:[^/]+\.libs|\.libs|\.dylibs)/[^/]+\Z")
_TAG_IN_NAME = re.compile(r"-[0-9a-f]{8,}(?=\.)")  # with which auditwheel makes their names distinct
_MAX_BILL = 4 * 1024 * 1024  # bytes of a bill of materials in a wheel
_MOST = 2 * 1024**3  # bytes in a wheel that is written again, which is held in memory
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Elf(NamedTuple):
    """What the ELF files of one wheel for one architecture need and provide."""

    machine: str  # as platform.machine()
    glibc: Tuple[int, int]  # lowest version that loads them all, (0, 0) when they name none
    glibc_file: str  # the file that sets it
    needed: Tuple[str, ...]  # sonames
    provided: Tuple[str, ...]  # sonames and file names


class Embedded(NamedTuple):
    """A library that was copied into a wheel: a file of it, or what a bill of materials in it names (PEP 770)."""

    where: str  # the file in the wheel
    name: str
    version: str = ""
    sha256: str = ""
    purl: str = ""  # package URL
    licence: str = ""


class Facts(NamedTuple):
    """What the build needs to know of one wheel."""

    file: str  # file name
    name: str  # normalised (PEP 503)
    version: str
    sha256: str
    size: int  # bytes
    crc: int
    tags: Tuple[str, ...]
    requires: Tuple[str, ...]  # Requires-Dist
    requires_python: str
    licence: str
    startup: Tuple[str, ...]  # .pth and .start files, which run at every start of Python
    elves: Tuple[Elf, ...]
    python_files: Tuple[Tuple[str, str], ...]  # (member, name relative to site-packages)
    built_from: str  # "NAME-VERSION.tar.gz sha256:..." when it was built here
    pkg_resources: str = ""  # the first of its modules that imports pkg_resources in any case
    doubts: Tuple[str, ...] = ()  # what deserves a look, a clause each
    embedded: Tuple[Embedded, ...] = ()


def prove(path: str, sha256: str, crc: int, built_from: str = "") -> Facts:
    """Read the wheel at *path* completely, prove it, and return what it is.

    Parameters:
        sha256, crc: of the whole file, known from the cache.
        built_from: the sdist it was built from here, "" when it was downloaded.

    Raises:
        WheelError: it is broken, its RECORD does not fit, or its metadata cannot be read.
    """
    with Wheel.open(path, os.path.basename(path)) as wheel:
        wheel.check_structure()
        doubts: List[str] = []
        elves, imported = _proven_contents(wheel, doubts)
        metadata = _metadata(wheel, doubts)
        embedded = (*_embedded_files(wheel), *_embedded_parts(wheel, doubts))
        return Facts(
            file=wheel.filename,
            name=wheel.name,
            version=wheel.version,
            sha256=sha256,
            size=wheel.size,
            crc=crc,
            tags=wheel.tags,
            requires=metadata.requires,
            requires_python=metadata.requires_python,
            licence=metadata.licence,
            startup=tuple(sorted(name for name in wheel.files if _runs_at_start(name))),
            elves=elves,
            python_files=tuple(sorted(_python_files(wheel))),
            built_from=built_from,
            pkg_resources=imported,
            doubts=tuple(doubts),
            embedded=tuple(sorted(set(embedded))),
        )


def to_document(facts: Facts) -> Dict[str, Any]:
    """Return *facts* as JSON objects."""
    return dict(facts._asdict(), elves=[elf._asdict() for elf in facts.elves])


def from_document(document: Dict[str, Any]) -> Facts:
    """Read *facts* back from :func:`to_document`."""
    elves = [
        Elf(elf["machine"], (elf["glibc"][0], elf["glibc"][1]), elf["glibc_file"], *map(tuple, _sets(elf)))
        for elf in document["elves"]
    ]
    pairs = tuple((member, name) for member, name in document["python_files"])
    lists = {key: tuple(document[key]) for key in ("tags", "requires", "startup", "doubts")}
    embedded = tuple(Embedded(*one) for one in document["embedded"])
    return Facts(**dict(document, **lists, elves=tuple(elves), python_files=pairs, embedded=embedded))


def check_fits(facts: Facts, label: str, tags: Iterable[str], machine: str, glibc: Tuple[int, int]) -> None:
    """Refuse a wheel that cannot run on a target.

    Parameters:
        label: the target's name, for the message.
        tags: every wheel tag that runs there (PEP 425).
        machine, glibc: of the target.

    Raises:
        WheelError: naming wheel, target and reason.
    """
    if not set(facts.tags) & set(tags):
        raise WheelError(facts.file, f"does not run on {label}", "Lock a version that has a wheel for it")
    platforms = {tag.rpartition("-")[2] for tag in facts.tags}
    compiled = [elf for elf in facts.elves if elf.machine == machine]
    if facts.elves and not compiled and "any" not in platforms:
        found = ", ".join(elf.machine for elf in facts.elves)
        raise WheelError(
            facts.file, f"holds compiled files for {found}, {label} needs {machine}", "Report it to its makers"
        )
    for elf in compiled:
        if elf.glibc > glibc:
            raise WheelError(
                facts.file,
                f"needs glibc {_dotted(elf.glibc)} ({elf.glibc_file}), {label} has {_dotted(glibc)}",
                "Build on an older system, or lock a version whose wheel needs less",
            )


def glibc_floor(wheels: Sequence[Facts], machine: str) -> str:
    """Return the lowest glibc that loads every compiled file of *wheels*: "2.17", "" when nothing is compiled."""
    versions = [elf.glibc for facts in wheels for elf in facts.elves if elf.machine == machine]
    return _dotted(max(versions)) if versions else ""


def system_libraries(wheels: Sequence[Facts], machine: str) -> Tuple[str, ...]:
    """Return the sonames that *wheels* need and neither contain nor find in glibc."""
    elves = [elf for facts in wheels for elf in facts.elves if elf.machine == machine]
    provided = {name for elf in elves for name in elf.provided}
    needed = {name for elf in elves for name in elf.needed}
    return tuple(sorted(name for name in needed - provided if not _LIBC_OWN.match(name)))


def repack(path: str, output: str) -> None:
    """Write the wheel *path* again as *output*: the same files, in one order, with one date and plain modes.

    RECORD's lines are sorted too; what they say is unchanged.

    Raises:
        WheelError: it cannot be read as a zip.
    """
    try:
        files = _zipped(path)
    except _UNREADABLE as error:
        raise WheelError(os.path.basename(path), f"cannot be read ({error})", "Build it again") from None
    _write_wheel(
        output,
        {name: (_sorted_record(data) if _is_record(name) else data, mode) for name, (data, mode) in files.items()},
    )


def mend(path: str, output: str) -> bool:
    """Write the wheel *path* again as *output* with a RECORD that fits its files; say whether that makes it sound.

    What comes out is what pip installs of it: of two members of one name the later, a link as a file, and no
    signatures, which would not fit.
    """
    try:
        files = _zipped(path)
    except _UNREADABLE:
        return False
    signatures = (".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")
    sound = {name: file for name, file in files.items() if not _is_record(name) and not name.endswith(signatures)}
    info = next((name.partition("/")[0] for name in sorted(sound) if name.endswith(".dist-info/METADATA")), "")
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name in sorted(sound):
        data = sound[name][0]
        writer.writerow([name, f"sha256={RecordRow.encoded(hashlib.sha256(data).digest())}", len(data)])
    writer.writerow([f"{info}/RECORD", "", ""])
    sound[f"{info}/RECORD"] = (record.getvalue().encode("utf-8"), 0o644)
    _write_wheel(output, sound)
    try:
        prove(output, "", 0)
    except WheelError:
        return False
    return True


# What zipfile raises for a broken, encrypted or otherwise compressed file.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)


def _zipped(path: str) -> Dict[str, Tuple[bytes, int]]:
    """Return content and mode of every file in the zip *path*, read as pip reads it."""
    with zipfile.ZipFile(path) as source:
        names = {info.filename: info for info in source.infolist() if not info.is_dir()}
        if sum(info.file_size for info in names.values()) > _MOST:
            raise ValueError(f"holds more than {_MOST} bytes")
        return {
            posixpath.normpath(name) if name.startswith("./") else name: (
                source.read(info), 0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644
            )
            for name, info in names.items()
        }  # fmt: skip


def _write_wheel(output: str, files: Mapping[str, Tuple[bytes, int]]) -> None:
    with zipfile.ZipFile(output, "w") as target:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            data, mode = files[name]
            fresh = zipfile.ZipInfo(name, _EPOCH)
            fresh.create_system = 3
            fresh.external_attr = (stat.S_IFREG | mode) << 16
            target.writestr(fresh, data, zipfile.ZIP_DEFLATED, 6)


def _is_record(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(".dist-info/RECORD")


class _Metadata(NamedTuple):
    requires: Tuple[str, ...]
    requires_python: str
    licence: str


def _metadata(wheel: Wheel, doubts: List[str]) -> _Metadata:
    import email.parser  # takes long, and a build from the cache reads no metadata
    import email.policy

    from packaging.requirements import InvalidRequirement, Requirement

    name = f"{wheel.dist_info}/METADATA"
    message = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(wheel.text(name))
    requires = tuple(str(line).replace("\n", " ") for line in message.get_all("Requires-Dist") or ())
    requires_python = _requires_python(str(message.get("Requires-Python") or "").strip(), doubts)
    try:
        for line in requires:
            Requirement(line)
    except InvalidRequirement as error:
        wheel.refuse(name, f"cannot be read ({str(error).splitlines()[0]})")
    return _Metadata(requires, requires_python, licence(message))


def _requires_python(text: str, doubts: List[str]) -> str:
    """Return Requires-Python as specifiers; ">=3.6.*", which PEP 440 does not know, means ">=3.6".

    What cannot be read at all restricts nothing, as with pip.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    plain = _STARRED.sub(r"\1", text)
    try:
        SpecifierSet(plain)
    except InvalidSpecifier:
        doubts.append(f"its Requires-Python {text!r} cannot be read, so it is not checked")
        return ""
    return plain


def licence(message: Any) -> str:
    """Return the licence as the metadata *message* names it, "" when it does not.

    In the order of trust: License-Expression (PEP 639), a short text in License, the classifiers.
    """
    expression = message.get("License-Expression")
    if expression:
        return str(expression).strip()
    classifiers = [str(line) for line in message.get_all("Classifier") or ()]
    names = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    names = [name for name in names if name != "OSI Approved"]
    text = str(message.get("License") or "").strip()
    if text and text != "UNKNOWN" and "\n" not in text and len(text) <= 100:
        return text
    return " AND ".join(names)


def _embedded_files(wheel: Wheel) -> Iterator[Embedded]:
    """Yield the libraries in the folders of auditwheel, delocate and delvewheel."""
    for name in wheel.files:
        match = EMBEDDED.match(name)
        if match and (".so" in name or name.endswith((".dylib", ".dll"))):
            row = wheel.record.get(name)
            yield Embedded(name, _TAG_IN_NAME.sub("", name.rpartition("/")[2]), sha256=row.sha256 if row else "")


def _embedded_parts(wheel: Wheel, doubts: List[str]) -> Iterator[Embedded]:
    """Yield what the bills of materials in ``.dist-info/sboms/`` name (PEP 770), of CycloneDX and SPDX in JSON."""
    for name in sorted(wheel.files):
        if not name.startswith(f"{wheel.dist_info}/sboms/"):
            continue
        try:
            document = json.loads(wheel.text(name, _MAX_BILL))
            found = list(_named_parts(document, name))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, WheelError) as error:
            why = error.why if isinstance(error, WheelError) else f"{type(error).__name__}: {error}"
            doubts.append(f"{name} cannot be read ({why}), so the libraries that it names are not in the SBOM")
            continue
        yield from (part for part in found if normalised(part.name) != wheel.name)


def _named_parts(document: Dict[str, Any], where: str) -> Iterator[Embedded]:
    waiting = list(document.get("components", []))  # CycloneDX
    while waiting:
        one = waiting.pop(0)
        waiting += one.get("components", [])
        licences = [entry.get("license", {}) for entry in one.get("licenses", []) if "expression" not in entry]
        names = [entry["expression"] for entry in one.get("licenses", []) if "expression" in entry]
        names += [licence.get("id") or licence["name"] for licence in licences]
        yield _part(where, one["name"], one.get("version"), one.get("purl"), " AND ".join(names))
    for one in document.get("packages", []):  # SPDX 2
        purls = [ref["referenceLocator"] for ref in one.get("externalRefs", []) if ref["referenceType"] == "purl"]
        stated = one.get("licenseConcluded")
        licence = "" if stated in (None, "NOASSERTION", "NONE") else stated
        yield _part(where, one["name"], one.get("versionInfo"), purls[0] if purls else "", licence)


def _part(where: str, *values: Any) -> Embedded:
    texts = [value or "" for value in values]
    if not texts[0] or not all(isinstance(text, str) for text in texts):
        raise TypeError("a string is missing")
    name, version, purl, stated = texts
    return Embedded(where, name, version, "", purl, stated)


def _python_files(wheel: Wheel) -> List[Tuple[str, str]]:
    """Return what goes to site-packages and ends in .py, with the name it has there."""
    found = []
    for member in wheel.files:
        if not member.endswith(".py"):
            continue
        top, _, rest = member.partition("/")
        if not top.endswith(".data"):
            found.append((member, member))
        elif rest.startswith(("purelib/", "platlib/")):
            found.append((member, rest.partition("/")[2]))
    return found


def _runs_at_start(name: str) -> bool:
    if not name.endswith((".pth", ".start")):
        return False
    top, _, rest = name.partition("/")
    return not rest or (top.endswith(".data") and rest.count("/") == 1 and rest.startswith(("purelib/", "platlib/")))


def _proven_contents(wheel: Wheel, doubts: List[str]) -> Tuple[Tuple[Elf, ...], str]:
    """Read every file of *wheel* and compare it with RECORD.

    Returns what its ELF files need, and the first of its modules that imports pkg_resources.
    """
    found: Dict[str, Dict[str, Any]] = {}
    imported = ""
    for entry in wheel.files.values():
        blocks = wheel.proven_blocks(entry)
        first = next(blocks, b"")
        if first.startswith(_ELF):
            content = first + b"".join(blocks)
            try:
                _look_into(entry.name, content, found)
            except Exception as error:  # elftools raises anything on a broken file
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                doubts.append(f"{entry.name} is not a sound ELF file ({why}), so what it needs is not known")
            continue
        for _ in blocks:
            pass
        if not imported and entry.name.endswith(".py") and _PKG_RESOURCES.search(first):
            imported = entry.name
    elves = tuple(
        Elf(machine, facts["glibc"], facts["file"], tuple(sorted(facts["needed"])), tuple(sorted(facts["provided"])))
        for machine, facts in sorted(found.items())
    )
    return elves, imported


def _look_into(name: str, content: bytes, found: Dict[str, Dict[str, Any]]) -> None:
    """Add what the ELF file *name* needs and provides to *found*, all of it or nothing."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    elf = ELFFile(io.BytesIO(content))
    code = str(elf["e_machine"])
    needed, provided, floor = set(), {name.rpartition("/")[2]}, (0, 0)
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                if tag.entry.d_tag == "DT_NEEDED":
                    needed.add(str(getattr(tag, "needed")))  # noqa: B009 - set at run time
                elif tag.entry.d_tag == "DT_SONAME":
                    provided.add(str(getattr(tag, "soname")))  # noqa: B009 - set at run time
        elif isinstance(section, GNUVerNeedSection):
            floor = max(floor, _needed_glibc(section))
    machine = _MACHINES.get(code, code)
    facts = found.setdefault(machine, {"glibc": (0, 0), "file": "", "needed": set(), "provided": set()})
    facts["provided"] |= provided
    facts["needed"] |= needed
    if floor > facts["glibc"]:
        facts["glibc"], facts["file"] = floor, name


def _needed_glibc(section: GNUVerNeedSection) -> Tuple[int, int]:
    floor = (0, 0)
    for _, versions in section.iter_versions():
        for version in versions:
            match = _GLIBC.match(version.name)
            if match:
                floor = max(floor, (int(match.group(1)), int(match.group(2))))
            elif version.name == _RELATIVE_RELOCATIONS[0]:
                floor = max(floor, _RELATIVE_RELOCATIONS[1])
    return floor


def _sorted_record(content: bytes) -> bytes:
    rows = sorted(row for row in csv.reader(io.StringIO(content.decode("utf-8"))) if row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def _sets(elf: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    return elf["needed"], elf["provided"]


def _dotted(version: Tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
