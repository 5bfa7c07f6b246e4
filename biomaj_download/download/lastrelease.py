"""Which files the last release holds already: to be copied, rather than downloaded again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biomaj_download.download.filedict import FileDict, face_of, target_name


def split_known(
    files: Sequence[FileDict],
    available_files: Sequence[FileDict],
    root_dir: str,
    *,
    check_exists: bool,
) -> tuple[list[FileDict], list[FileDict]]:
    """Return the files to copy from the release at `root_dir`, and those to download.

    A file is known by name, day and size; its name in the release may be the one that it was saved
    as. `check_exists`: it must lie there, too.
    """
    here = {face_of(file): file for file in available_files}
    known_files: list[FileDict] = []
    missing: list[FileDict] = []
    for file in files:
        saved = file | {"name": target_name(file)}
        known = here.get(face_of(file)) or here.get(face_of(saved))
        place = _place_of(known, root_dir, check_exists) if known else None
        if known and place:
            copied = {"name": place, "save_as": file.get("save_as"), "root": root_dir}
            known_files.append(known | copied)
        else:
            missing.append(file)
    return known_files, missing


def _place_of(known: FileDict, root_dir: str, check_exists: bool) -> str | None:
    """Return where a file of the release lies in it: under its saved name, or its own."""
    if not check_exists:
        return str(known["name"])
    places = (target_name(known), str(known["name"]))
    return next((place for place in places if Path(root_dir, place.lstrip("/")).exists()), None)
