"""Disks that are full, and answers that are not the file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Mapping

import pytest

from tests.faults.site import Site
from tests.servers.faulty_http import Answer

MIB = 2**20
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def tar_gz(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("a")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    return packed.getvalue()


PACK = {
    "a.gz": gzip.compress,
    "a.zip": zipped,
    "a.tar.gz": tar_gz,
    "a.bz2": bz2.compress,
    "a.xz": lzma.compress,
}


def wrong_answers() -> Mapping[str, tuple[str, Answer, int]]:
    """Return what is wrong: the file's name, how it is answered, and its listed size."""
    body = os.urandom(100_000)
    answers = {
        "half a body": ("a.dat", Answer(body=body, cut_after=50_000), 0),
        "half a body, no length": ("a.dat", Answer(body=body[:50_000], until_close=True), 100_000),
        "half a body in chunks": ("a.dat", Answer(body=body, cut_after=50_000, chunked=True), 0),
        "a length too large": ("a.dat", Answer(body=body, content_length=100_001), 0),
        "a page for a .gz": ("a.gz", Answer(body=PAGE), 0),
        "a page for a .fa": ("a.fa", Answer(body=PAGE), 0),
        "202 and no body": ("a.gz", Answer(status=202), 0),
        "a 404 page": ("a.dat", Answer(status=404, body=PAGE), 0),
    }
    for name, pack in PACK.items():
        sound = bytearray(pack(body))
        sound[len(sound) // 2] ^= 0xFF
        answers[f"a {name[1:]} with a byte changed"] = (name, Answer(body=bytes(sound)), 0)
    return answers


@pytest.mark.fault("10 wrong bodies, where an older file stands under the name")
def test_what_is_not_the_file_is_never_taken_for_it(site, faulty_http, tell):
    wrong = wrong_answers()
    operations = []
    for number, (name, answer, listed_bytes) in enumerate(wrong.values()):
        (site.home / f"{number}").mkdir()
        (site.home / f"{number}" / name).write_bytes(b"the old one")
        url = faulty_http.add(f"/{number}/{name}", answer)
        operation = site.request(url, f"{number}/{name}")
        operation.download.remote_file.files[0].metadata.size = listed_bytes
        operations.append(operation)
    site.submit(operations)

    site.consumer()
    progress = site.wait(len(wrong))
    old_ones = [
        (site.home / f"{number}" / name).read_bytes() == b"the old one"
        for number, (name, *_) in enumerate(wrong.values())
    ]

    kinds = ", ".join(wrong)
    tell(
        f"{progress.errors} of {len(wrong)} are errors ({kinds}); the old file stands in"
        f" {sum(old_ones)}, {len(site.leftovers()) - len(wrong)} parts are left"
    )
    assert progress[:2] == (len(wrong), len(wrong))
    assert all(old_ones)
    assert [name for name in site.leftovers() if name.startswith(".")] == []


@pytest.mark.fault("9 disk full (tmpfs of 8 MiB)")
@pytest.mark.parametrize("size", ["announced in the message", "not known"])
def test_a_disk_is_full(rabbitmq, redis_server, faulty_http, small_disk, tell, size):
    url = faulty_http.add("/large.dat", Answer(body=bytes(20 * MIB), etag='"1"'))
    with Site(rabbitmq, redis_server, small_disk) as site:
        operation = site.request(url)
        if size != "not known":
            operation.download.remote_file.files[0].metadata.size = 20 * MIB
        site.submit([operation])
        site.consumer(storage={"reserve_bytes": 0})
        progress = site.wait(1)
        (text,) = site.store.pop_errors("bank", site.session)
        left_bytes = sum(path.stat().st_size for path in small_disk.rglob("*") if path.is_file())
        asked = [request.method for request in faulty_http.requests_for("/large.dat")]
        tell(f"size {size}: asked by {', '.join(asked)}, {left_bytes} bytes left; {text}")
        assert progress[:2] == (1, 1)
        assert (left_bytes, asked) == (0, ["GET"] if size == "not known" else ["HEAD"])
        assert "No space left" in text or "free" in text
