"""Ask a port whether a master answers there."""

from __future__ import annotations

import socket

PROBE_SECONDS = 0.5
"""How long an answer may take [s]."""

_SIZE = 64
_GREETING = b"\xff" + bytes(8) + b"\x7f\3\0" + b"CURVE".ljust(20, b"\0") + bytes(32)
_MECHANISM = slice(12, 17)


def speaks_curve(host: str, port: int) -> bool:
    """Say whether somebody answers there who wants keys, as every master does.

    Source: ZeroMQ RFC 23 (ZMTP 3.0), section "The Greeting".
    """
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as stream:
            stream.sendall(_GREETING)
            answer = b""
            while len(answer) < _SIZE and (chunk := stream.recv(_SIZE)):
                answer += chunk
    except OSError:
        return False
    return answer[:1] == b"\xff" and answer[_MECHANISM] == b"CURVE"


def listens(host: str, port: int) -> bool:
    """Say whether anybody takes a connection there."""
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True
