"""What a service tells of sessions, in lines for people."""

from __future__ import annotations

from datetime import datetime

from biomaj_download.command.service import Facts
from biomaj_download.command.words import files_text, printable, size_text, speed_text, time_text

#: So many running files are shown of a session.
_MOST_FILES = 10


def overview_lines(overview: Facts) -> list[str]:
    """Return all that a service is at."""
    queue, consumers = overview["queue"], overview["consumers"]
    lines = [session_line(session) for session in overview["sessions"]] or ["no session is open"]
    more = overview["sessions_total"] - len(overview["sessions"])
    if more > 0:
        lines.append(f"and {more} sessions more")
    lines.append(
        f"{files_text(overview['running_total'])} running, consumers: {len(consumers)},"
        f" {_known(queue.get('messages'))} requests waiting,"
        f" {_known(queue.get('dead_letters'))} dead letters"
    )
    if queue.get("error"):
        lines.append(f"the broker is away: {printable(queue['error'])}")
    for host in overview["hosts"]:
        if host.get("paused_seconds"):
            paused = time_text(host["paused_seconds"])
            lines.append(f"{printable(host['name'])} asked us to pause: {paused} left")
    return lines


def session_line(facts: Facts) -> str:
    """Return one session in a line; what the service does not know is left out."""
    expected = facts.get("expected")
    of = f" of {expected:,}" if expected is not None else ""
    parts = [f"{facts['done']:,}{of} done", f"{facts['failed']:,} failed"]
    for name in ("running", "waiting"):
        number = facts.get(name)
        if isinstance(number, list):
            number = len(number)
        if number:
            parts.append(f"{number:,} {name}")
    if facts.get("received_bytes") is not None:
        parts.append(size_text(facts["received_bytes"]))
    if facts.get("bytes_per_second"):
        parts.append(speed_text(facts["bytes_per_second"]))
    if facts.get("seconds_left"):
        parts.append(f"{time_text(facts['seconds_left'])} left")
    since = facts.get("opened_at")
    opened_at = f"  {_local(since)}" if since else ""
    return f"{printable(facts['bank'])}/{facts['session']}{opened_at}  {', '.join(parts)}"


def running_lines(facts: Facts) -> list[str]:
    """Return the running files of a session, a line each."""
    running = facts.get("running_files", facts.get("running"))
    if not isinstance(running, list):
        return []
    shown = [_running_line(file) for file in running[:_MOST_FILES]]
    more = len(running) - len(shown)
    return [*shown, f"  and {more} more"] if more else shown


def _running_line(file: Facts) -> str:
    size = f" of {size_text(file['size_bytes'])}" if file.get("size_bytes") else ""
    attempt = f", attempt {file['attempt']}" if file["attempt"] > 1 else ""
    return (
        f"  running: {printable(file['name'])}  {size_text(file['received_bytes'])}{size},"
        f" {speed_text(file['bytes_per_second'] or 0)}{attempt}  ({printable(file['host'] or '?')})"
    )


def failed_line(file: Facts) -> str:
    """Return a file that failed, in a line."""
    return f"  failed: {printable(file['name'])}: {printable(str(file['error']))} ({file['code']})"


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _local(instant: str) -> str:
    return f"{datetime.fromisoformat(instant.replace('Z', '+00:00')).astimezone():%Y-%m-%d %H:%M}"
