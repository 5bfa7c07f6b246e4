"""What routes that list take as arguments."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from biomaj_download.rest.describing import Query

_LARGEST_PAGE = 1000
#: No list is that long; SQLite's and Redis's numbers end later.
_LARGEST_OFFSET = 10**9
_LONGEST_NAME_CHARACTERS = 1000
_LONGEST_SEARCH_CHARACTERS = 200

Offset = Annotated[int, Field(ge=0, le=_LARGEST_OFFSET, description="Skip so many.")]
Limit = Annotated[int, Field(ge=1, le=_LARGEST_PAGE, description="Give so many at most.")]
Name = Annotated[str, Field(max_length=_LONGEST_NAME_CHARACTERS)]
Search = Annotated[
    str,
    Field(
        max_length=_LONGEST_SEARCH_CHARACTERS,
        description="Only files with this in name, host, code or error, in any case.",
    ),
]


class Paged(Query):
    """Which part of a list."""

    offset: Offset = 0
    limit: Limit = 100
