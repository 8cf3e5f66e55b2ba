#!/usr/bin/env python3
"""worker.py - takes jobs over a plain socket and makes the calls; here it only prints them.

    spreaderd
    examples/worker.py tcp://127.0.0.1:7711         (until the daemon closes the connection)
    examples/worker.py tcp://127.0.0.1:7711 100     (a hundred jobs)
"""
import json
import socket
import struct
import sys

PUSH, PULL = 0x50, 0x51


def exactly(sock, size):
    data = bytearray()
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def jobs(url):
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    sock = socket.create_connection((host, int(port)))
    # Both sides greet at once: 00 'S' 'P' 00, the protocol, 00 00.
    sock.sendall(struct.pack(">4sHH", b"\0SP\0", PULL, 0))
    if exactly(sock, 8) != struct.pack(">4sHH", b"\0SP\0", PUSH, 0):
        sys.exit(f"{url} is no outbox")
    while True:
        # A message is its length, 64 bit, and its bytes: one job a line.
        (size,) = struct.unpack(">Q", exactly(sock, 8))
        for line in exactly(sock, size).splitlines():
            yield json.loads(line)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    left = int(sys.argv[2]) if len(sys.argv) > 2 else -1
    try:
        for job in jobs(sys.argv[1]):
            # Here a real worker would POST job["payload"] to job["s"].
            print(job["s"], json.dumps(job["payload"]), flush=True)
            left -= 1
            if left == 0:
                break
    except EOFError:
        pass


main()
