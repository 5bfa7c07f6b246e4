"""Checksum files as publishers write them (see the examples' sources beside them)."""

from __future__ import annotations

import pytest

from biomaj_download.checksums import (
    Digest,
    checked_digest,
    is_checksum_file,
    is_of_directory,
    may_name_checksum_files,
    read_checksums,
    subject_of,
)

MD5 = "b1946ac92492d2347c6235b4d2611184"
OTHER_MD5 = "2a2c33ee1ce27114e28ae1d34f07e1ab"
SHA1 = "f572d396fae9206628714fb2ce00f72e94f2258f"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
SHA512 = "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931" * 2


@pytest.mark.parametrize(
    ("line", "name", "digest"),
    [
        # NCBI, md5checksums.txt
        (f"{MD5}  ./GCA_1_report.txt", "GCA_1_report.txt", Digest("md5", MD5)),
        (f"{MD5}  ./all_assembly/a b.txt", "all_assembly/a b.txt", Digest("md5", MD5)),
        # NCBI, nt.00.tar.gz.md5
        (f"{MD5}  nt.00.tar.gz", "nt.00.tar.gz", Digest("md5", MD5)),
        (f"{MD5} *a.gz", "a.gz", Digest("md5", MD5)),
        (f"{MD5.upper()}\ta.gz", "a.gz", Digest("md5", MD5)),
        (f"{SHA1}  a.gz", "a.gz", Digest("sha1", SHA1)),
        (f"{SHA256}  a.gz", "a.gz", Digest("sha256", SHA256)),
        (f"{SHA512}  a.gz", "a.gz", Digest("sha512", SHA512)),
        # coreutils escapes a name with a newline or a backslash
        (f"\\{MD5}  a\\\\b\\nc", "a\\b\nc", Digest("md5", MD5)),
        # BSD
        (f"MD5 (a (1).gz) = {MD5}", "a (1).gz", Digest("md5", MD5)),
        (f"SHA256 (a.gz) = {SHA256}", "a.gz", Digest("sha256", SHA256)),
        (f"SHA2-256(a.gz)= {SHA256}", "a.gz", Digest("sha256", SHA256)),  # openssl dgst
        # Ensembl, CHECKSUMS
        ("36979     1 Homo_sapiens.fa.gz", "Homo_sapiens.fa.gz", Digest("sum", "36979:1")),
        ("00027 12345 a.gz", "a.gz", Digest("sum", "27:12345")),
    ],
)
def test_a_line_is_read_in_each_form(line, name, digest):
    assert read_checksums(f"# comment\n\n{line}\r\n") == {name: digest}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a checksum file",
        "<html><body>Not found</body></html>",
        "<!DOCTYPE x [<!ENTITY a 'b'>]><metalink>&a;</metalink>",
        "<unclosed",
        f"{MD5[:-1]}  short.gz",
        "Thu Jan 1 2026",
        "\0\xff\udcff",
    ],
)
def test_a_text_that_is_no_checksum_file_names_nothing(text):
    assert read_checksums(text) == {}


def test_a_bare_hash_is_that_of_the_file_beside():
    assert read_checksums(f"{MD5}\n", subject="a.gz") == {"a.gz": Digest("md5", MD5)}
    assert read_checksums(f"{MD5}\n") == {}


def test_of_several_digests_the_strongest_counts():
    text = f"{SHA256}  a\n{MD5}  a\n1 1 b\n{MD5}  b\n"

    assert read_checksums(text) == {"a": Digest("sha256", SHA256), "b": Digest("md5", MD5)}


def test_uniprots_metalink_is_read():
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/">
  <version>2026_03</version>
  <files>
    <file name="uniprot_sprot.dat.gz">
      <size>612345</size>
      <verification>
        <hash type="md5">{MD5}</hash>
        <pieces type="sha1" length="262144"><hash piece="0">{SHA1}</hash></pieces>
      </verification>
      <resources><url location="us" preference="100">ftp://ftp.example.org/a</url></resources>
    </file>
    <file name="b.gz"><verification><hash type="md5">{OTHER_MD5}</hash></verification></file>
  </files>
</metalink>"""

    assert read_checksums(text) == {
        "uniprot_sprot.dat.gz": Digest("md5", MD5),
        "b.gz": Digest("md5", OTHER_MD5),
    }


def test_metalink_4_is_read():
    text = (
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a.gz">'
        f'<hash type="md5">{MD5}</hash><hash type="sha-256">{SHA256}</hash></file></metalink>'
    )

    assert read_checksums(text) == {"a.gz": Digest("sha256", SHA256)}


@pytest.mark.parametrize(
    "name",
    [
        "md5checksums.txt",
        "MD5SUMS",
        "md5sum.txt",
        "SHA256SUMS",
        "sha256sum.txt",
        "SHA1SUMS",
        "CHECKSUMS",
        "checksums.md5",
        "RELEASE.metalink",
        "a.meta4",
    ],
)
def test_the_checksums_of_a_directory_are_known_by_their_name(name):
    assert is_of_directory(name)
    assert may_name_checksum_files(f'<a href="{name}">')
    assert is_checksum_file(f"some/where/{name}")


@pytest.mark.parametrize("name", ["a.gz", "README", "sums.gz", "md5", "sum_of_all.dat", ""])
def test_other_files_are_no_checksum_files(name):
    assert not is_of_directory(name)
    assert subject_of(name) is None


@pytest.mark.parametrize(
    ("name", "subject"),
    [("nt.00.tar.gz.md5", "nt.00.tar.gz"), ("a.SHA256", "a"), ("a.b.sha512sum", "a.b")],
)
def test_a_checksum_beside_a_file_names_it(name, subject):
    assert subject_of(name) == subject
    assert may_name_checksum_files(f"-rw-r--r-- 1 ftp ftp 5 Jan 1 2024 {name}")


@pytest.mark.parametrize(
    ("algorithm", "value", "expected"),
    [
        ("crc32", "00000000", "one of md5, sha1"),
        ("md5", MD5[:-1], "32 hexadecimal digits"),
        ("sha256", "x" * 64, "64 hexadecimal digits"),
    ],
)
def test_a_wrong_digest_is_refused(algorithm, value, expected):
    with pytest.raises(ValueError, match=expected):
        checked_digest(algorithm, value)


@pytest.mark.parametrize(
    "text",
    [
        f"BLAKE2b (a.gz) = {SHA512}",
        f"SHA3-256(a.gz)= {SHA256}",
        f"RMD160 (a.gz) = {SHA1}",
        f"SHA512-256(a.gz)= {SHA256}",
        f'<metalink><file name="a.gz"><hash type="md4">{MD5}</hash></file></metalink>',
    ],
)
def test_a_digest_of_another_kind_is_not_taken_for_one_of_its_length(text):
    assert read_checksums(text) == {}


@pytest.mark.parametrize("kind", ["sha-256", "SHA256", "sha256"])
def test_a_metalink_says_the_kind_in_its_way(kind):
    text = f'<metalink><file name="a.gz"><hash type="{kind}">{SHA256}</hash></file></metalink>'

    assert read_checksums(text) == {"a.gz": Digest("sha256", SHA256)}
