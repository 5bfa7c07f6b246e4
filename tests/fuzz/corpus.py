"""What fuzzing starts with: a few texts of each kind, and what it found once."""

from __future__ import annotations

from biomaj_download.message import downmessage_pb2 as wire


def _operation() -> bytes:
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    operation.download.bank, operation.download.session = "bank", "session"
    operation.download.local_dir = "/home"
    operation.download.options["stop_condition"] = "stop_after_attempt(3)"
    remote = operation.download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.HTTP, "host", "/"
    remote.files.add(name="a.gz").metadata.year = 2024
    remote.matches.append("a.*")
    return operation.SerializeToString()


CORPUS: dict[str, tuple[bytes, ...]] = {
    "answer_head": (
        b'HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/5\r\nETag: "a"\r\n'
        b"Last-Modified: Tue, 24 Jan 2023 07:45:00 GMT\r\nDate: Wed, 25 Jan 2023 07:45:00 GMT\r\n",
        b"213 20230124074500\r\n213 118\r\n",
        b"HTTP/1.1 206 \r\ncontent-range: bytes 0-1/" + b"9" * 5000,
        b"HTTP/1.1 200 \r\ncontent-length: " + b"9" * 5000,
        b"HTTP/1.1 200 \r\nlast-modified: Tue, 24 Jan 2023 07:45:00 +" + b"9" * 40,
    ),
    "checksum_file": (
        b"d41d8cd98f00b204e9800998ecf8427e  ./a\n",
        b"MD5 (a) = d41d8cd98f00b204e9800998ecf8427e\n36979 1 a.gz\n",
        b'<metalink><files><file name="a"><hash type="md5">d41d8cd98f00b204e9800998ecf8427e'
        b"</hash></file></files></metalink>",
        b"<a>" * 5000,
    ),
    "expressions": (rb"^a(\d+)\.gz$" + b"\na12.gz", b"(a|aa)+$\n" + b"a" * 60 + b"b", b"a{e}\nb"),
    "ftp_list": (
        b"-rw-r--r--   1 ftp anonymous 118 Jun  4 12:35 a.gz\r\n",
        b"lrwxrwxrwx 1 a b 1 2023-01-24 07:45 a -> b\n",
        b"01-24-23  07:45AM       <DIR>          a\r\n",
    ),
    "ftp_mlsd": (
        b"type=file;size=118;modify=20230124074500;UNIX.mode=0644; a.gz\r\n",
        b"type=OS.unix=slink:/x y;modify=20230124074500;UNIX.mode=0777; current\r\n",
    ),
    "http_index": (
        b'<title>Index of /</title><a href="a.gz">a.gz</a>  24-Jan-2023 07:45  2.3K\n</html>',
        b'[{"name":"a","type":"file","mtime":"Tue, 24 Jan 2023 07:45:00 GMT","size":118}]',
    ),
    "http_patterns": (
        b'href="(a)"\n(b)\n%%Y\n<a href="a">',
        b"(a|aa)+(b)\n(x)(y)\n\n" + b"a" * 60,
    ),
    "irods_checksum": (
        b"sha2:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        b"d41d8cd98f" * 3,
        b"sha2:\x80",
    ),
    "message": (_operation(), b"\x0b" * 300),
    "policies": (
        b"stop_after_attempt(3) | stop_after_delay(9)",
        b"wait_chain(*([wait_fixed(3) for i in range(3)] + [wait_fixed(9)]))",
    ),
    "rsync_list": (
        b"-rw-r--r--      1,234 2023/01/24 07:45:00 a b\\#012.gz\n",
        b"-rw-r--r-- 1 9999/99/99 99:99:99 a\n",
        b"-rw-r--r-- " + b"9" * 5000 + b" 2023/01/24 07:45:00 a\n",
    ),
}
