#!/usr/bin/env python3
"""producer.py - sends notifications over a plain socket: all that a producer needs of the SP protocol.

    spreaderd
    echo '{"predicate":"UN.EXAMPLE.created"}' | examples/producer.py tcp://127.0.0.1:7710

Each line of standard input is one message. With an ack socket a notification is {"id": ..., "body": {...}}, and
what is not acked must be sent again (producer_with_acks.c); without one there are no answers.
"""
import socket
import struct
import sys

PUSH, PULL = 0x50, 0x51


def connect(url):
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    sock = socket.create_connection((host, int(port)))
    # Both sides greet at once: 00 'S' 'P' 00, the protocol, 00 00.
    sock.sendall(struct.pack(">4sHH", b"\0SP\0", PUSH, 0))
    if sock.recv(8, socket.MSG_WAITALL) != struct.pack(">4sHH", b"\0SP\0", PULL, 0):
        sys.exit(f"{url} is no intake")
    return sock


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sock = connect(sys.argv[1])
    for line in sys.stdin.buffer:
        message = line.rstrip(b"\n")
        sock.sendall(struct.pack(">Q", len(message)) + message)
    # A close could overtake what the daemon has not read: end our side, and wait for the daemon to end its.
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


main()
