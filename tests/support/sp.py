#!/usr/bin/env python3
"""sp.py - a raw SP client on plain sockets, standard library only: what a peer in any language needs.

    sp.py push URL            each line of stdin is one message
    sp.py pull URL COUNT      prints COUNT messages, one a line
    sp.py ask URL TEXT        a REQ; prints the reply
    sp.py acks                a REP server on a free port: prints its URL, then every request, and replies
                              {"ok":true}, until it is killed

URL is tcp://HOST:PORT or ipc://PATH.
"""
import os
import select
import socket
import struct
import sys

PUSH, PULL, REQ, REP = 0x50, 0x51, 0x30, 0x31


class Connection:
    """One SP connection: handshake at once, then whole messages."""

    def __init__(self, sock, protocol):
        self.sock = sock
        self.is_ipc = sock.family == socket.AF_UNIX
        sock.sendall(b"\0SP\0" + struct.pack(">HH", protocol, 0))
        theirs = self._exactly(8)
        if theirs != b"\0SP\0" + struct.pack(">HH", protocol ^ 1, 0):
            raise ConnectionError(f"peer greets with {theirs.hex()}")

    @classmethod
    def dial(cls, url, protocol, timeout=30):
        scheme, _, rest = url.partition("://")
        if scheme == "ipc":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(rest)
        else:
            host, port = rest.rsplit(":", 1)
            sock = socket.create_connection((host, int(port)), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock, protocol)

    def _exactly(self, size):
        parts = []
        while size > 0:
            part = self.sock.recv(min(size, 1 << 16))
            if not part:
                raise EOFError("the peer closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def send(self, message):
        prefix = b"\1" if self.is_ipc else b""
        self.sock.sendall(prefix + struct.pack(">Q", len(message)) + message)

    def receive(self):
        header = self._exactly(9 if self.is_ipc else 8)
        return self._exactly(struct.unpack(">Q", header[-8:])[0])

    def finish(self):
        """Close only after the peer has read everything: a close with unread data in flight would lose it."""
        self.sock.shutdown(socket.SHUT_WR)
        try:
            while self.sock.recv(1 << 16):
                pass
        except OSError:
            pass
        self.sock.close()


def push(url):
    connection = Connection.dial(url, PUSH)
    for line in sys.stdin.buffer:
        connection.send(line.rstrip(b"\n"))
    connection.finish()


def pull(url, count):
    connection = Connection.dial(url, PULL)
    for _ in range(int(count)):
        sys.stdout.buffer.write(connection.receive() + b"\n")
        sys.stdout.buffer.flush()


def ask(url, text):
    connection = Connection.dial(url, REQ)
    request = struct.pack(">I", 0x80000001)
    connection.send(request + text.encode())
    reply = connection.receive()
    if reply[:4] != request:
        raise ConnectionError("a reply to somebody else")
    print(reply[4:].decode())


def acks():
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"tcp://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    connections = {}
    while True:
        for sock in select.select([listener, *connections], [], [])[0]:
            if sock is listener:
                accepted = listener.accept()[0]
                connections[accepted] = Connection(accepted, REP)
                continue
            try:
                message = connections[sock].receive()
            except (EOFError, OSError):
                connections.pop(sock).sock.close()
                continue
            print(message[4:].decode(), flush=True)
            connections[sock].send(message[:4] + b'{"ok":true}')


if __name__ == "__main__":
    verbs = {"push": push, "pull": pull, "ask": ask, "acks": acks}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    try:
        verbs[sys.argv[1]](*sys.argv[2:])
    except BrokenPipeError:
        os._exit(1)
