from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import ROWS
from benchmarks.link import ORIGIN_ADDRESS, LinkKind, wide_area
from benchmarks.plots import PLOTS
from benchmarks.report import Report
from benchmarks.row import OLD, OURS, Network, Result, Row
from tests.servers.process import MissingServer
from tests.servers.redis import RedisServer

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def link():
    """A link of 40 ms there and back, with both ends' servers and commands."""
    try:
        with wide_area(LinkKind(rtt_ms=40)) as link:
            yield link
    except MissingServer as missing:
        # A machine of CI's may lack /dev/net/tun, which no package brings.
        pytest.skip(str(missing))


def test_each_benchmark_runs_for_a_moment(rabbitmq, redis_server, nginx, ftp_server, ssh_server):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told = {line.partition(" ")[0].rstrip(":") for line in done.stdout.splitlines()}
    assert told >= {row.name for row in ROWS}
    if skipped := [line for line in done.stdout.splitlines() if "skipped" in line]:
        pytest.skip(skipped[0])


@pytest.mark.allow_hosts([ORIGIN_ADDRESS])
def test_a_link_takes_its_time_both_ways(link):
    with link.site.entered():
        with link.origin.serving():
            server = RedisServer()
        with server:
            started = time.monotonic()

            answers = server.answers(b"PING\r\n", b"+PONG")

            seconds = time.monotonic() - started
    assert answers
    assert seconds >= 2 * 0.040  # the connection's round trip, and the question's


@pytest.mark.allow_hosts([ORIGIN_ADDRESS])
def test_both_ends_send_the_same_way_on_every_machine(link):
    with link.site.entered():
        with link.origin.serving():
            redis = RedisServer()
        with redis, socket.create_connection((ORIGIN_ADDRESS, redis.port)) as connection:
            connection.sendall(b"PING\r\n")
            connection.recv(100)
            told = [
                subprocess.check_output([*here.prefix, "ss", "-tniH", f"dst {there.address}"])
                for here, there in ((link.site, link.origin), (link.origin, link.site))
            ]

    assert [b" cubic " in answer for answer in told] == [True, True], told


@pytest.mark.allow_hosts([ORIGIN_ADDRESS])
def test_a_link_that_loses_all_brings_nothing(link):
    with link.site.entered():
        with link.origin.serving():
            server = RedisServer()
        with server:
            link.become(LinkKind(rtt_ms=1, loss=1))

            assert not server.answers(b"PING\r\n", b"+PONG")

            link.become(LinkKind(rtt_ms=1))
            assert server.answers(b"PING\r\n", b"+PONG")


def test_a_link_leaves_no_namespace_behind(link):
    names = [link.origin.name, link.site.name]

    assert all(Path("/run/netns", name).exists() for name in names)
    # Those of links that ended before, in this process too, are gone.
    assert len(list(Path("/run/netns").glob(f"biomaj-*-{os.getpid()}"))) == len(names)


ROW = Row(
    name="row",
    work="some work",
    network=Network.LOOPBACK,
    measure=lambda _ground, _scale: Result(),
    unit="files/s",
    goal="100 files/s",
    is_reached=lambda result: result.median(OURS) >= 100,
)


def test_a_report_shows_medians_the_ratio_to_the_best_peer_and_whether_a_goal_is_reached(tmp_path):
    result = Result(
        figures={OURS: [90, 150, 200], OLD: [10], "curl": [80, 90, 100], "aria2": [75, 75, 75]},
        lacking={"wget2": "not installed"},
    )
    report = Report(tmp_path)

    report.keep(ROW, result)
    report.write([ROW])

    table = (tmp_path / "results.md").read_text()
    cells = "150 files/s | 10 files/s | 90 files/s | 75 files/s | - | - | - | 1.67 (curl) | yes"
    assert f"| some work | 100 files/s | {cells} |" in table
    assert "- row: 3.2.12: 1 run; wget2: not installed" in table


def test_a_report_keeps_the_last_run_of_each_row_and_adds_to_it_when_told(tmp_path):
    Report(tmp_path).keep(ROW, Result(figures={OURS: [1.0]}))
    Report(tmp_path).keep(ROW, Result(figures={OURS: [200.0]}))
    Report(tmp_path).keep(ROW, Result(figures={OURS: [300.0]}), with_earlier=True)
    report = Report(tmp_path)

    report.write([ROW])

    assert "| 250 files/s |" in (tmp_path / "results.md").read_text()


def test_plots_show_rows_that_there_are():
    shown = {name for plot in PLOTS.values() for name in plot.rows}

    assert shown <= {row.name for row in ROWS}


def test_rows_have_names_of_their_own():
    assert len({row.name for row in ROWS}) == len(ROWS)
