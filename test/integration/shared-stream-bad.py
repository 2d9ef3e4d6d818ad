"""Knocks at the local door of the data endpoint at PORT and does what WHAT says that nobody should; prints how it ended."""

import fcntl
import mmap
import os
import socket
import struct
import sys
import time

port, what = int(sys.argv[1]), sys.argv[2]
memory_bytes = 4096 + 2 * (2 << 20)
seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def memory(size=memory_bytes, sealed=True):
    fd = os.memfd_create("bad", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


if what.startswith("a stranger"):
    os.setuid(65534)
door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
door.settimeout(10)
door.connect("\0blockmesh-memory/127.0.0.1:%d" % port)
bell, other = os.pipe()
if what == "a stranger":
    door.send(b"\0" + bytes.fromhex(sys.argv[3]))
    print("answered" if len(door.recv(64, socket.MSG_WAITALL)) == 64 else "ended")
    sys.exit()
if what == "short":
    socket.send_fds(door, [b"\2"], [memory(4096), bell])
elif what == "unsealed":
    socket.send_fds(door, [b"\2"], [memory(sealed=False), bell])
elif what == "a stranger with memory":
    socket.send_fds(door, [b"\2"], [memory(), bell])
elif what == "no memory":
    socket.send_fds(door, [b"\2"], [bell, bell])
elif what == "one too few":
    socket.send_fds(door, [b"\2"], [memory()])
elif what == "a bell alone":
    socket.send_fds(door, [b"\1"], [bell])
elif what == "nothing":
    door.send(b"\2")
elif what == "an end":
    door.shutdown(socket.SHUT_WR)
else:
    mine = memory()
    socket.send_fds(door, [b"\2"], [mine, other])
    _, (theirs,), _, _ = socket.recv_fds(door, 1, 1)
    with mmap.mmap(mine, memory_bytes) as shared:
        if what == "a bell for no room":
            # The writer's state is the second one: bytes written at its beginning, whether it waits for room at 16.
            def waits():
                return shared[128:136] == struct.pack("<Q", 2 << 20) and shared[144] == 1

            def until_it_waits():
                end = time.monotonic() + 10
                while not waits() and time.monotonic() < end:
                    time.sleep(0.001)

            until_it_waits()
            shared[144] = 0
            os.write(theirs, struct.pack("<Q", 1))
            until_it_waits()
            print("waits" if waits() else "sleeps")
            sys.exit()
        if what == "more than there is":
            shared[0:8] = struct.pack("<Q", 1 << 40)
        elif what == "less than there was":
            shared[0:8] = struct.pack("<q", -1)
        elif what == "read before it was written":
            shared[128 + 64 : 128 + 72] = struct.pack("<Q", 5)
            # A ping: who answers it has to look.
            shared[4096 : 4096 + 64] = bytes.fromhex(sys.argv[3])
            shared[0:8] = struct.pack("<Q", 64)
        elif what == "one more descriptor":
            socket.send_fds(door, [b"\1"], [bell])
        os.write(theirs, struct.pack("<Q", 1))
        print("ended" if door.recv(1) == b"" else "went on")
        sys.exit()
try:
    print("ended" if door.recv(1) == b"" else "went on")
except ConnectionResetError:
    print("ended")
