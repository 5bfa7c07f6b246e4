from __future__ import annotations

import http.client
import socket
import urllib.request

import pytest

from tests.servers.faulty_http import Answer


def get(url, method="GET", **headers):
    request = urllib.request.Request(url, headers=headers, method=method)
    return urllib.request.urlopen(request, timeout=5)


def test_a_path_answers_in_the_order_given_and_the_last_answer_stays(faulty_http):
    url = faulty_http.add("/a", Answer(status=503), Answer(body=b"here"))

    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        get(url)
    refused.value.close()

    for _ in range(2):
        with get(url) as response:
            assert response.read() == b"here"
    assert [request.method for request in faulty_http.requests_for("/a")] == ["GET"] * 3


def test_a_range_is_served_while_the_validator_holds(faulty_http):
    url = faulty_http.add("/a", Answer(body=b"0123456789", etag='"v2"'))

    with get(url, **{"Range": "bytes=4-", "If-Range": '"v2"'}) as response:
        assert (response.status, response.read()) == (206, b"456789")
        assert response.headers["Content-Range"] == "bytes 4-9/10"
    with get(url, **{"Range": "bytes=4-", "If-Range": '"v1"'}) as response:
        assert (response.status, response.read()) == (200, b"0123456789")


def test_a_body_is_cut_below_its_announced_length(faulty_http):
    url = faulty_http.add("/a", Answer(body=b"0123456789", cut_after=4))

    with get(url) as response, pytest.raises(http.client.IncompleteRead) as cut:
        response.read()

    assert cut.value.partial == b"0123"


def test_a_stalled_body_stops_where_it_was_told_to(faulty_http):
    url = faulty_http.add("/a", Answer(body=b"0123456789", stall_after=4))

    with urllib.request.urlopen(url, timeout=0.3) as response:
        assert response.read(4) == b"0123"
        with pytest.raises(socket.timeout):
            response.read(1)


def test_a_chunked_body_is_whole(faulty_http):
    url = faulty_http.add("/a", Answer(body=b"0123456789", chunked=True, pause_every_bytes=3))

    with get(url) as response:
        assert response.headers["Content-Length"] is None
        assert response.read() == b"0123456789"


def test_head_tells_the_length_or_is_refused(faulty_http):
    url = faulty_http.add("/a", Answer(body=b"0123456789"), Answer(refuses_head=True))

    with get(url, method="HEAD") as response:
        assert (response.headers["Content-Length"], response.read()) == ("10", b"")
    with pytest.raises(urllib.error.HTTPError, match="405") as refused:
        get(url, method="HEAD")
    refused.value.close()


def test_two_requests_on_one_connection_are_told_from_two_on_two(faulty_http):
    faulty_http.add("/a", Answer(body=b"0123456789"))
    connection = http.client.HTTPConnection(faulty_http.host, faulty_http.port, timeout=5)

    for _ in range(2):
        connection.request("GET", "/a")
        connection.getresponse().read()
    connection.close()
    with get(faulty_http.url + "/a") as response:
        response.read()

    first, second, third = [request.connection for request in faulty_http.requests]
    assert first == second != third
