"""Downloads from servers of our own on 127.0.0.1: one for each way in which a network fails."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
import time

import pytest

from tlkit.backbones.download import DownloadError, download, file_digest

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for variable in PROXIES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


@contextlib.contextmanager
def serve(answer):
    """Runs `answer(connection)` for each connection to a port of its own; yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/weights.h5"
    finally:
        listener.close()
        for connection in connections:
            connection.close()


def read_request(connection):
    while not connection.recv(65536).endswith(b"\r\n\r\n"):
        pass


def reply(content, length=None, pause=0.0, status="200 OK", close=True):
    def answer(connection):
        with contextlib.suppress(OSError):
            read_request(connection)
            header = f"HTTP/1.1 {status}\r\nContent-Length: {len(content) if length is None else length}\r\n\r\n"
            connection.sendall(header.encode() + content)
            time.sleep(pause)
            if close:
                connection.shutdown(socket.SHUT_RDWR)

    return answer


def fail(url, tmp_path, match, **arguments):
    """Expects a DownloadError, and nothing left in the folder; returns the seconds it took."""
    start = time.monotonic()
    with pytest.raises(DownloadError, match=match):
        download(
            url, tmp_path / "cache" / "weights.h5", **{"first_byte_seconds": 1.0, "stall_seconds": 1.0} | arguments
        )
    assert list((tmp_path / "cache").iterdir()) == []
    return time.monotonic() - start


@pytest.mark.parametrize("digest", [None, MD5, SHA256])
def test_right_bytes_arrive_whole_with_progress(tmp_path, digest):
    path, calls = tmp_path / "cache" / "models" / "weights.h5", []
    with serve(reply(CONTENT)) as url:
        download(url, path, digest=digest, on_progress=lambda done, total: calls.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["weights.h5"]
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert calls == sorted(calls)
    assert path.stat().st_mode & 0o777 == 0o644


def test_existing_file_is_replaced(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"damaged")
    with serve(reply(CONTENT)) as url:
        download(url, path, digest=MD5)
    assert path.read_bytes() == CONTENT


def test_server_that_accepts_and_never_answers(tmp_path):
    with serve(lambda connection: time.sleep(30)) as url:
        assert fail(url, tmp_path, "no answer within 1 seconds") < 3


def test_server_that_stalls_in_the_middle(tmp_path):
    with serve(reply(CONTENT[:4000], length=len(CONTENT), pause=30)) as url:
        assert fail(url, tmp_path, "no answer within 1 seconds") < 4


def test_server_that_sends_half_and_hangs_up(tmp_path):
    half = len(CONTENT) // 2
    with serve(reply(CONTENT[:half], length=len(CONTENT))) as url:
        fail(url, tmp_path, f"{half}|IncompleteRead|ended", digest=MD5)
        fail(url, tmp_path, f"{half}|IncompleteRead|ended")


def test_server_that_sends_another_file(tmp_path):
    with serve(reply(CONTENT[::-1])) as url:
        fail(url, tmp_path, "not the file expected", digest=SHA256)


def test_server_that_says_not_found(tmp_path):
    with serve(reply(b"", status="404 Not Found")) as url:
        fail(url, tmp_path, "the server answered 404 Not Found")


def test_port_where_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert fail(f"http://127.0.0.1:{port}/weights.h5", tmp_path, "refused|actively") < 3


def test_name_look_up_that_hangs(tmp_path, monkeypatch):
    """A resolver that never answers blocks its thread far beyond any socket time-out; it must not block ours."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: time.sleep(30))
    assert fail("http://weights.invalid/weights.h5", tmp_path, "no answer within 1 seconds") < 3


def test_interruption_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with serve(reply(CONTENT)) as url, pytest.raises(KeyboardInterrupt):
        download(url, tmp_path / "cache" / "weights.h5", on_progress=interrupt)
    assert list((tmp_path / "cache").iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        download("http://127.0.0.1:1/weights.h5", tmp_path / "file" / "weights.h5")


def test_whole_server_of_the_standard_library(tmp_path):
    """A real server, keep-alive and all, in place of the hand-made ones."""
    (tmp_path / "weights.h5").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(tmp_path), **options)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download(f"http://127.0.0.1:{server.server_port}/weights.h5", tmp_path / "copy.h5", digest=SHA256)
        server.shutdown()
    assert (tmp_path / "copy.h5").read_bytes() == CONTENT


@pytest.mark.parametrize("digest", [MD5, SHA256])
def test_digest_goes_by_the_length_of_the_expected_one(tmp_path, digest):
    (tmp_path / "file").write_bytes(CONTENT)
    assert file_digest(tmp_path / "file", like=digest) == digest
