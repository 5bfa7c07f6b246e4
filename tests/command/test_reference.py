from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from biomaj_download.cli import COMMANDS, main
from biomaj_download.command.completion import _PLACES
from biomaj_download.download.registry import PROTOCOLS


def test_options_shows_each_with_its_default_and_meaning(run):
    result = run("options")

    assert result.exit_code == 0
    assert "stop_condition=stop_after_attempt(3)\n    When to give up" in result.stdout
    assert "obeyed by irods" in result.stdout


def test_options_of_one_protocol_or_of_one_name(run):
    assert "ftp_epsv" not in run("options", "--protocol", "http", "verify").stdout
    assert run("options", "verify").stdout.startswith("verify=if_available")
    assert run("options", "verify", "--json").stdout.count('"name"') == 1


def test_an_unknown_option_is_named(run):
    result = run("options", "verfy")

    assert result.exit_code == 2
    assert "verfy" in result.stderr


def test_protocols_shows_all_and_how_their_addresses_look(run):
    result = run("protocols")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(PROTOCOLS)
    assert "sftp://HOST/DIRECTORY/FILE" in result.stdout
    assert {entry["is_usable"] for entry in json.loads(run("protocols", "--json").stdout)} == {True}


def test_protocols_names_what_a_host_lacks(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "apt-get install rsync" in run("protocols").stdout


@pytest.mark.parametrize("shell", list(_PLACES))
def test_completion_is_for_each_shell(run, shell):
    result = run("completion", shell)

    assert result.exit_code == 0
    assert "_BIOMAJ_DOWNLOAD_COMPLETE" in result.stdout


def test_bash_completes_commands_and_options():
    script = """
        eval "$(biomaj-download completion bash)"
        complete_words() {
            COMP_WORDS=(biomaj-download "$@"); COMP_CWORD=$#; COMPREPLY=()
            _biomaj_download_completion biomaj-download; printf '%s ' "${COMPREPLY[@]}"; echo
        }
        complete_words sy
        complete_words get -o verif
    """
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.split("\n")[:2] == ["sync ", "verify= "], done.stderr


def all_commands() -> list[list[str]]:
    """Return the words of each command."""
    context = click.Context(main)
    words = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {}
        words += [[name, each] for each in inner] or [[name]]
    return words


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_each_command_has_a_help_with_an_example_and_exit_codes(run, words):
    result = run(*words, "--help")

    assert result.exit_code == 0
    assert f"Example:\n    biomaj-download {' '.join(words)}" in result.stdout
    assert "Exit codes: 0 all is well" in result.stdout


def test_help_shows_each_command_on_a_line(run):
    result = run("--help")

    described = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    assert {line.split()[0] for line in described} >= set(COMMANDS)
    assert len(described) == len(COMMANDS) + len(("sentence", "--version", "--help"))
