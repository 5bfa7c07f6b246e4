"""Archive tests: what unpacks passes, what does not is refused, and no bomb fills the memory."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import struct
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biomaj_download import archives
from biomaj_download.archives import archive_test, broken
from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import ArchiveBroken, Cancelled, PublishError
from biomaj_download.transfer.followers import WatchedFile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b">seq1\nACGTTGCA\n" * 4000
COMPRESSORS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: True}
    ),
}
#: An invalid byte in a tar header: the archive's second member begins at byte 1024.
SECOND_HEADER = 1024


def tar(members: int = 3, *, name: str = "f", tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tar_format) as archive:
        for number in range(members):
            member = tarfile.TarInfo(f"{name}{number}")
            member.size = 512
            archive.addfile(member, io.BytesIO(b"x" * 512))
    return buffer.getvalue()


def zipped(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.fa", TEXT)
        archive.writestr("sub/b.fa", bytes(range(256)))
    return buffer.getvalue()


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


def check_archive(path: Path, name: str, check: Callable[[], None] = lambda: None) -> None:
    """Test a file that is there."""
    test = archive_test(name)
    if test is not None:
        with broken(path, name), WatchedFile(path, check) as file:
            test(file)


@pytest.fixture
def check(tmp_path):
    """A function that writes bytes and tests them as a file of that name."""

    def check(data: bytes, name: str) -> None:
        path = tmp_path / "fetched.part"
        path.write_bytes(data)
        check_archive(path, name)

    return check


@pytest.fixture(params=sorted(COMPRESSORS))
def suffix(request):
    return request.param


@pytest.fixture
def compress(suffix):
    return COMPRESSORS[suffix]


def test_a_sound_compressed_file_passes(check, suffix, compress):
    check(compress(TEXT), f"a{suffix}")
    check(compress(TEXT), f"A{suffix.upper()}")
    check(compress(b""), f"a{suffix}")


def test_several_streams_in_one_file_pass(check, suffix, compress):
    check(compress(TEXT) + compress(TEXT[:7]) + compress(b""), f"a{suffix}")


def test_a_last_stream_that_is_cut_is_broken(check, suffix, compress):
    with pytest.raises(ArchiveBroken):
        check(compress(TEXT) + compress(TEXT)[:-1], f"a{suffix}")


def test_zeros_after_the_end_are_padding(check, suffix, compress):
    check(compress(TEXT) + bytes(archives.CHUNK_BYTES + 512), f"a{suffix}")


@pytest.mark.parametrize("garbage", [b"<html>416</html>" * 9, b"x", b"\0\0\0<html>416</html>" * 9])
def test_garbage_after_the_end_is_broken(check, suffix, compress, garbage):
    with pytest.raises(ArchiveBroken):
        check(compress(TEXT) + garbage, f"a{suffix}")


@pytest.mark.parametrize("kept", [0, 1, 5, 20, -9, -5, -1])
def test_a_compressed_file_that_is_cut_is_broken(check, suffix, compress, kept):
    with pytest.raises(ArchiveBroken):
        check(compress(TEXT)[:kept], f"a{suffix}")


def test_a_wrong_byte_in_the_data_is_broken(check, suffix, compress):
    packed = compress(TEXT)

    with pytest.raises(ArchiveBroken):
        check(flipped(packed, len(packed) // 2), f"a{suffix}")


def test_a_wrong_checksum_is_broken(check):
    with pytest.raises(ArchiveBroken, match="CRC"):
        check(flipped(gzip.compress(TEXT), -5), "a.gz")


def test_an_error_page_is_refused_with_its_first_bytes(check, suffix):
    with pytest.raises(ArchiveBroken) as refused:
        check(b"<!DOCTYPE html><html>captcha</html>", f"nr{suffix}")

    text = str(refused.value)
    assert text.startswith(f"nr{suffix}: expected a sound {suffix[1:]} file, got one of 35 bytes")
    assert "b'<!DOCTYPE html><'" in text


def test_block_gzip_with_its_extra_fields_passes(check):
    block = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = block.compress(TEXT) + block.flush()
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    member = header + body + struct.pack("<II", zlib.crc32(TEXT), len(TEXT))

    check(member * 50, "a.vcf.gz")


def test_skippable_zstd_frames_pass(check):
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"index"

    check(skippable + COMPRESSORS[".zst"](TEXT) + skippable, "a.zst")


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_sound_tar_passes_in_every_compression(check, suffix, compress, tar_format):
    archive = tar(name="long/" * 60, tar_format=tar_format)

    check(archive, "a.tar")
    check(compress(archive), f"a.tar{suffix}")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.tgz", ".gz"), ("a.tbz2", ".bz2"), ("a.tbz", ".bz2"), ("a.txz", ".xz"), ("a.tzst", ".zst")],
)
def test_short_suffixes_are_compressed_tars(check, name, suffix):
    check(COMPRESSORS[suffix](tar()), name)
    with pytest.raises(ArchiveBroken, match="header"):
        check(COMPRESSORS[suffix](TEXT), name)


BROKEN_TARS = {
    "empty": b"",
    "no tar": TEXT,
    "broken second header": flipped(tar(), SECOND_HEADER + 3),
    "cut in a header": tar()[: SECOND_HEADER + 200],
    "cut in the data": tar()[: SECOND_HEADER + 700],
    "cut in the last data": tar(1)[:1000],
}


@pytest.mark.parametrize("archive", BROKEN_TARS.values(), ids=BROKEN_TARS)
def test_a_tar_that_cannot_be_read_to_its_end_is_broken(check, suffix, compress, archive):
    with pytest.raises(ArchiveBroken):
        check(archive, "a.tar")
    with pytest.raises(ArchiveBroken):
        check(compress(archive), f"a.tar{suffix}")


def test_a_tar_without_an_end_mark_passes_as_with_tar_itself(check):
    check(tar()[: 3 * 1024], "a.tar")


def test_a_compressed_tar_is_read_beyond_its_end_mark(check):
    packed = gzip.compress(tar(1))

    with pytest.raises(ArchiveBroken):
        check(flipped(packed, -5), "a.tar.gz")


def test_a_tar_header_that_claims_gigabytes_is_refused_unread(check):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 7 * 1024**3

    with pytest.raises(ArchiveBroken, match="a header of 7516192768 bytes"):
        check(header.tobuf() + bytes(4096), "a.tar")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_sound_zip_passes(check, method):
    check(zipped(method), "a.zip")


def test_a_wrong_byte_in_a_zip_member_is_broken(check):
    stored = zipped(zipfile.ZIP_STORED)

    with pytest.raises(ArchiveBroken, match="CRC"):
        check(flipped(stored, 500), "a.zip")


@pytest.mark.parametrize("kept", [0, 10, -1, -40])
def test_a_zip_that_is_cut_is_broken(check, kept):
    with pytest.raises(ArchiveBroken):
        check(zipped()[:kept], "a.zip")


def test_an_encrypted_zip_member_is_passed_over_with_a_warning(check, caplog):
    caplog.set_level(logging.WARNING, logger="biomaj.download.archives")
    archive = bytearray(zipped())
    archive[6] |= 1  # the flag in the local header of the first member
    archive[archive.index(b"PK\x01\x02") + 8] |= 1  # and in the central directory

    check(bytes(archive), "a.zip")

    assert caplog.messages == ["encrypted member not tested name=a.fa"]


def test_a_zip_member_of_an_unknown_method_is_passed_over_with_a_warning(check, caplog):
    caplog.set_level(logging.WARNING, logger="biomaj.download.archives")
    archive = bytearray(zipped())
    archive[8] = 9  # deflate64
    archive[archive.index(b"PK\x01\x02") + 10] = 9

    check(bytes(archive), "a.zip")

    assert caplog.messages[0].startswith("member not tested name=a.fa")


def test_a_file_that_needs_too_much_memory_is_left_untested_with_a_warning(check, caplog):
    caplog.set_level(logging.WARNING, logger="biomaj.download.archives")
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 29})
    deep = lzma.LZMACompressor(
        filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 * 1024 * 1024}]
    )

    check(wide.compress(TEXT) + wide.flush(), "a.zst")
    check(deep.compress(TEXT) + deep.flush(), "a.xz")

    assert [message.split(" reason=")[0] for message in caplog.messages] == [
        "archive not tested name=a.zst",
        "archive not tested name=a.xz",
    ]


@pytest.mark.parametrize("name", ["a.fa", "a.gz.txt", "gz", "a.tar.Z", "a", ".md5", "a."])
def test_a_name_without_a_known_suffix_passes(check, name):
    check(b"anything", name)


def test_a_file_that_this_host_cannot_read_is_no_broken_archive(tmp_path):
    with pytest.raises(PublishError, match="expected a readable file"):
        check_archive(tmp_path / "missing.part", "a.gz")


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.xz", "a.zst", "a.tar.gz", "a.zip"])
def test_a_bomb_does_not_fill_the_memory(tmp_path, name):
    zeros = bytes(32 * 1024 * 1024)
    path = tmp_path / "bomb.part"
    if name == "a.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", zeros)
    elif name == "a.tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("zeros")
            member.size = len(zeros)
            archive.addfile(member, io.BytesIO(zeros))
    else:
        path.write_bytes(COMPRESSORS[name[1:]](zeros))
    del zeros

    tracemalloc.start()
    check_archive(path, name)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 12 * 1024 * 1024


PACKED = {
    "a.gz": gzip.compress(TEXT),
    "a.bz2": bz2.compress(TEXT),
    "a.tar.xz": lzma.compress(tar()),
    "a.tar": tar(),
    "a.tar.zst": zstd.compress(tar()),
    "a.zip": zipped(),
}


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_anywhere_passes_or_is_broken_but_nothing_else(check, data):
    name = data.draw(st.sampled_from(sorted(PACKED)))
    packed = PACKED[name]
    position = data.draw(st.integers(0, len(packed) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=8))
    damaged = packed[:position] + damage + packed[position + len(damage) :]

    with suppress(ArchiveBroken):
        check(damaged, name)


@pytest.mark.parametrize("name", ["a.gz", "a.tar.gz", "a.tar", "a.zip", "a.xz", "a.bz2"])
def test_a_test_ends_when_nobody_wants_its_result(tmp_path, name):
    path = tmp_path / "part"
    path.write_bytes(b"bytes" * 1000)
    cancellation = Cancellation()
    cancellation.order(Why.UNWANTED)

    with pytest.raises(Cancelled):
        check_archive(path, name, cancellation.check)


def test_a_gzip_header_without_an_end_is_refused(check):
    with pytest.raises(ArchiveBroken, match=r"(a|Gzip) header (of more than|exceeds)"):
        check(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 4_000_000, "a.gz")


def sparse_header(*, goes_on: bool) -> bytes:
    """Return the first block of a sparse file of GNU tar, whose map goes on in further ones."""
    member = tarfile.TarInfo("sparse")
    member.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[482] = int(goes_on)
    block[483:495] = b"%011o\0" % 0
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.xz"])
def test_a_sparse_file_whose_map_does_not_end_is_refused(check, name):
    block = bytes(504) + b"\1" + bytes(7)
    body = sparse_header(goes_on=True) + block * (16 * 1024 * 2)

    with pytest.raises(ArchiveBroken, match="headers of more than 4194304 bytes"):
        check(lzma.compress(body, preset=0) if name.endswith("xz") else body, name)


def test_a_zip_member_with_a_large_dictionary_is_left_untested(check, caplog):
    body = bytearray(zipped(zipfile.ZIP_LZMA))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        member = archive.infolist()[0]
    start = member.header_offset + 30 + len(member.filename)
    body[start + 5 : start + 9] = b"\xff" * 4

    check(bytes(body), "a.zip")

    assert "has a dictionary of 4294967295 bytes" in caplog.text
