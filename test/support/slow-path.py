"""A network path that is slow: a tun device in this network namespace, one of the same name in another, and between them this process, which
holds every packet for a while. For kernels that have no netem (test/support/far-network.ts).

Usage: slow-path.py DEVICE NAMESPACE-FILE DELAY-MS JITTER-MS LOST-PERCENT. Says "ready" when both devices are there. Packets do not overtake
each other. Ends with its standard input.
"""
from __future__ import annotations

import ctypes
import fcntl
import os
import random
import selectors
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000
MAX_HELD = 10_000  # packets in each direction; what is more is lost, as in any queue
MAX_PACKET_BYTES = 65_536

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def open_tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


class Direction:
    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.held: deque[tuple[float, bytes]] = deque()

    def take(self, delay_s: float, jitter_s: float, lost: float) -> None:
        while True:
            try:
                packet = os.read(self.source, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            if len(self.held) >= MAX_HELD or random.random() < lost:
                continue
            due = time.monotonic() + max(0.0, delay_s + random.uniform(-jitter_s, jitter_s))
            self.held.append((max(due, self.held[-1][0]) if self.held else due, packet))

    def give(self) -> float | None:
        """Sends what is due. Returns how long the next one has to wait."""
        while self.held:
            wait_s = self.held[0][0] - time.monotonic()
            if wait_s > 0:
                return wait_s
            try:
                os.write(self.target, self.held.popleft()[1])
            except OSError:
                pass  # the device is down: lost
        return None


def main() -> None:
    device, namespace, *figures = sys.argv[1:]
    delay_ms, jitter_ms, lost_percent = map(float, figures)
    here = open_tun(device)
    enter(os.open(namespace, os.O_RDONLY))
    there = open_tun(device)
    print("ready", flush=True)
    directions = [Direction(here, there), Direction(there, here)]
    selector = selectors.DefaultSelector()
    for fd in (0, here, there):
        selector.register(fd, selectors.EVENT_READ)
    while True:
        waits = [wait for wait in [direction.give() for direction in directions] if wait is not None]
        for key, _ in selector.select(min(waits, default=None)):
            if key.fd == 0:
                return
        for direction in directions:
            direction.take(delay_ms / 1000, jitter_ms / 1000, lost_percent / 100)


main()
