"""Zip archives: written the same for the same files, and read without trust in anything they say.

Nothing is unpacked to a disk. Before a byte is inflated, an archive is refused for its size, the number and size of
its files, how much smaller they are packed, and for names that are not plain, relative and distinct; inflating stops
at the size that was announced.
"""

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from kit.errors import InvalidRequest, RequestTooLarge
from skills.catalog.files import MAX_FILE_BYTES

MOST_PACKED_BYTES = 4 * 1024 * 1024
MOST_BYTES = 16 * 1024 * 1024
MOST_FILES = 300
MOST_RATIO = 200
LONGEST_NAME = 200
_SMALL_BYTES = 16 * 1024  # so little may be packed as tightly as it likes
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError, IndexError, KeyError,
)  # fmt: skip
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_AS_OF = (1980, 1, 1, 0, 0, 0)
_JUNK = ("__MACOSX/",)


def pack(files: Mapping[str, bytes], *, folder: str) -> bytes:
    """Return a zip of files under one folder; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _AS_OF)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return packed.getvalue()


def unpack(raw: bytes) -> dict[str, bytes]:
    """Return the files of a zip by path, without the one folder they may all be in.

    Raises InvalidRequest, with the entry as `path`, or RequestTooLarge; nothing is left anywhere.
    """
    if len(raw) > MOST_PACKED_BYTES:
        raise RequestTooLarge(f"The archive is over {MOST_PACKED_BYTES:,} bytes.", limit_bytes=MOST_PACKED_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = _checked(archive.infolist())
            return _without_folder({entry.filename: _inflated(archive, entry) for entry in entries})
    except _BROKEN as error:
        raise InvalidRequest("This is not a zip archive that can be read.", path="") from error


def _checked(entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(entries) > MOST_FILES:
        raise RequestTooLarge(f"The archive has over {MOST_FILES} entries.", limit=MOST_FILES)
    for entry in entries:
        _check_name(entry)
        _check_kind(entry)
        _check_size(entry)
    files = [entry for entry in entries if not entry.is_dir() and not entry.filename.startswith(_JUNK)]
    if sum(entry.file_size for entry in files) > MOST_BYTES:
        raise RequestTooLarge(f"The archive's files are over {MOST_BYTES:,} bytes together.", limit_bytes=MOST_BYTES)
    _check_distinct([entry.filename for entry in files])
    return files


def _check_name(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # zipfile cuts a name at a NUL and turns the other slash around
    parts = name.removesuffix("/").split("/")
    if not name.isprintable() or len(name) > LONGEST_NAME or "\\" in name or ":" in name:
        raise _refusal(entry, "has a name that is not taken.")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise _refusal(entry, "has a name that leads out of the folder.")


def _check_kind(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refusal(entry, "is a symbolic link or a device, which is not taken.")
    if entry.flag_bits & _ENCRYPTED:
        raise _refusal(entry, "is encrypted.")
    if entry.compress_type not in _METHODS:
        raise _refusal(entry, "is packed in a way that is not taken; use stored or deflated.")


def _check_size(entry: zipfile.ZipInfo) -> None:
    if entry.file_size > MAX_FILE_BYTES:
        raise _refusal(entry, f"is over {MAX_FILE_BYTES:,} bytes.")
    if entry.file_size > max(_SMALL_BYTES, MOST_RATIO * entry.compress_size):
        raise _refusal(entry, f"would grow more than {MOST_RATIO}-fold when unpacked.")


def _check_distinct(names: list[str]) -> None:
    """Two names that some file system takes for one, or a file that is a folder elsewhere, have no single meaning."""
    seen: dict[str, str] = {}
    for name in names:
        plain = _folded(name)
        if plain in seen:
            raise InvalidRequest(f"{name[:LONGEST_NAME]} is there twice, or differs in case only.", path=name)
        seen[plain] = name
    for name in names:
        for parent in PurePosixPath(_folded(name)).parents:
            if str(parent) in seen:
                raise InvalidRequest(f"{seen[str(parent)]} is a file and a folder.", path=seen[str(parent)])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES or len(content) != entry.file_size:
        raise _refusal(entry, "is not of the size that it says.")
    return content


def _without_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    if "SKILL.md" in files:
        return files
    folders = {name.partition("/")[0] for name in files}
    if len(folders) != 1:
        raise InvalidRequest("The archive must hold one skill: SKILL.md at its top, or in its only folder.", path="")
    return {name.partition("/")[2]: content for name, content in files.items() if "/" in name}


def _refusal(entry: zipfile.ZipInfo, message: str) -> InvalidRequest:
    name = entry.filename[:LONGEST_NAME]
    return InvalidRequest(f"{name} {message}", path=name)
