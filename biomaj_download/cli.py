"""The command `biomaj-download`: its commands, each in a file that is loaded when it is used."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

from biomaj_download import __version__

#: Section of the help -> command -> where it is.
SECTIONS = {
    "Without a service": {
        "get": "biomaj_download.command.get:get",
        "sync": "biomaj_download.command.sync:sync",
        "list": "biomaj_download.command.listing:list_files",
    },
    "Run a service": {
        "serve": "biomaj_download.command.serve:serve",
        "consumer": "biomaj_download.command.running:consumer",
        "web": "biomaj_download.command.running:web",
    },
    "Look after a service": {
        "submit": "biomaj_download.command.submit:submit",
        "status": "biomaj_download.command.sessions:status",
        "watch": "biomaj_download.command.sessions:watch",
        "cancel": "biomaj_download.command.sessions:cancel",
        "dead": "biomaj_download.command.dead:dead",
    },
    "Know what is there": {
        "check": "biomaj_download.command.check:check",
        "options": "biomaj_download.command.reference:options",
        "protocols": "biomaj_download.command.reference:protocols",
        "completion": "biomaj_download.command.completion:completion",
    },
}
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


class _Commands(click.Group):
    """Loads a command when it is asked for: `get` should not wait for what `serve` needs."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return a command; None: there is none of that name."""
        place = COMMANDS.get(name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant, and its words.

        Raises:
            UsageError: there is none; the text names the one that was probably meant.
        """
        try:
            return super().resolve_command(context, words)
        except click.UsageError as error:
            close = get_close_matches(words[0], COMMANDS, n=1)
            if not close:
                raise
            text = f"{error.message} Did you mean {close[0]!r}?"
            raise click.UsageError(text, context) from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by what they are for."""
        for section, commands in SECTIONS.items():
            rows = []
            for name in commands:
                command = self.get_command(context, name)
                rows.append((name, command.get_short_help_str(100) if command else ""))
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biomaj-download")
def main() -> None:
    """Bring biological databanks home, whole and verified."""


if __name__ == "__main__":
    main()
