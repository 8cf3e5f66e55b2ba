#!/usr/bin/env python3
"""proxy.py - a TCP proxy whose connections are cut half-way and stalled on command, and which notes what upstream is told.

Commands on standard input, one JSON array a line; it ends with its input:

    ["link", NAME, FILE]        a front port, printed as one line; FILE: SP messages from front to back are noted there,
                                "<CLOCK_MONOTONIC ns> <text>" a line; null: no notes
    ["backend", NAME, PORT]     where it leads; 0: nowhere, connections are reset
    ["cut", NAME, BYTES]        every connection of it ends with a reset after BYTES more bytes (either way)
    ["stall", NAME, SECONDS]    nothing passes meanwhile

A front port stays the same while what is behind it is killed and started on another port.
"""
import contextlib
import json
import socket
import struct
import sys
import threading
import time

HANDSHAKE = 8
CHUNK = 1 << 16


def reset(sock):
    """A FIN, and a reset right behind it. The first wakes another thread that reads."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


class Notes:
    """Takes SP messages out of one direction of one connection; only whole ones count."""

    def __init__(self, file):
        self.file, self.seen, self.skip = file, b"", HANDSHAKE

    def take(self, data):
        self.seen += data
        while True:
            if self.skip:
                if len(self.seen) < self.skip:
                    return
                self.seen, self.skip = self.seen[self.skip :], 0
            if len(self.seen) < 8:
                return
            size = struct.unpack(">Q", self.seen[:8])[0]
            if len(self.seen) < 8 + size:
                return
            # four bytes of request id
            self.file.write(b"%d %s\n" % (time.monotonic_ns(), self.seen[12 : 8 + size]))
            self.file.flush()
            self.seen = self.seen[8 + size :]


class Pair:
    """One connection through the proxy. `left` is what may still pass, None: everything."""

    def __init__(self, link, front, back):
        self.link, self.front, self.back, self.left = link, front, back, None
        self.lock = threading.Lock()

    def start(self):
        notes = Notes(self.link.file) if self.link.file else None
        for source, target, note in ((self.front, self.back, notes), (self.back, self.front, None)):
            threading.Thread(target=self.pump, args=(source, target, note), daemon=True).start()

    def pump(self, source, target, notes):
        try:
            while data := source.recv(CHUNK):
                self.link.flowing.wait()
                with self.lock:
                    if self.left is not None:
                        data = data[: self.left]
                        self.left -= len(data)
                if notes:
                    notes.take(data)
                target.sendall(data)
                if self.left == 0:
                    break
        except OSError:
            pass
        self.reset()

    def reset(self):
        self.link.pairs.discard(self)
        reset(self.front)
        reset(self.back)


class Link:
    def __init__(self, path):
        self.file = open(path, "ab") if path else None
        self.backend, self.pairs = 0, set()
        self.flowing = threading.Event()
        self.flowing.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            front = self.listener.accept()[0]
            try:
                back = socket.create_connection(("127.0.0.1", self.backend), 2)
                back.settimeout(None)
                for sock in (front, back):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                reset(front)
                continue
            pair = Pair(self, front, back)
            self.pairs.add(pair)
            pair.start()

    def cut(self, after):
        for pair in list(self.pairs):
            with pair.lock:
                pair.left = after
            if after == 0:
                pair.reset()

    def stall(self, seconds):
        self.flowing.clear()
        threading.Timer(seconds, self.flowing.set).start()


def main():
    links = {}
    for line in sys.stdin:
        verb, name, argument = json.loads(line)
        if verb == "link":
            links[name] = Link(argument)
            print(links[name].listener.getsockname()[1], flush=True)
        elif verb == "backend":
            links[name].backend = argument
        else:
            getattr(links[name], verb)(argument)


if __name__ == "__main__":
    main()
