"""The live page, as a person sees it in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import requests
from playwright.sync_api import expect

from biomaj_download.broker.opening import open_broker
from biomaj_download.serving import embedded_in
from biomaj_download.settings import RabbitmqSettings, RedisSettings, Settings
from biomaj_download.store.activity import Consumer, EndedFile, Pulse
from biomaj_download.store.opening import open_activity
from tests.command.conftest import served
from tests.page.conftest import TOKEN, web_alone
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port

EVIL = '<img src=x onerror="document.title=1">'


def test_a_newcomer_is_told_what_to_type(page, address):
    page.goto(address)

    expect(page.locator("#welcome")).to_contain_text("biomaj-download submit")
    expect(page.locator("#link")).to_have_text("Live")


def test_a_whole_run_is_seen(page, address, ask, stalled, faulty_http):
    page.goto(address)
    expect(page.locator("#welcome")).to_be_visible()
    names = [f"part{number}.dat" for number in range(12)]
    for name in names:
        faulty_http.add(f"/db/{name}", Answer(body=b"x" * 2000))

    ask(address, "uniprot", *names, "missing.dat", stalled)

    expect(page.get_by_role("heading", name="1 databank on its way home")).to_be_visible()
    bank = page.locator("#sessions li").filter(has_text="uniprot")
    expect(bank).to_contain_text("13 files of 14")
    expect(bank).to_contain_text("1 failed")
    running = page.locator("#running li").filter(has_text="stalled.dat")
    expect(running).to_contain_text("5.1 MB")
    expect(running.get_by_role("progressbar")).to_have_count(1)
    error = page.locator("#errors li")
    expect(error).to_contain_text("remote-file-missing")
    expect(error).to_contain_text("got HTTP status 404")
    expect(page.locator("#hosts li")).to_contain_text("1 of 4 connections")
    expect(page.locator("#consumers li")).to_contain_text("1 of 16 slots")


def test_errors_are_searched(page, address, ask):
    ask(address, "bank", *(f"lost{number}.dat" for number in range(5)))
    page.goto(address)
    expect(page.locator("#errors li")).to_have_count(5)

    page.get_by_label("Search in errors").fill("lost3")

    expect(page.locator("#errors li")).to_have_count(1)
    expect(page.locator("#errors li")).to_contain_text("lost3.dat")


def test_a_session_is_cancelled_when_the_person_is_sure(page, address, ask, stalled):
    session = ask(address, "bank", stalled)
    page.goto(address)
    row = page.locator("#sessions li")
    expect(page.locator("#running li")).to_have_count(1)

    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert known(address, session).status_code == 200
    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").locator('[value="yes"]').click()

    expect(row).to_have_count(0)
    expect(page.locator("#running li")).to_have_count(0)
    assert known(address, session).status_code == 404


def known(service: str, session: str) -> requests.Response:
    return requests.get(f"{service}/api/download/sessions/bank/{session}", timeout=10)


def test_a_service_that_wants_a_token_asks_for_it_and_it_stays_in_the_tab(
    page, guarded, ask, stalled
):
    ask(guarded, "bank", stalled, token=TOKEN)
    page.goto(guarded)
    dialog = page.get_by_role("dialog")

    dialog.get_by_label("Token").fill("a-wrong-token-of-the-tests")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_contain_text("not that of this service")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Use it").click()

    expect(page.locator("#running li")).to_contain_text("stalled.dat")
    assert TOKEN not in page.url
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage) + document.cookie")


def test_a_token_that_is_missing_for_a_change_is_asked_for_and_the_change_is_made(
    page, guarded, ask, stalled
):
    ask(guarded, "bank", stalled, token=TOKEN)
    page.goto(guarded)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Use it").click()
    row = page.locator("#sessions li")
    expect(row).to_have_count(1)

    page.evaluate("sessionStorage.clear()")
    row.get_by_role("button", name="Cancel").click()
    dialog.locator('[value="yes"]').click()
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Use it").click()

    expect(row).to_have_count(0)


def test_a_change_from_elsewhere_is_refused_and_the_person_told_what_helps(
    page, address, ask, stalled
):
    session = ask(address, "bank", stalled)
    page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.7"})
    page.goto(address)

    page.locator("#sessions li").get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").locator('[value="yes"]').click()

    expect(page.locator("#notices")).to_contain_text("Set web.token in its settings")
    assert known(address, session).status_code == 200


def test_a_dead_letter_is_put_back_or_dropped(page, address, tmp_path):
    open_broker(embedded_in(tmp_path / "data", Settings())).publish(b"no request", message_id="odd")
    page.goto(address)
    letter = page.locator("#dead li")
    expect(letter).to_contain_text("Unreadable request odd")
    dialog = page.get_by_role("dialog")

    letter.get_by_role("button", name="Put back").click()
    dialog.get_by_role("button", name="Put it back").click()
    expect(page.locator("#announcer")).to_have_text("The request is back on the queue.")
    expect(letter).to_have_count(1)  # it is as unreadable as before
    letter.get_by_role("button", name="Drop").click()
    dialog.get_by_role("button", name="Drop it").click()

    expect(page.locator("#dead")).to_be_hidden()
    expect(page.locator("#queue")).to_contain_text("Dead letters0")


def test_a_site_whose_broker_or_store_is_away_is_told_so(page, redis_server):
    settings = Settings(
        redis=RedisSettings(host=redis_server.host, port=redis_server.port),
        rabbitmq=RabbitmqSettings(port=free_port()),
    )
    with web_alone(settings) as url:
        page.goto(url)
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#notices")).to_contain_text("The broker is away")

        redis_server.stop()
        expect(page.locator("#link")).to_have_text("Store away")
        expect(page.locator("#notices")).to_contain_text("cannot reach its store")
        redis_server.start()

        expect(page.locator("#link")).to_have_text("Live")


def test_names_of_servers_and_banks_are_text(page, address, ask):
    ask(address, "bank", EVIL)
    page.goto(address)

    expect(page.locator("#errors li")).to_contain_text(EVIL)
    assert page.locator("img[src=x]").count() == 0


def test_the_page_goes_on_when_the_service_was_restarted(page, ask, stalled, tmp_path):
    data = tmp_path / "data"
    with served(data) as url:
        page.goto(url)
        expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#notices")).to_contain_text("connection", ignore_case=True)

    with served(data, urlsplit(url).port or 0) as again:
        ask(again, "bank", stalled)
        expect(page.locator("#link")).to_have_text("Live", timeout=30_000)
        expect(page.locator("#running li")).to_contain_text("stalled.dat")
        expect(page.locator("#notices")).not_to_contain_text("connection", ignore_case=True)


def test_the_keyboard_is_enough(page, address, ask, stalled):
    ask(address, "bank", stalled)
    page.goto(address)
    expect(page.locator("#running li")).to_have_count(1)

    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#sessions a') !== null"):
            break
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="bank", exact=True)).to_be_focused()
    expect(page.locator("#session-running li")).to_contain_text("stalled.dat")


def test_a_session_of_50_000_files_is_shown_in_pages(page, tmp_path):
    with ended_files(tmp_path, 50_000) as url:
        page.goto(url)
        files = page.locator("#files li")
        expect(files.first).to_be_visible()

        assert files.count() <= 100
        page.locator("#files").get_by_role("button", name="Older").click()
        expect(page.locator("#files .pager")).to_contain_text("51 to 100")
        page.get_by_label("Search in files").fill("file-49999")
        expect(files).to_have_count(1)
        expect(files).to_contain_text("file-49999.dat")
        assert page.evaluate("document.querySelectorAll('*').length") < 3_000


def test_more_than_a_hundred_sessions_are_shown_in_pages(page, address):
    for number in range(101):
        requests.post(f"{address}/api/download/session/bank{number}", timeout=10)
    page.goto(address)
    rows = page.locator("#sessions li")
    expect(rows).to_have_count(100)

    page.locator("#sessions").get_by_role("button", name="Older").click()
    expect(rows).to_have_count(1)
    expect(page.locator("#sessions .pager")).to_contain_text("101 to 101")
    page.locator("#sessions").get_by_role("button", name="Newer").click()

    expect(rows).to_have_count(100)


@contextmanager
def ended_files(folder: Path, number: int) -> Iterator[str]:
    """Serve a session of which so many files have ended; its page."""
    data = folder / "data"
    with served(data) as url:
        session = requests.post(f"{url}/api/download/session/big", timeout=10).json()["session"]
        with closing(open_activity(embedded_in(data, Settings()))) as activity:
            activity.expect("big", session, number)
            for first in range(0, number, 5_000):
                tell(activity, session, range(first, min(first + 5_000, number)))
        yield f"{url}/#/sessions/big/{session}"


def tell(activity, session: str, numbers: range) -> None:
    now = datetime.now(timezone.utc)
    consumer = Consumer(
        name="c", host="h", process_id=1, slots=16, running=0, started_at=now, seen_at=now
    )
    ended = tuple(
        EndedFile(
            bank="big",
            session=session,
            name=f"file-{number}.dat",
            host="ftp://h:21",
            state="done",
            size_bytes=1000,
            seconds=0.1,
            ended_at=now,
        )
        for number in numbers
    )
    activity.tell(Pulse(consumer=consumer), ended, {})


def test_nothing_comes_from_elsewhere(page, address):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    expect(page.locator("#link")).to_have_text("Live")

    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}
    policy = requests.get(address, timeout=10).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_choice_that_fits_no_file_says_so(page, tmp_path):
    with ended_files(tmp_path, 1) as url:
        page.goto(url)
        expect(page.locator("#files li")).to_have_count(1)

        page.get_by_role("button", name="Failed").click()

        expect(page.locator("#files .nothing")).to_have_text("No file has failed.")


def test_a_page_that_was_asked_for_is_not_lost_to_one_that_is_shown_anew(page, address):
    page.goto(address)

    offset = page.evaluate(
        """async () => {
          const { Listing } = await import("./page/listing.js");
          const answers = [];
          const listing = new Listing(document.getElementById("errors").cloneNode(true), {
            ask: () => new Promise((answer) => answers.push(answer)),
            nothing: () => "",
            onRefusal() {},
          });
          const answer = async (next_offset) => {
            for (const each of answers.splice(0)) each({ files: [], total: 100, next_offset });
            await new Promise((done) => setTimeout(done));
          };
          listing.refresh();
          await answer(50);
          listing.older.click();
          listing.refresh();
          await answer(null);
          return listing.offset;
        }"""
    )

    assert offset == 50


def test_two_files_of_one_name_have_a_row_each_and_leave_none_behind(page, address):
    page.goto(address)

    rows = page.evaluate(
        """async (script) => {
          const { setRows } = await import(script);
          const list = document.createElement("ul");
          const how = { key: () => "same", make: () => document.createElement("li"), update() {} };
          const counts = [[1, 2], [1, 2], [1], []].map((items) => {
            setRows(list, items, how);
            return list.children.length;
          });
          return counts;
        }""",
        "./page/dom.js",
    )

    assert rows == [2, 2, 1, 0]
