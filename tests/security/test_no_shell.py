"""No program of ours starts a shell: a name that a server gives is never read by one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "biomaj_download").rglob("*.py"), *(ROOT / "bin").glob("*.py")])
SHELLS = {
    "os.popen",
    "os.system",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
    "pty.spawn",
}


def shells_of(text: str) -> list[str]:
    """Return each call that starts a shell, or may."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            found += [
                ast.unparse(node)
                for word in node.keywords
                if word.arg == "shell" and ast.unparse(word.value) != "False"
            ]
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in SHELLS:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
            found += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if f"{node.module}.{alias.name}" in SHELLS
            ]
    return found


def test_no_shell_is_started():
    assert len(FILES) > 100
    assert {path.name: calls for path in FILES if (calls := shells_of(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "os.system('x')",
        "subprocess.run('x', shell=True)",
        "run('x', shell=s)",
        "from os import popen",
    ],
)
def test_a_shell_would_be_found(text):
    assert shells_of(text)
