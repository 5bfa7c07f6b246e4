from __future__ import annotations

import json


def test_list_shows_files_and_directories_with_sizes_and_days(run, tree, url):
    result = run("list", url)

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["sub/", "a.dat"]
    assert lines[1].split() == ["10", "B", "2023-11-14", "a.dat"]
    assert result.stderr == "1 file, 10 B\n"


def test_list_shows_what_matches_below(run, tree, url):
    matching = run("list", url.rstrip("/"), "--match", r"sub/.*\.dat$")
    everything = run("list", url, "--recursive", "--json")

    assert matching.stdout.splitlines()[0].endswith("2.0 kB  2023-11-14  sub/b.dat")
    files = {file["name"]: file["size_bytes"] for file in json.loads(everything.stdout)}
    assert files == {"a.dat": 10, "sub/b.dat": 2000, "sub/deep/c d.dat": 300}


def test_list_tells_programs_which_are_directories(run, tree, url):
    entries = json.loads(run("list", url, "--json").stdout)

    assert {"name": "sub", "directory": True} in entries
    assert {entry["name"] for entry in entries} == {"a.dat", "sub"}


def test_list_says_when_nothing_matches(run, tree, url):
    result = run("list", url, "--match", "nothing")

    assert result.exit_code == 1
    assert "no file matches" in result.stderr
