"""The command `biomaj-download completion`: what a shell needs to complete our words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from biomaj_download.command.doors import example

_PROGRAM = "biomaj-download"
_VARIABLE = "_BIOMAJ_DOWNLOAD_COMPLETE"
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/biomaj-download",
    "fish": "~/.config/fish/completions/biomaj-download.fish",
    "zsh": "a folder of $fpath, as _biomaj-download",
}


@click.command(
    epilog=example(
        "completion bash >", "~/.local/share/bash-completion/completions/biomaj-download"
    )
)
@click.argument("shell", type=click.Choice(list(_PLACES)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets a shell complete our words, and banks."""
    found = get_completion_class(shell)
    if found is None:  # click knows all of _PLACES
        raise click.UsageError(f"expected one of {', '.join(_PLACES)}")
    root = context.find_root().command
    click.echo(found(root, {}, _PROGRAM, _VARIABLE).source())
    click.echo(f"# belongs into {_PLACES[shell]}")
