#!/usr/bin/env python3
"""test_clock BUILD: the wall clock of a running daemon goes back by days, or forward, while something is under way that has a
time limit: a dialler's pause, a request without its reply, a handshake without a greeting. Each ends in its time.
"""
import contextlib
import pathlib
import socket
import sys
import tempfile
import threading
import time
import unittest

import load  # noqa: F401  (where sp is found)
import sp
from world import FaultPage, World

DAY_S = 86400
LIMIT_S = 60
BUILD = sys.argv.pop(1)


class DaemonTest(unittest.TestCase):
    def bind(self):
        """A socket that does not listen yet."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(LIMIT_S)
        return sock

    def flags(self):
        return []

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="spreader-clock-")
        self.addCleanup(folder.cleanup)
        self.world = World(BUILD, pathlib.Path(folder.name), True, 1, 0, [self.flags()])
        self.addCleanup(self.world.end)
        self.daemon = self.world.daemons[0]
        # the answers go to a listener of the test, once there is one
        self.upstream = self.bind()
        self.daemon.answer_port = self.upstream.getsockname()[1]
        self.daemon.start()
        end = time.monotonic() + LIMIT_S
        while not self.daemon.is_ready and time.monotonic() < end:
            self.daemon.poll(time.monotonic())
            threading.Event().wait(0.02)
        self.assertTrue(self.daemon.is_ready)

    def jump(self, by_s):
        page = self.daemon.page
        page.set(FaultPage.WALL, page.get(FaultPage.WALL) + by_s)

    def greeted(self, link):
        """A connection whose peer has said what it is; the proxy may not have heard yet where the link leads."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            sock = socket.create_connection(("127.0.0.1", self.daemon.ports[link]), LIMIT_S)
            with contextlib.suppress(ConnectionResetError):
                if len(sock.recv(8)) == 8:
                    return sock
            sock.close()
        raise AssertionError(f"nobody greets at {link}")


class ClockTest(DaemonTest):
    def accept(self):
        return sp.Connection(self.upstream.accept()[0], sp.REP)

    def test_a_dialler_dials_again(self):
        self.jump(-10 * DAY_S)
        self.upstream.listen()
        self.accept().sock.close()

    def test_a_request_is_repeated(self):
        self.upstream.listen()
        connection = self.accept()
        connection.sock.settimeout(LIMIT_S)
        self.greeted("intake").close()
        producer = sp.Connection.dial(self.daemon.url("intake"), sp.PUSH)
        producer.send(b'{"id":"no-predicate","body":{}}')
        for by_s in (0, -10 * DAY_S, 20 * DAY_S, -10 * DAY_S):
            request = connection.receive()
            self.assertIn(b"no-predicate", request)
            self.jump(by_s)
        connection.send(connection.receive()[:4] + b'{"ok":true}')
        producer.sock.close()

    def test_a_handshake_is_cut(self):
        silent = self.greeted("control")
        self.jump(-10 * DAY_S)
        self.assertEqual(silent.recv(8), b"")
        silent.close()


class NativeClockTest(DaemonTest):
    """The same of --transport native."""

    def flags(self):
        self.producer = self.bind()
        return ["--transport", "native", "--intake-dial", f"tcp://127.0.0.1:{self.producer.getsockname()[1]}"]

    def test_a_dialler_dials_again(self):
        self.jump(-10 * DAY_S)
        self.producer.listen()
        sp.Connection(self.producer.accept()[0], sp.PUSH).sock.close()

    def test_a_handshake_is_cut(self):
        silent = [self.greeted(link) for link in ("intake", "outbox", "receipts")]
        self.jump(-10 * DAY_S)
        for sock in silent:
            self.assertEqual(sock.recv(8), b"")
            sock.close()


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # the sockets of processes that are killed anyway
