"""Requests through a real RabbitMQ, progress from a web interface old or new."""

from __future__ import annotations

from contextlib import closing
from queue import Empty

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from biomaj_download.client.cancelling import CancelFlag
from biomaj_download.client.remote import RemoteDownloads
from biomaj_download.errors import BrokerError, Cancelled, ConfigError, MessageError, ServiceError
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.store.base import Progress
from tests.servers.process import free_port, poll


def operation(number, session):
    operation = new_operation(Kind.DOWNLOAD, bank="alu", session=session, local_dir="/offline")
    remote_file = operation.download.remote_file
    remote_file.protocol = wire.DownloadFile.HTTP
    remote_file.server = "example.org"
    remote_file.remote_dir = "/"
    remote_file.files.add().name = f"file-{number}"
    return operation


@pytest.fixture
def downloads(rabbitmq_settings, quick_patience):
    with closing(RemoteDownloads(rabbitmq_settings, CancelFlag(None, None))) as downloads:
        yield downloads


@pytest.fixture
def submit(service, downloads):
    """Open a session and submit so many files of it."""

    def submit(number, downloads=downloads):
        session = downloads.open("alu", service.url)
        downloads.submit([operation(number, session) for number in range(number)])
        return session

    return submit


def names(jobs):
    return [job.files[0].name for job in jobs]


def test_remote_downloads_hand_over_no_more_than_the_limit(
    service, downloads, submit, in_background
):
    downloads.at_once = 3
    submit(8)
    result = in_background(downloads.wait)

    jobs = service.take(3)
    with pytest.raises(Empty):
        service.taken.get(timeout=0.3)
    for _ in range(5):
        service.finish(jobs.pop())
        jobs += service.take(1)
    for job in jobs:
        service.finish(job)

    assert result.result(timeout=10) is False
    assert service.most_unfinished == 3


def test_remote_downloads_keep_the_order_of_the_files(service, downloads, submit, in_background):
    downloads.at_once = 2
    service.finishes_at_once = True
    submit(20)

    in_background(downloads.wait).result(timeout=10)

    assert names(service.take(20)) == [f"file-{number}" for number in range(20)]


def test_remote_downloads_start_nothing_before_they_are_waited_for_where_there_is_a_limit(
    service, downloads, submit, in_background
):
    downloads.at_once = 2
    submit(2)

    with pytest.raises(Empty):
        service.taken.get(timeout=0.3)

    service.finishes_at_once = True
    assert in_background(downloads.wait).result(timeout=10) is False


def test_remote_downloads_start_at_once_where_there_is_no_limit(service, downloads, submit):
    submit(600)

    assert len(service.take(600)) == 600


def test_remote_downloads_of_nothing_are_done(service, downloads):
    downloads.open("alu", service.url)

    assert downloads.wait() is False
    assert service.web.asked["GET status"] == 0


def test_remote_downloads_do_not_spin_while_a_file_takes_its_time(
    service, downloads, submit, in_background
):
    submit(1)
    result = in_background(downloads.wait)
    (job,) = service.take(1)

    with pytest.raises(Empty):
        service.taken.get(timeout=1)
    service.finish(job)
    result.result(timeout=10)

    assert service.web.asked["GET status"] <= 12


def test_remote_downloads_of_500_files_one_look_a_file_at_most(
    service, downloads, submit, in_background
):
    downloads.at_once = 4
    service.finishes_at_once = True
    submit(500)

    assert in_background(downloads.wait).result(timeout=30) is False

    assert service.most_unfinished <= 4
    assert service.web.asked["GET status"] <= 600


def test_remote_downloads_report_errors_in_the_log_and_in_the_result(
    service, downloads, submit, in_background, caplog
):
    submit(2)
    result = in_background(downloads.wait)

    first, second = service.take(2)
    service.finish(first, error="file-0: expected 10 bytes, got 9")
    service.finish(second)

    assert result.result(timeout=10) is True
    assert "file-0: expected 10 bytes, got 9" in caplog.text
    assert downloads.progress() == Progress(2, 1)


def test_remote_downloads_see_an_error_that_is_counted_after_its_file(
    service, downloads, submit, in_background
):
    session = submit(1)
    service.web.sessions[session].texts.append("file-0: late")

    service.finish(*service.take(1))

    assert in_background(downloads.wait).result(timeout=10) is True


def test_remote_downloads_know_no_progress_before_there_is_some(service, downloads):
    downloads.open("alu", service.url)

    assert downloads.progress() == Progress(None, None)


def test_remote_downloads_outlast_a_restart_of_the_web_interface(
    service, downloads, submit, in_background, caplog
):
    downloads.at_once = 1
    submit(2)
    result = in_background(downloads.wait)
    (first,) = service.take(1)

    service.web.stop()
    wait_until(lambda: "server away" in caplog.text)
    service.finish(first)
    service.web.start()
    service.finish(*service.take(1))

    assert result.result(timeout=10) is False


def test_remote_downloads_give_up_when_the_web_interface_stays_away(
    service, downloads, submit, monkeypatch
):
    monkeypatch.setattr("biomaj_download.client.patience.PATIENCE_SECONDS", 0.2)
    submit(1)
    service.web.stop()

    with pytest.raises(ServiceError, match=r"download service at http.*refused"):
        downloads.wait()


def test_remote_downloads_end_when_the_service_has_lost_the_session(
    service, downloads, submit, in_background
):
    session = submit(2)
    result = in_background(downloads.wait)
    first, _ = service.take(2)

    service.finish(first)
    wait_until(lambda: downloads._done == 1)
    service.web.forget(session)

    with pytest.raises(ServiceError, match="lost the session"):
        result.result(timeout=10)


def test_remote_downloads_outlast_a_cut_connection_to_the_broker(
    service, downloads, submit, in_background, rabbitmq
):
    downloads.at_once = 1
    submit(2)
    result = in_background(downloads.wait)
    (first,) = service.take(1)

    rabbitmq.rabbitmqctl("close_all_connections", "-p", rabbitmq.virtual_host, "maintenance")
    service.finish(first)
    service.finish(*service.take(1))

    assert result.result(timeout=20) is False


def test_remote_downloads_say_at_once_that_there_is_no_broker(rabbitmq_settings, service):
    closed_port = free_port()
    settings = rabbitmq_settings.model_copy(update={"port": closed_port})
    with closing(RemoteDownloads(settings, CancelFlag(None, None))) as downloads:
        session = downloads.open("alu", service.url)

        with pytest.raises(BrokerError, match=str(closed_port)):
            downloads.submit([operation(0, session)])


def test_remote_downloads_need_the_address_of_the_web_interface(downloads):
    with pytest.raises(ConfigError, match="bank alu: expected the URL"):
        downloads.open("alu", None)


def test_remote_downloads_name_what_a_request_lacks(downloads, service):
    downloads.open("alu", service.url)

    with pytest.raises(MessageError, match="remote_file"):
        downloads.submit([new_operation(Kind.DOWNLOAD, bank="alu", session="", local_dir="")])


def test_remote_downloads_must_be_opened_before_progress_is_asked_for(downloads):
    with pytest.raises(ServiceError, match="expected a session"):
        downloads.progress()


def test_remote_downloads_are_cancelled_by_the_flag_which_is_taken_down(
    service, submit, in_background, rabbitmq_settings, redis_server, monkeypatch
):
    monkeypatch.setattr("biomaj_download.client.remote.CANCEL_LOOK_SECONDS", 1)
    with (
        redis.Redis(redis_server.host, redis_server.port) as redis_client,
        closing(RemoteDownloads(rabbitmq_settings, CancelFlag(redis_client, "site"))) as downloads,
    ):
        submit(1, downloads)
        result = in_background(downloads.wait)
        service.take(1)

        redis_client.set("site:alu:action:cancel", 1)

        with pytest.raises(Cancelled, match="bank alu"):
            result.result(timeout=10)
        assert redis_client.get("site:alu:action:cancel") is None


def test_remote_downloads_are_not_cancelled_by_a_redis_that_is_away(
    service, submit, in_background, rabbitmq_settings, caplog
):
    with (
        redis.Redis("127.0.0.1", free_port(), retry=Retry(NoBackoff(), 0)) as redis_client,
        closing(RemoteDownloads(rabbitmq_settings, CancelFlag(redis_client, None))) as downloads,
    ):
        service.finishes_at_once = True
        submit(1, downloads)

        assert in_background(downloads.wait).result(timeout=10) is False

    assert "cancel flag not readable bank=alu" in caplog.text


def test_remote_downloads_that_are_cleaned_leave_no_session_and_nothing_to_wait_for(
    service, downloads, submit
):
    downloads.at_once = 1
    session = submit(3)

    downloads.clean()

    assert session not in service.web.sessions
    assert downloads.wait() is False


def test_remote_downloads_can_be_cleaned_while_the_web_interface_is_away(
    service, downloads, submit, caplog
):
    session = submit(1)
    service.web.stop()

    downloads.clean()

    assert f"session not cleaned bank=alu session={session}" in caplog.text


def test_remote_downloads_can_serve_one_session_after_the_other(
    service, downloads, submit, in_background
):
    service.finishes_at_once = True
    submit(3)
    assert in_background(downloads.wait).result(timeout=10) is False
    downloads.clean()

    submit(2)

    assert in_background(downloads.wait).result(timeout=10) is False
    assert downloads.progress() == Progress(2, None)


def wait_until(is_so):
    for _ in poll(10):
        if is_so():
            return
    raise AssertionError("it never came")


def test_a_count_that_goes_back_ends_the_wait(downloads, submit):
    """As Redis tells it that has come back from an older state of the disk."""
    submit(3)
    downloads._take_note(Progress(2, None))

    with pytest.raises(ServiceError, match="with 2 or more settled files, got 1"):
        downloads._take_note(Progress(1, None))
