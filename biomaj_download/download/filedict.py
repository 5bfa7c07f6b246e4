"""The dicts that BioMAJ core holds for files <-> `RemoteFile`: they stop at this door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeAlias

from biomaj_download.errors import OptionError
from biomaj_download.job import RemoteFile

FileDict: TypeAlias = dict[str, Any]


def dict_of(file: RemoteFile) -> FileDict:
    """Return the dict for a file; an unknown size is 0, an unknown day has no numbers."""
    return {
        "name": file.name,
        "save_as": file.save_as,
        "size": file.size_bytes or 0,
        "year": file.day.year if file.day else None,
        "month": file.day.month if file.day else None,
        "day": file.day.day if file.day else None,
        "hash": file.hash,
        "md5": file.md5,
        "permissions": file.permissions,
        "group": file.group,
        "user": file.user,
        "root": file.root,
        "url": file.url,
        "format": file.format,
    }


def dated(given: FileDict) -> FileDict:
    """Return a dict that has a day: BioMAJ core expects one, and takes today for an unknown one."""
    if given["year"]:
        return given
    today = date.today()
    return given | {"year": today.year, "month": today.month, "day": today.day}


def file_of(given: Mapping[str, Any], *, size_is_exact: bool = False) -> RemoteFile:
    """Return the file that a dict describes; numbers may come as text.

    `size_is_exact`: a size of 0 is one, not an unknown one.

    Raises:
        OptionError: the dict has no name, or a number is none.
    """
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise OptionError(f"file: expected a dict with a name, got {dict(given)!r}")
    return RemoteFile(
        name=name,
        root=given.get("root") or "",
        save_as=given.get("save_as") or None,
        url=given.get("url") or "",
        size_bytes=_number(given, "size") if size_is_exact else _number(given, "size") or None,
        size_is_exact=size_is_exact,
        day=day_of(given),
        hash=given.get("hash"),
        md5=given.get("md5"),
        permissions=given.get("permissions") or "",
        group=given.get("group") or "",
        user=given.get("user") or "",
        format=given.get("format") or "",
    )


def day_of(given: Mapping[str, Any]) -> date | None:
    """Return the day in a dict; None where it has none."""
    try:
        return date(_number(given, "year"), _number(given, "month"), _number(given, "day"))
    except ValueError:
        return None


def face_of(given: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what makes two files the same one: name, day and size."""
    return (str(given.get("name", "")).lstrip("/"), day_of(given), _number(given, "size"))


def target_name(given: Mapping[str, Any]) -> str:
    """Return the name that a file gets below the download directory."""
    return str(given.get("save_as") or given["name"])


def _number(given: Mapping[str, Any], key: str) -> int:
    value = given.get(key) or 0
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"file {given.get('name')}: expected a number in {key!r}, got {value!r}"
        ) from error
