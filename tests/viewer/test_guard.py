"""Who may ask: programs on this machine with the token; and what the page may do."""

import pytest

from hyperfuse.viewer.guard import Guard
from viewed import PORT, TOKEN


@pytest.mark.parametrize(
    "path", ["/", "/?token=wrong", "/api/scene", "/style.css", "/wrong/", "/wrong/api/scene", "//"]
)
def test_without_the_token_nothing_is_sent(serve, cube, path):
    reply = serve(cube, allowed=False).get(path)
    assert reply.status_code == 403
    assert TOKEN not in reply.text
    assert "set-cookie" not in reply.headers


def test_the_page_with_the_token_gives_a_cookie_that_lets_in(serve, cube):
    client = serve(cube, allowed=False)
    reply = client.get(f"/?token={TOKEN}")
    assert reply.status_code == 200
    assert "<title>" in reply.text
    assert reply.headers["set-cookie"] == f"hyperfuse-{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert client.get("/api/scene").status_code == 200
    client.cookies.clear()
    assert client.get("/api/scene").status_code == 403
    client.cookies.set(f"hyperfuse-{PORT}", "wrong")
    assert client.get("/api/scene").status_code == 403


def test_a_token_in_the_query_opens_the_page_alone(serve, cube):
    assert serve(cube, allowed=False).get(f"/api/scene?token={TOKEN}").status_code == 403


def test_the_token_in_the_path_lets_in_without_a_cookie(serve, cube):
    client = serve(cube, allowed=False)
    assert client.get(f"/{TOKEN}/").status_code == 200
    assert client.get(f"/{TOKEN}/api/scene").status_code == 200
    assert client.get(f"/{TOKEN}/../api/scene").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:8000", "", "x" * 5000]
)
def test_a_foreign_host_is_refused(serve, cube, host):
    assert serve(cube).get("/api/scene", headers={"Host": host}).status_code == 400


def test_localhost_is_this_machine(serve, cube):
    assert serve(cube).get("/api/scene", headers={"Host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/style.css", "/nothing", "/api/tile"])
def test_every_reply_keeps_the_page_to_itself(serve, cube, path):
    headers = serve(cube).get(path, headers={"Origin": "https://evil.example"}).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_page_for_notebooks_may_be_framed_by_this_machine_alone(serve, cube):
    policy = serve(cube, framed=True).get("/").headers["content-security-policy"]
    ancestors = policy.partition("frame-ancestors ")[2].split()
    assert {"http://localhost:*", "http://127.0.0.1:*"} <= set(ancestors)
    assert not {"*", "https:", "http:"} & set(ancestors)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_requests_that_could_change_something_are_refused(serve, cube, method):
    assert serve(cube).request(method, "/api/scene").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cx", "/vendor/", "/app.py"],
)
def test_no_other_file_is_sent(serve, cube, path):
    assert serve(cube).get(path).status_code == 404


def test_a_cookie_that_cannot_be_read_is_none(serve, cube):
    client = serve(cube, allowed=False)
    assert client.get("/api/scene", headers={"Cookie": '"; =;;\x01,'}).status_code == 403


def test_other_protocols_are_left_alone():
    import asyncio

    asyncio.run(Guard(None, token="x", port=1)({"type": "websocket"}, None, None))
