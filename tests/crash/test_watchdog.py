#!/usr/bin/env python3
"""test_watchdog BUILD: a part that is stuck makes /livez fail and ends the signs of life to the service manager, until it goes on;
back-pressure does neither, for longer than it takes to call a part dead.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import load  # noqa: F401  (where sp is found)
import sp
from world import FaultPage

DEAD_AFTER_S = 10
LIMIT_S = 90
BUILD = sys.argv.pop(1)


class WatchdogTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="spreader-watchdog-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(self.folder / "notify"))
        self.manager.settimeout(LIMIT_S)
        self.page = FaultPage(self.folder / "faults")

    def start(self, *flags):
        listen = [word for kind in ("intake", "outbox", "control") for word in (f"--{kind}-listen", "tcp://127.0.0.1:0")]
        environment = {**os.environ, "SPR_FAULTS": str(self.page.path), "NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": "1000000"}
        argv = [f"{BUILD}/tests/crash_spreaderd", "--store", ":memory:", "--http-listen", "127.0.0.1:0", "--ready-file", str(self.folder / "ready")]
        with open(self.folder / "log", "w") as log:
            self.daemon = subprocess.Popen([*argv, *listen, *flags], env=environment, stderr=log)
        self.addCleanup(self.daemon.wait)
        self.addCleanup(self.daemon.kill)
        self.assertEqual(self.manager.recv(4096), b"READY=1", (self.folder / "log").read_text())
        self.urls = {kind: urls[0] for kind, urls in json.loads((self.folder / "ready").read_text())["listening"].items() if urls}
        for callback in ("http://a.example/", "http://b.example/"):
            subprocess.run([f"{BUILD}/spreaderctl", "--url", self.urls["control"], "subscribe", "UN.A", callback], check=True, capture_output=True)
        self.producer = sp.Connection.dial(self.urls["intake"], sp.PUSH)
        self.addCleanup(self.producer.sock.close)

    def livez(self):
        with contextlib.closing(self.ask()) as reply:
            return reply.status, reply.read().decode()

    def ask(self):
        try:
            return urllib.request.urlopen(self.urls["http"] + "/livez?verbose", timeout=LIMIT_S)
        except urllib.error.HTTPError as error:
            return error

    def hear(self):
        """The next line of state, and whether it is a sign of life."""
        text = self.manager.recv(4096).decode()
        self.assertIn("STATUS=receiving", text)
        return text.startswith("WATCHDOG=1\n")

    def hear_until(self, is_alive):
        end = time.monotonic() + LIMIT_S
        while self.hear() != is_alive:
            self.assertLess(time.monotonic(), end)

    def expect_dead_then_alive(self, part):
        self.hear_until(False)
        status, text = self.livez()
        self.assertEqual(status, 503)
        self.assertIn(f"[-] {part}\n", text)
        for _ in range(4):
            self.assertFalse(self.hear())
        self.assertRegex((self.folder / "log").read_text(), f"NOT-ALIVE.*{part}")
        self.page.set(FaultPage.HELD, 0)
        self.hear_until(True)
        self.assertEqual(self.livez()[0], 200)

    def test_a_stuck_dispatcher(self):
        self.start()
        self.page.hold_at("between-pushes")
        self.producer.send(b'{"predicate":"UN.A"}')
        self.expect_dead_then_alive("dispatchers")

    def test_a_stuck_ledger(self):
        upstream = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(upstream.close)
        self.start("--ack-dial", f"tcp://127.0.0.1:{upstream.getsockname()[1]}")
        self.page.hold_at("before-ack")
        self.producer.send(b'{"id":"1","body":{}}')  # answered without a worker
        self.expect_dead_then_alive("ledger")

    def test_back_pressure(self):
        """No worker: everything waits, down to the producer."""
        self.start("--max-inflight", "64", "--ring-slots", "64")
        is_full = threading.Event()

        def produce():
            self.producer.sock.settimeout(DEAD_AFTER_S / 2)
            with contextlib.suppress(TimeoutError):
                while True:
                    self.producer.send(b'{"predicate":"UN.A","pad":"%s"}' % (b"x" * 60000))
            is_full.set()

        producer = threading.Thread(target=produce)
        producer.start()
        self.addCleanup(producer.join)
        while not is_full.is_set():
            self.assertTrue(self.hear())
        end = time.monotonic() + DEAD_AFTER_S + 3
        while time.monotonic() < end:
            self.assertTrue(self.hear())
        self.assertEqual(self.livez()[0], 200)


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # the sockets of a process that is killed anyway
