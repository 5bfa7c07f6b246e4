"""Test that a compressed file or an archive unpacks, without unpacking it to the disk.

In: a name, whose suffix says what the file is.  Out: a test that reads the file, on whatever thread
and while it is written where that can be; what it raises becomes `ArchiveBroken`.
Memory stays bounded whatever the file claims to hold; nothing is written and no program is run.
"""

from __future__ import annotations

import bz2
import errno
import logging
import lzma
import math
import os
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tarfile import HeaderError, ReadError, TarFile
from typing import Any, BinaryIO, Protocol

from isal import igzip, igzip_lib

from biomaj_download.errors import ArchiveBroken, PublishError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

log = logging.getLogger("biomaj.download.archives")

#: Read and unpacked in pieces of this size.
CHUNK_BYTES = 256 * 1024
#: What xz and zstd may use for one file; what asks for more is left untested, with a warning.
MOST_MEMORY_BYTES = 256 * 1024 * 1024
_ZSTD_WINDOW_LOG_MAX = 27  # 128 MiB, the limit of zstd's own command without --long
#: Longest name or attribute block of a tar member; tarfile reads these into memory whole.
MOST_TAR_HEADER_BYTES = 1024 * 1024
#: All headers of one member: a sparse file has one for each 21 of its pieces.
MOST_TAR_HEADERS_BYTES = 4 * 1024 * 1024
#: igzip reads the header of a gzip member into memory whole; its buffer has half of this.
MOST_GZIP_HEADER_BYTES = 1024 * 1024
#: zipfile unpacks bzip2 and lzma members a whole read at a time, so each read must be small.
_ZIP_SMALL_READ_BYTES = 4096
#: Where a member's header says how long its name and its extra field are.
_ZIP_LENGTHS_OFFSET = 26
#: zipfile keeps the directory in memory, some 15 times as large as it stands in the file: 350,000
#: members of it. A file with more is left untested, with a warning.
MOST_ZIP_DIRECTORY_BYTES = 16 * 1024 * 1024
#: Seconds of the processor for one test, where a bank does not say: hundreds of gigabytes.
MOST_SECONDS = 6 * 3600


class _NeedsMemory(Exception):
    """A sound file may be so large; it is not looked into."""


_TAR_SUFFIXES = {
    ".tbz": ".bz2",
    ".tbz2": ".bz2",
    ".tgz": ".gz",
    ".txz": ".xz",
    ".tzst": ".zst",
}
_TAR_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
#: How tarfile tells itself of the end of the file, and of the end mark; it does not export them.
_TAR_ENDS: tuple[type[HeaderError], ...] = tuple(
    getattr(tarfile, name) for name in ("EmptyHeaderError", "EOFHeaderError")
)
_BROKEN: tuple[type[Exception], ...] = (
    _NeedsMemory,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    igzip_lib.IsalError,  # type: ignore[assignment]  # its stub calls it an instance
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstd.ZstdError,
)


class _Decompressor(Protocol):
    """What bz2, lzma and zstd agree on."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Source(Protocol):
    """Bytes to be read in bounded pieces; none: the end."""

    def read(self, size: int, /) -> bytes: ...


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    ".bz2": bz2.BZ2Decompressor,
    ".xz": partial(lzma.LZMADecompressor, format=lzma.FORMAT_XZ, memlimit=MOST_MEMORY_BYTES),
    ".zst": partial(
        zstd.ZstdDecompressor,
        options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX},
    ),
}


class _Budget:
    """Seconds of the processor that a test may take in its thread; 0: any number.

    Waiting for the network or the disk is free: only what an evil file makes us do is bounded.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._ends_at = time.thread_time() + most_seconds if most_seconds else math.inf

    def check(self) -> None:
        """Raise where it is used up."""
        if time.thread_time() > self._ends_at:
            raise ValueError(f"it takes more than {self._most_seconds} seconds to unpack")


@dataclass(frozen=True)
class ArchiveTest:
    """Reads a file to its end as what its name says it is; equal for equal values."""

    name: str
    most_seconds: float = MOST_SECONDS

    def __call__(self, file: BinaryIO) -> None:
        """Raise what the libraries raise where it does not unpack: for a context of `broken`."""
        test = _test_for(self.name)
        if test is not None:
            test(file, _Budget(self.most_seconds))


def archive_test(name: str, most_seconds: float = MOST_SECONDS) -> ArchiveTest | None:
    """Return the test for a file of that name; None: it is not tested."""
    return ArchiveTest(name, most_seconds) if _test_for(name) is not None else None


def needs_whole_file(test: ArchiveTest) -> bool:
    """Say whether a test begins at the file's end, as the directory of a zip stands there."""
    return _test_for(test.name) is _test_zip


@contextmanager
def broken(path: Path, name: str) -> Iterator[None]:
    """Say what the failure of a test means.

    Raises:
        ArchiveBroken: it does not unpack.
        PublishError: this host cannot read it.
    """
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise PublishError(f"{name}: expected a readable file at {path}: {error}") from error
        if _needs_too_much_memory(error):
            log.warning("archive not tested name=%s reason=%s", name, error)
            return
        kind = name.lower().rpartition(".")[2]
        raise ArchiveBroken(
            f"{name}: expected a sound {kind} file, got one of {path.stat().st_size} bytes that "
            f"begins with {_first_bytes(path)!r}: {error}"
        ) from error


def is_compressed(name: str) -> bool:
    """Say whether a file's name is that of an archive or a compressed file."""
    return _test_for(name) is not None or name.lower().endswith(".z")


def _test_for(name: str) -> Callable[[BinaryIO, _Budget], None] | None:
    stem, dot, last = name.lower().rpartition(".")
    suffix = dot + last
    if suffix == ".zip":
        return _test_zip
    if suffix in _UNPACKERS and stem.endswith(".tar"):
        return partial(_test_compressed_tar, _UNPACKERS[suffix])
    if suffix in _UNPACKERS:
        return partial(_test_compressed, _UNPACKERS[suffix])
    if suffix == ".tar":
        return _test_tar
    if suffix in _TAR_SUFFIXES:
        return partial(_test_compressed_tar, _UNPACKERS[_TAR_SUFFIXES[suffix]])
    return None


def _first_bytes(path: Path) -> bytes:
    """Return what shows a reader that the file is, say, an HTML page."""
    with path.open("rb", buffering=0) as file:
        return file.read(16)


def _needs_too_much_memory(error: Exception) -> bool:
    is_told = isinstance(error, lzma.LZMAError | zstd.ZstdError)
    return isinstance(error, _NeedsMemory) or (is_told and "memory" in str(error).lower())


class _Unpacked:
    """The bytes inside a compressed file of one or more streams, read in bounded pieces.

    Zeros between or after streams are padding (tape blocks, xz); anything else is an error, as
    for `gunzip -t`.
    """

    def __init__(self, file: BinaryIO, new_decompressor: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._new_decompressor = new_decompressor
        self._decompressor = new_decompressor()

    def read(self, size: int) -> bytes:
        """Return at least one and at most `size` bytes, none at the end."""
        data = b""
        while not data:
            packed = b""
            if self._decompressor.eof:
                packed = self._next_stream()
                if not packed:
                    return b""
            elif self._decompressor.needs_input:
                packed = self._file.read(CHUNK_BYTES)
                if not packed:
                    raise EOFError("it ends before its end mark")
            data = self._decompressor.decompress(packed, size)
        return data

    def _next_stream(self) -> bytes:
        """Begin another stream and return its first bytes, or none at the end of the file."""
        packed = self._decompressor.unused_data.lstrip(b"\0")
        while not packed:
            piece = self._file.read(CHUNK_BYTES)
            if not piece:
                return b""
            packed = piece.lstrip(b"\0")
        self._decompressor = self._new_decompressor()
        return packed


class _GzipSource:
    """The bytes of a gzip file on their way to igzip, which is kept from what it would not mind."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Any = file
        self._is_empty = True

    def read(self, size: int) -> bytes:
        """Be a file for igzip, which asks for this method but calls the other."""
        raise NotImplementedError

    def readinto(self, buffer: Any) -> int:
        """Fill igzip's buffer, which before isal 1.9 grows for a header without an end."""
        if len(buffer) > MOST_GZIP_HEADER_BYTES:
            raise ValueError(f"a header of more than {MOST_GZIP_HEADER_BYTES} bytes")
        read_bytes: int = self._file.readinto(buffer)
        if self._is_empty and not read_bytes:
            raise EOFError("it is empty")
        self._is_empty = False
        return read_bytes


def _unpacked_gzip(file: BinaryIO) -> _Source:
    # igzip goes from member to member without Python: block gzip has one each 64 KiB.
    source: Any = _GzipSource(file)
    return igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]


#: What is read for the bytes inside a file.
_UNPACKERS: dict[str, Callable[[BinaryIO], _Source]] = {
    ".gz": _unpacked_gzip,
    **{
        suffix: partial(_Unpacked, new_decompressor=new_decompressor)
        for suffix, new_decompressor in _DECOMPRESSORS.items()
    },
}


class _StrictMember(tarfile.TarInfo):
    """A tar header that is read or refused: tarfile takes a broken one for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> _StrictMember:
        """Read one header block, and the member that it begins."""
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if isinstance(error, _TAR_ENDS):
                raise
            raise ReadError(f"broken header: {error}") from error

    def _proc_member(self, tarfile: TarFile) -> _StrictMember:
        """Go on by the member's type; tarfile says that a subclass may override this.

        What is read meanwhile are headers alone: the blocks of one, and others that it leads to.
        """
        if self.type in _TAR_HEADERS and self.size > MOST_TAR_HEADER_BYTES:
            raise ReadError(f"a header of {self.size} bytes")
        file = tarfile.fileobj
        tarfile.fileobj = _Headers(file)
        try:
            member: _StrictMember = super()._proc_member(tarfile)  # type: ignore[misc]
        finally:
            tarfile.fileobj = file
        return member


class _Headers:
    """A file of which no more is read than one member's headers may come to."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left_bytes = MOST_TAR_HEADERS_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        """Return the next bytes, if they are not too many."""
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise ReadError(f"headers of more than {MOST_TAR_HEADERS_BYTES} bytes")
        data: bytes = self._file.read(size)
        return data


class _Within:
    """Bytes that are read as long as a budget lasts."""

    def __init__(self, source: _Source, budget: _Budget) -> None:
        self._source = source
        self._budget = budget

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""
        self._budget.check()
        return self._source.read(size)


def _test_compressed(
    unpacker: Callable[[BinaryIO], _Source], file: BinaryIO, budget: _Budget
) -> None:
    _drain(_Within(unpacker(file), budget))


def _test_compressed_tar(
    unpacker: Callable[[BinaryIO], _Source], file: BinaryIO, budget: _Budget
) -> None:
    unpacked = _Within(unpacker(file), budget)
    source: Any = unpacked  # mode "r|" calls `read` alone, typeshed wants a whole file
    with tarfile.open(
        fileobj=source, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_StrictMember
    ) as archive:
        _walk(archive, budget)
    _drain(unpacked)


def _drain(source: _Source) -> None:
    """Read to the end."""
    while source.read(CHUNK_BYTES):
        pass


def _test_tar(file: BinaryIO, budget: _Budget) -> None:
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_StrictMember) as archive:
        _walk(archive, budget)


def _walk(archive: tarfile.TarFile, budget: _Budget) -> None:
    """Read every header and skip over every member's data; tarfile misses no data that way."""
    while archive.next() is not None:
        budget.check()
        archive.members.clear()  # type: ignore[attr-defined]  # all headers would stay in memory


class _Modest:
    """A file for zipfile, which reads the directory in one piece, and all else in small ones."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, if they are not too many."""
        if size > MOST_ZIP_DIRECTORY_BYTES:
            raise _NeedsMemory(f"its directory has {size} bytes")
        return self._file.read(size)


def _test_zip(file: BinaryIO, budget: _Budget) -> None:
    """Read every member against its CRC, but those that need a password or a method not here."""
    modest: Any = _Modest(file)
    with zipfile.ZipFile(modest) as archive:
        for member in archive.infolist():
            budget.check()
            is_encrypted = member.flag_bits & 1
            if is_encrypted:
                log.warning("encrypted member not tested name=%s", member.filename)
            else:
                if member.compress_type == zipfile.ZIP_LZMA:
                    _check_dictionary(modest, member)
                _read_member(archive, member, budget)


def _check_dictionary(file: BinaryIO, member: zipfile.ZipInfo) -> None:
    """Raise where a member wants a dictionary that is too large, for which lzma has no limit here.

    Its size stands before the data (APPNOTE.TXT, 4.3.7 and 5.8.8).
    """
    file.seek(member.header_offset + _ZIP_LENGTHS_OFFSET)
    lengths = struct.unpack("<HH", file.read(4))
    file.seek(sum(lengths), os.SEEK_CUR)
    (dictionary_bytes,) = struct.unpack("<5xI", file.read(9))
    if dictionary_bytes > MOST_MEMORY_BYTES:
        raise _NeedsMemory(f"{member.filename} has a dictionary of {dictionary_bytes} bytes")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget) -> None:
    is_streamed = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    size = CHUNK_BYTES if is_streamed else _ZIP_SMALL_READ_BYTES
    try:
        opened = archive.open(member)
    except NotImplementedError as error:
        log.warning("member not tested name=%s reason=%s", member.filename, error)
        return
    with opened:
        while opened.read(size):
            budget.check()
