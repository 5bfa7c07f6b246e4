"""How much of a listing is read: whatever is longer, a server made up to fill our memory.

In: the text of a listing.  Out: its lines, or an error that says which bound it crossed.
"""

from __future__ import annotations

from dataclasses import dataclass

from biomaj_download.download.expressions import MATCH_SECONDS
from biomaj_download.errors import ListingTooLong

#: Marks of JSON for each entry; nginx writes 10.
_JSON_MARKS = 16


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a listing may come to; `match_seconds`: holding a bank's expressions against it."""

    most_entries: int = 1_000_000
    most_line_characters: int = 65_536
    match_seconds: float = MATCH_SECONDS

    def lines(self, text: str) -> list[str]:
        r"""Return the lines of a text, without `\r\n`.

        Raises:
            ListingTooLong: they are too many, or one is too long.
        """
        # What is empty costs little, and servers end with some of it.
        self.check_entries(text.count("\n") // 2)
        lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
        self.check_entries(len(lines))
        longest = max(map(len, lines), default=0)
        if longest > self.most_line_characters:
            raise ListingTooLong(
                f"expected lines of at most {self.most_line_characters} characters in a listing, "
                f"got one of {longest}"
            )
        return lines

    def check_entries(self, number: int) -> None:
        """Return if a listing may have so many entries.

        Raises:
            ListingTooLong: it may not.
        """
        if number > self.most_entries:
            raise ListingTooLong(
                f"expected at most {self.most_entries} entries in a listing, got {number}"
            )

    def check_json(self, page: str) -> None:
        """Return if reading a JSON text will make no more values than its entries need.

        Raises:
            ListingTooLong: it may make more.
        """
        marks = sum(map(page.count, ",[{"))
        if marks > _JSON_MARKS * (self.most_entries + 1):
            raise ListingTooLong(
                f"expected at most {self.most_entries} entries in a listing, got JSON of "
                f"{marks} values"
            )


#: Those of the settings' defaults.
BOUNDS = Bounds()
