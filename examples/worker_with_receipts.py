#!/usr/bin/env python3
"""worker_with_receipts.py - takes jobs over a plain socket, makes them its own on disk, and only then says so.

    spreaderd --confirm receipt --ack-dial tcp://127.0.0.1:7721 ...
    examples/worker_with_receipts.py tcp://127.0.0.1:7711 tcp://127.0.0.1:7712 jobs.ndjson

It runs until the daemon closes the connection. Another program makes the calls from the file. Up to 64 messages share one fsync
and one message of receipts. A job that was lost on the way comes again with the same 32 hex digits at the end of its id: it is
receipted, and not written twice.
"""
import json
import os
import select
import socket
import struct
import sys

PUSH, PULL = 0x50, 0x51
BATCH = 64
KNOWN_MAX = 1_000_000  # forgetting is allowed: then a job may be in the file twice


def dial(url, protocol, peer):
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    sock = socket.create_connection((host, int(port)))
    # Both sides greet at once: 00 'S' 'P' 00, the protocol, 00 00.
    sock.sendall(struct.pack(">4sHH", b"\0SP\0", protocol, 0))
    if exactly(sock, 8) != struct.pack(">4sHH", b"\0SP\0", peer, 0):
        sys.exit(f"{url} is not what it should be")
    return sock


def exactly(sock, size):
    data = bytearray()
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def receive(sock):
    # A message is its length, 64 bit, and its bytes: one job a line.
    (size,) = struct.unpack(">Q", exactly(sock, 8))
    return exactly(sock, size).splitlines()


def open_file(path):
    """The file, and the hex of what an earlier run wrote; a last line without its end was never receipted."""
    file = open(path, "a+b", buffering=0)
    file.seek(0)
    data = file.read()
    data = data[: data.rfind(b"\n") + 1]
    file.truncate(len(data))
    return file, dict.fromkeys(json.loads(line)["id"][-32:] for line in data.splitlines())


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    file, known = open_file(sys.argv[3])
    receipts = dial(sys.argv[2], PUSH, PULL)  # first: a job that comes can be receipted
    jobs = dial(sys.argv[1], PULL, PUSH)
    while True:
        lines = receive(jobs)
        for _ in range(BATCH - 1):
            if not select.select([jobs], [], [], 0)[0]:
                break
            lines += receive(jobs)
        ids = []
        for line in lines:
            ids.append(json.loads(line)["id"])
            if ids[-1][-32:] not in known:
                known[ids[-1][-32:]] = None
                file.write(line + b"\n")
        os.fsync(file.fileno())
        while len(known) > KNOWN_MAX:
            del known[next(iter(known))]
        for at in range(0, len(ids), BATCH):
            message = "".join(json.dumps({"id": id_}) + "\n" for id_ in ids[at : at + BATCH]).encode()
            receipts.sendall(struct.pack(">Q", len(message)) + message)


try:
    main()
except EOFError:
    pass
