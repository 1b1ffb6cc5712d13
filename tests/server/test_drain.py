"""SIGTERM: nothing new at once, what runs may finish, what does not is told."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.server.conftest import ROOT, Serve, Served, read_all, read_until
from tests.server.test_streams import handshake


def assert_refuses_connections(served: Served, *, within: float) -> None:
    began = time.monotonic()
    while time.monotonic() - began < within:
        try:
            socket.create_connection(("127.0.0.1", served.port), timeout=0.2).close()
        except (ConnectionRefusedError, TimeoutError):  # who knocks while the door is being closed is not answered
            return
        time.sleep(0.02)
    pytest.fail("The server still accepts connections.")


def test_a_request_in_flight_is_answered_before_the_end(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /slow?2 HTTP/1.1\r\nHost: x\r\n\r\n")
    served.wait_for_note("slow began", seconds=2)

    served.terminate()

    assert_refuses_connections(served, within=1)
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"slow")
    assert served.process.wait(5) == 0
    assert served.notes() == ["startup", "slow began", "end idle", "shutdown"]


def test_an_idle_server_stops_at_once(served: Served) -> None:
    idle = served.connect()
    idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    read_until(idle, b"hello")
    silent = served.connect()  # so new that it may be about to speak

    served.terminate()

    assert served.process.wait(4) == 0
    assert idle.recv(1) == b""
    assert silent.recv(1) == b""
    assert served.notes()[-1] == "shutdown"


def test_who_has_connected_before_the_end_is_answered(served: Served) -> None:
    """A proxy may not send a call again once it has sent it: none may be lost between the kernel and the server."""
    served.process.send_signal(signal.SIGSTOP)
    waiting = [served.connect() for _ in range(20)]
    for client in waiting[:10]:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    served.terminate()
    served.process.send_signal(signal.SIGCONT)
    for client in waiting[10:]:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    answers = [read_all(client) for client in waiting]
    assert [answer[-5:] for answer in answers] == [b"hello"] * 20
    assert served.process.wait(5) == 0


def test_a_request_that_is_still_arriving_is_answered(served: Served) -> None:
    client = served.connect()
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
    time.sleep(0.2)

    served.terminate()
    time.sleep(0.3)
    client.sendall(b"def")

    assert read_all(client).endswith(b"6")
    assert served.process.wait(3) == 0


def test_streams_and_websockets_are_told_at_the_end_of_the_grace(serve: Serve) -> None:
    served = serve(SKILLGATE_GRACE_SECONDS="1")
    stream, websocket = served.connect(), served.connect()
    stream.sendall(b"GET /ticking HTTP/1.1\r\nHost: x\r\n\r\n")
    websocket.sendall(handshake("/socket"))
    read_until(stream, b"tick\n")
    read_until(websocket, b"\r\n\r\n")

    began = time.monotonic()
    served.terminate()

    assert served.process.wait(5) == 0
    assert 1 <= time.monotonic() - began < 4
    assert sorted(served.notes()[1:-1]) == ["end idle", "ticking http.disconnect", "websocket 1012"]
    assert served.notes()[-1] == "shutdown"
    assert websocket.recv(4)[:4] == b"\x88\x02\x03\xf4"  # a close frame with 1012
    assert not read_all(stream).endswith(b"0\r\n\r\n")


def test_an_application_that_does_not_listen_is_cancelled(serve: Serve) -> None:
    served = serve(SKILLGATE_GRACE_SECONDS="0.2")
    deaf, slow = served.connect(), served.connect()
    deaf.sendall(b"GET /deaf HTTP/1.1\r\nHost: x\r\n\r\n")
    slow.sendall(b"GET /slow?60 HTTP/1.1\r\nHost: x\r\n\r\n")
    served.wait_for_note("deaf began", seconds=2)
    served.wait_for_note("slow began", seconds=2)

    served.terminate()

    assert served.process.wait(6) == 0
    assert served.notes()[-2:] == ["deaf ended", "shutdown"]
    assert read_all(slow).startswith(b"HTTP/1.1 503")


def test_a_second_signal_changes_nothing(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /slow?1 HTTP/1.1\r\nHost: x\r\n\r\n")
    served.wait_for_note("slow began", seconds=2)

    for _ in range(3):
        served.terminate()
        time.sleep(0.1)

    assert read_all(client).endswith(b"slow")
    assert served.process.wait(3) == 0


def test_a_taken_port_is_told_in_one_line(served: Served) -> None:
    command = [sys.executable, "-m", "server", "--port", str(served.port)]

    result = subprocess.run(
        [*command, "--app", "tests.server.applications:application"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr == f"Cannot listen on 127.0.0.1:{served.port}: Address already in use\n"


def test_a_socket_that_is_already_open_can_be_served(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--fd", str(listener.fileno()), "--app", "tests.server.applications"],
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "JOURNAL": str(served.journal)},
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = read_all(client)
        process.terminate()

        assert answer.endswith(b"hello")
        assert process.wait(5) == 0
