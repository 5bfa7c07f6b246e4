from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from biomaj_download.biomaj_download_web import close_app, create_app
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.settings import Settings
from tests.command.conftest import served
from tests.conftest import do_without
from tests.servers.faulty_http import Answer
from tests.servers.process import MissingServer, find_program

TOKEN = "a-token-of-the-tests"
BODY = bytes(range(256)) * 40_000
HALF_BYTES = len(BODY) // 2
#: What keeps Chromium from asking for anything but the page.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    try:
        program = find_program("chromium", "chromium")
    except MissingServer as missing:
        do_without(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A page of a browser that knows nothing; an error of its scripts fails the test."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@contextmanager
def web_alone(settings: Settings) -> Iterator[str]:
    """Have a web application at work, and no consumer; its address."""
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        close_app(app)
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    """A service at work."""
    with served(tmp_path / "data") as url:
        yield url


@pytest.fixture
def guarded(tmp_path) -> Iterator[str]:
    """A service at work that wants a token."""
    with served(tmp_path / "guarded", token=TOKEN) as url:
        yield url


@pytest.fixture
def stalled(faulty_http) -> str:
    """The name of a file that stops in its middle, always."""
    faulty_http.add("/db/stalled.dat", Answer(body=BODY, stall_after=HALF_BYTES))
    return "stalled.dat"


@pytest.fixture
def ask(faulty_http, tmp_path) -> Callable[..., str]:
    """Have a service bring files of a faulty server; returns the session."""

    def ask(service: str, bank: str, *names: str, token: str | None = None) -> str:
        api = f"{service}/api/download"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        session = str(requests.post(f"{api}/session/{bank}", timeout=10).json()["session"])
        for name in names:
            operation = operation_for(bank, session, name)
            answer = requests.post(
                f"{api}/operations",
                data=operation.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf", **headers},
                timeout=10,
            )
            assert answer.status_code == 202, answer.text
        return session

    def operation_for(bank: str, session: str, name: str) -> wire.Operation:
        operation = wire.Operation(type=wire.Operation.DOWNLOAD)
        download = operation.download
        download.bank, download.session = bank, session
        download.local_dir = str(tmp_path / "home" / bank)
        download.options["stop_condition"] = "stop_after_attempt(1)"
        remote = download.remote_file
        remote.protocol = wire.DownloadFile.HTTP
        remote.server, remote.remote_dir = urlsplit(faulty_http.url).netloc, "/db/"
        remote.files.add(name=name, save_as=name, root="/db/")
        return operation

    return ask
