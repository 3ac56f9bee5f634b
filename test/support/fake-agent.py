"""An agent for the tests of the addon's app link: does what it is told on stdin, right or wrong, and reports on stdout.

It speaks docs/shm-layout.md with Python's own means, so that the native code is not checked against itself. Lines in:
accept | welcome STATUS CAPACITY [KIND] | put COUNT HEX | pause | resume | store OFFSET VALUE | raw HEX | hangup.
Lines out: ready | hello HEX | frame HEX | done COMMAND | closed.
"""

import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import threading

F_ADD_SEALS = 1033
SEALS = 0x1 | 0x2 | 0x4
HEAD, TAIL, WAITING, WANTED = 0, 128, 256, 384
FRAME, PAD = 1, 2
fence_lock = threading.Lock()


def full_fence():
    """Taking and giving back an uncontended lock is an atomic read-modify-write, which orders store before load."""
    with fence_lock:
        pass


def say(*words):
    print(*words, flush=True)


class Segment:
    def __init__(self, capacity, sealed):
        self.capacity = capacity
        size = 12288 + 2 * capacity
        self.memfd = os.memfd_create("fake", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memfd, size)
        if sealed:
            fcntl.fcntl(self.memfd, F_ADD_SEALS, SEALS)
        self.memory = mmap.mmap(self.memfd, size)
        struct.pack_into("<IIIIQ", self.memory, 0, 0x4D485352, 1, capacity, 0, size)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.pipe_read, self.pipe_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.head = 0
        self.tail = 0

    def load64(self, ring, field):
        return struct.unpack_from("<Q", self.memory, 4096 * (1 + ring) + field)[0]

    def store64(self, ring, field, value):
        struct.pack_into("<Q", self.memory, 4096 * (1 + ring) + field, value)

    def store32(self, ring, field, value):
        struct.pack_into("<I", self.memory, 4096 * (1 + ring) + field, value)

    def ring_app(self):
        try:
            os.write(self.pipe_write, b"\1")
        except (BlockingIOError, BrokenPipeError):
            pass  # rung already, or nobody there any more

    def put(self, frames):
        """Publishes all frames at once and rings once. False: they do not fit."""
        base = 12288 + self.capacity
        head = self.head
        for frame in frames:
            record = (8 + len(frame) + 7) & ~7
            rest = self.capacity - head % self.capacity
            needed = record if record <= rest else rest + record
            if head + needed - self.load64(1, TAIL) > self.capacity:
                return False
            if record > rest:
                struct.pack_into("<II", self.memory, base + head % self.capacity, rest - 8, PAD)
                head += rest
            at = base + head % self.capacity
            struct.pack_into("<II", self.memory, at, len(frame), FRAME)
            self.memory[at + 8 : at + 8 + len(frame)] = frame
            head += record
        self.head = head
        self.store64(1, HEAD, head)
        self.ring_app()
        return True

    def take_all(self):
        while True:
            head = self.load64(0, HEAD)
            if self.tail == head:
                self.store32(0, WAITING, 1)
                full_fence()
                if self.load64(0, HEAD) == head:
                    return
                continue
            while self.tail < head:
                at = 12288 + self.tail % self.capacity
                length, kind = struct.unpack_from("<II", self.memory, at)
                if kind == FRAME:
                    say("frame", self.memory[at + 8 : at + 8 + length].hex())
                self.tail += (8 + length + 7) & ~7
            self.store64(0, TAIL, self.tail)
            self.ring_app()


class Agent:
    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(8)
        self.epoll = select.epoll()
        self.connection = None
        self.segment = None
        self.paused = False
        self.pending = b""

    def read_exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def do_accept(self):
        self.connection, _ = self.listener.accept()
        fixed = self.read_exactly(32)
        header, body = struct.unpack_from("<II", fixed, 8)
        say("hello", (fixed + self.read_exactly(header + body)).hex())
        self.epoll.register(self.connection.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def do_welcome(self, status, capacity, kind="good"):
        capacity = int(capacity)
        frame = struct.pack("<HBBBBBBIIQII", 0x52F5, 1, 11, 0, int(status), 0, 0, 0, 0, 0, 0, capacity)
        if capacity == 0 or status != "0":
            self.connection.sendall(frame)
            return
        self.segment = Segment(capacity, sealed=kind != "unsealed")
        fds = [self.segment.memfd, self.segment.eventfd, self.segment.pipe_read]
        socket.send_fds(self.connection, [frame], fds[:2] if kind == "short" else fds)
        os.close(self.segment.pipe_read)
        self.epoll.register(self.segment.eventfd, select.EPOLLIN | select.EPOLLET)
        self.take_if_running()

    def do_put(self, count, frame):
        say("done", "put" if self.segment.put([bytes.fromhex(frame)] * int(count)) else "full")

    def do_pause(self):
        self.paused = True
        say("done", "pause")

    def do_resume(self):
        self.paused = False
        self.take_if_running()
        say("done", "resume")

    def do_store(self, offset, value):
        """A shared 64-bit word anywhere in the segment, and a doorbell so that the app looks."""
        struct.pack_into("<Q", self.segment.memory, int(offset), int(value))
        self.segment.ring_app()

    def do_raw(self, data):
        self.connection.sendall(bytes.fromhex(data))

    def do_hangup(self):
        self.epoll.unregister(self.connection.fileno())
        self.connection.close()

    def take_if_running(self):
        if self.segment is not None and not self.paused:
            self.segment.take_all()

    def on_stdin(self):
        data = os.read(0, 1 << 20)
        if not data:
            sys.exit(0)
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            command, *words = line.decode().split()
            getattr(self, "do_" + command)(*words)

    def run(self):
        self.epoll.register(0, select.EPOLLIN)
        say("ready")
        while True:
            for fd, _ in self.epoll.poll():
                if fd == 0:
                    self.on_stdin()
                elif self.segment is not None and fd == self.segment.eventfd:
                    self.take_if_running()
                else:
                    self.epoll.unregister(fd)
                    say("closed")


Agent(sys.argv[1]).run()
