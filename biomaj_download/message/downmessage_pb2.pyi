from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DownloadFile(_message.Message):
    __slots__ = ["bank", "http_method", "local_dir", "options", "proxy", "remote_file", "session", "timeout_download"]
    class HTTP_METHOD(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class HttpParse(_message.Message):
        __slots__ = ["dir_date", "dir_line", "dir_name", "file_date", "file_date_format", "file_line", "file_name", "file_size"]
        DIR_DATE_FIELD_NUMBER: _ClassVar[int]
        DIR_LINE_FIELD_NUMBER: _ClassVar[int]
        DIR_NAME_FIELD_NUMBER: _ClassVar[int]
        FILE_DATE_FIELD_NUMBER: _ClassVar[int]
        FILE_DATE_FORMAT_FIELD_NUMBER: _ClassVar[int]
        FILE_LINE_FIELD_NUMBER: _ClassVar[int]
        FILE_NAME_FIELD_NUMBER: _ClassVar[int]
        FILE_SIZE_FIELD_NUMBER: _ClassVar[int]
        dir_date: int
        dir_line: str
        dir_name: int
        file_date: int
        file_date_format: str
        file_line: str
        file_name: int
        file_size: int
        def __init__(self, dir_line: _Optional[str] = ..., file_line: _Optional[str] = ..., dir_name: _Optional[int] = ..., dir_date: _Optional[int] = ..., file_name: _Optional[int] = ..., file_date: _Optional[int] = ..., file_date_format: _Optional[str] = ..., file_size: _Optional[int] = ...) -> None: ...
    class OptionsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class Param(_message.Message):
        __slots__ = ["name", "value"]
        NAME_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        name: str
        value: str
        def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class Proxy(_message.Message):
        __slots__ = ["proxy", "proxy_auth"]
        PROXY_AUTH_FIELD_NUMBER: _ClassVar[int]
        PROXY_FIELD_NUMBER: _ClassVar[int]
        proxy: str
        proxy_auth: str
        def __init__(self, proxy: _Optional[str] = ..., proxy_auth: _Optional[str] = ...) -> None: ...
    class RemoteFile(_message.Message):
        __slots__ = ["credentials", "files", "http_parse", "matches", "param", "protocol", "remote_dir", "save_as", "server"]
        CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
        FILES_FIELD_NUMBER: _ClassVar[int]
        HTTP_PARSE_FIELD_NUMBER: _ClassVar[int]
        MATCHES_FIELD_NUMBER: _ClassVar[int]
        PARAM_FIELD_NUMBER: _ClassVar[int]
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        REMOTE_DIR_FIELD_NUMBER: _ClassVar[int]
        SAVE_AS_FIELD_NUMBER: _ClassVar[int]
        SERVER_FIELD_NUMBER: _ClassVar[int]
        credentials: str
        files: _containers.RepeatedCompositeFieldContainer[File]
        http_parse: DownloadFile.HttpParse
        matches: _containers.RepeatedScalarFieldContainer[str]
        param: _containers.RepeatedCompositeFieldContainer[DownloadFile.Param]
        protocol: DownloadFile.Protocol
        remote_dir: str
        save_as: str
        server: str
        def __init__(self, files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., protocol: _Optional[_Union[DownloadFile.Protocol, str]] = ..., server: _Optional[str] = ..., remote_dir: _Optional[str] = ..., save_as: _Optional[str] = ..., param: _Optional[_Iterable[_Union[DownloadFile.Param, _Mapping]]] = ..., http_parse: _Optional[_Union[DownloadFile.HttpParse, _Mapping]] = ..., credentials: _Optional[str] = ..., matches: _Optional[_Iterable[str]] = ...) -> None: ...
    BANK_FIELD_NUMBER: _ClassVar[int]
    DIRECTFTP: DownloadFile.Protocol
    DIRECTFTPS: DownloadFile.Protocol
    DIRECTHTTP: DownloadFile.Protocol
    DIRECTHTTPS: DownloadFile.Protocol
    FTP: DownloadFile.Protocol
    FTPS: DownloadFile.Protocol
    GET: DownloadFile.HTTP_METHOD
    HTTP: DownloadFile.Protocol
    HTTPS: DownloadFile.Protocol
    HTTP_METHOD_FIELD_NUMBER: _ClassVar[int]
    IRODS: DownloadFile.Protocol
    LOCAL: DownloadFile.Protocol
    LOCAL_DIR_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    POST: DownloadFile.HTTP_METHOD
    PROXY_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FILE_FIELD_NUMBER: _ClassVar[int]
    RSYNC: DownloadFile.Protocol
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SFTP: DownloadFile.Protocol
    TIMEOUT_DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    bank: str
    http_method: DownloadFile.HTTP_METHOD
    local_dir: str
    options: _containers.ScalarMap[str, str]
    proxy: DownloadFile.Proxy
    remote_file: DownloadFile.RemoteFile
    session: str
    timeout_download: int
    def __init__(self, bank: _Optional[str] = ..., session: _Optional[str] = ..., local_dir: _Optional[str] = ..., timeout_download: _Optional[int] = ..., remote_file: _Optional[_Union[DownloadFile.RemoteFile, _Mapping]] = ..., proxy: _Optional[_Union[DownloadFile.Proxy, _Mapping]] = ..., http_method: _Optional[_Union[DownloadFile.HTTP_METHOD, str]] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ["metadata", "name", "root", "save_as", "url"]
    class MetaData(_message.Message):
        __slots__ = ["day", "download_time", "format", "group", "hash", "md5", "month", "permissions", "size", "year"]
        DAY_FIELD_NUMBER: _ClassVar[int]
        DOWNLOAD_TIME_FIELD_NUMBER: _ClassVar[int]
        FORMAT_FIELD_NUMBER: _ClassVar[int]
        GROUP_FIELD_NUMBER: _ClassVar[int]
        HASH_FIELD_NUMBER: _ClassVar[int]
        MD5_FIELD_NUMBER: _ClassVar[int]
        MONTH_FIELD_NUMBER: _ClassVar[int]
        PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        YEAR_FIELD_NUMBER: _ClassVar[int]
        day: int
        download_time: int
        format: str
        group: str
        hash: str
        md5: str
        month: int
        permissions: str
        size: int
        year: int
        def __init__(self, permissions: _Optional[str] = ..., group: _Optional[str] = ..., size: _Optional[int] = ..., hash: _Optional[str] = ..., year: _Optional[int] = ..., month: _Optional[int] = ..., day: _Optional[int] = ..., format: _Optional[str] = ..., md5: _Optional[str] = ..., download_time: _Optional[int] = ...) -> None: ...
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SAVE_AS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    metadata: File.MetaData
    name: str
    root: str
    save_as: str
    url: str
    def __init__(self, name: _Optional[str] = ..., root: _Optional[str] = ..., save_as: _Optional[str] = ..., url: _Optional[str] = ..., metadata: _Optional[_Union[File.MetaData, _Mapping]] = ...) -> None: ...

class FileList(_message.Message):
    __slots__ = ["files"]
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[File]
    def __init__(self, files: _Optional[_Iterable[_Union[File, _Mapping]]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ["download", "process", "trace", "type"]
    class OPERATION(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Trace(_message.Message):
        __slots__ = ["span_id", "trace_id"]
        SPAN_ID_FIELD_NUMBER: _ClassVar[int]
        TRACE_ID_FIELD_NUMBER: _ClassVar[int]
        span_id: str
        trace_id: str
        def __init__(self, trace_id: _Optional[str] = ..., span_id: _Optional[str] = ...) -> None: ...
    DOWNLOAD: Operation.OPERATION
    DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    LIST: Operation.OPERATION
    PROCESS: Operation.OPERATION
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    download: DownloadFile
    process: Process
    trace: Operation.Trace
    type: Operation.OPERATION
    def __init__(self, type: _Optional[_Union[Operation.OPERATION, str]] = ..., download: _Optional[_Union[DownloadFile, _Mapping]] = ..., process: _Optional[_Union[Process, _Mapping]] = ..., trace: _Optional[_Union[Operation.Trace, _Mapping]] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ["exec"]
    EXEC_FIELD_NUMBER: _ClassVar[int]
    exec: str
    def __init__(self, exec: _Optional[str] = ...) -> None: ...
