"""The wire schema, as BioMAJ core and consumers of 3.2 know it: never renumbered."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from biomaj_download.message import downmessage_pb2 as wire

LABELS = {
    FieldDescriptorProto.LABEL_REQUIRED: "R",
    FieldDescriptorProto.LABEL_OPTIONAL: "O",
    FieldDescriptorProto.LABEL_REPEATED: "*",
}
TYPES = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
}
DIR_LINE = (
    r'<img[\s]+src="[\S]+"[\s]+alt="\[DIR\]"[\s]*/?>[\s]*<a[\s]+href="([\S]+)/"[\s]*>'
    r".*([\d]{2}-[\w\d]{2,5}-[\d]{4}\s[\d]{2}:[\d]{2})"
)
FILE_LINE = (
    r'<img[\s]+src="[\S]+"[\s]+alt="\[[\s]+\]"[\s]*/?>[\s]<a[\s]+href="([\S]+)"'
    r".*([\d]{2}-[\w\d]{2,5}-[\d]{4}\s[\d]{2}:[\d]{2})[\s]+([\d\.]+[MKG]{0,1})"
)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            wire.File,
            "1 name string R; 2 root string O; 3 save_as string O; 4 url string O;"
            " 5 metadata MetaData O",
        ),
        (
            wire.File.MetaData,
            "1 permissions string O; 2 group string O; 3 size int64 O; 4 hash string O;"
            " 5 year int32 O; 6 month int32 O; 7 day int32 O; 8 format string O; 9 md5 string O;"
            " 10 download_time int64 O",
        ),
        (wire.FileList, "1 files File *"),
        (
            wire.Operation,
            "1 type OPERATION R; 2 download DownloadFile O; 3 process Process O; 4 trace Trace O",
        ),
        (wire.Operation.Trace, "1 trace_id string R; 2 span_id string R"),
        (wire.Process, "1 exec string R"),
        (
            wire.DownloadFile,
            "1 bank string R; 2 session string R; 3 local_dir string R;"
            " 4 timeout_download int32 O; 5 remote_file RemoteFile R; 6 proxy Proxy O;"
            " 8 http_method HTTP_METHOD O; 9 options OptionsEntry *",
        ),
        (wire.DownloadFile.OptionsEntry, "1 key string O; 2 value string O"),
        (wire.DownloadFile.Param, "1 name string R; 2 value string R"),
        (
            wire.DownloadFile.HttpParse,
            "1 dir_line string R; 2 file_line string R; 3 dir_name int32 R; 4 dir_date int32 R;"
            " 5 file_name int32 R; 6 file_date int32 R; 7 file_date_format string O;"
            " 8 file_size int32 R",
        ),
        (
            wire.DownloadFile.RemoteFile,
            "1 files File *; 2 protocol Protocol R; 3 server string R; 4 remote_dir string R;"
            " 5 save_as string O; 6 param Param *; 7 http_parse HttpParse O;"
            " 8 credentials string O; 9 matches string *",
        ),
        (wire.DownloadFile.Proxy, "1 proxy string R; 2 proxy_auth string O"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_field_has_its_number(message, fields):
    described = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(described)

    told = [
        f"{field.number} {field.name} {_type_of(field)} {LABELS[field.label]}"
        for field in described.field
    ]

    assert "; ".join(told) == fields


@pytest.mark.parametrize(
    ("enum", "numbers"),
    [
        (wire.Operation.OPERATION, {"LIST": 0, "DOWNLOAD": 1, "PROCESS": 2}),
        (wire.DownloadFile.HTTP_METHOD, {"GET": 0, "POST": 1}),
        (
            wire.DownloadFile.Protocol,
            {
                "FTP": 0,
                "FTPS": 1,
                "HTTP": 2,
                "HTTPS": 3,
                "DIRECTFTP": 4,
                "DIRECTHTTP": 5,
                "DIRECTHTTPS": 6,
                "LOCAL": 7,
                "RSYNC": 8,
                "IRODS": 9,
                "DIRECTFTPS": 10,
                "SFTP": 11,
            },
        ),
    ],
)
def test_each_value_has_its_number(enum, numbers):
    assert dict(enum.items()) == numbers


def test_what_is_not_said_means_what_it_meant():
    page = wire.DownloadFile.HttpParse()

    assert (page.dir_line, page.file_line) == (DIR_LINE, FILE_LINE)
    assert (page.dir_name, page.dir_date) == (1, 2)
    assert (page.file_name, page.file_date, page.file_size) == (1, 2, 3)
    assert wire.DownloadFile().http_method == wire.DownloadFile.GET


def _type_of(field: FieldDescriptorProto) -> str:
    return field.type_name.rpartition(".")[2] or TYPES[field.type]
