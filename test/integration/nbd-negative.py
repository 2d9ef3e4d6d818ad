"""Requests that libnbd would not send by itself: each line printed is `what: errno`. Usage: nbd-negative.py URI"""
import errno
import sys

import nbd

uri = sys.argv[1]
MiB = 1 << 20


def connect(structured):
    handle = nbd.NBD()
    handle.set_request_structured_replies(structured)
    handle.add_meta_context("base:allocation")
    handle.connect_uri(uri)
    handle.set_strict_mode(0)
    return handle


def attempt(what, call):
    try:
        call()
        print(f"{what}: ok")
    except nbd.Error as error:
        print(f"{what}: {error.errno}")


for structured in (True, False):
    h = connect(structured)
    size = h.get_size()
    kind = "structured" if structured else "simple"
    attempt(f"{kind} read beyond the end", lambda: h.pread(1024, size - 512))
    attempt(f"{kind} write beyond the end", lambda: h.pwrite(bytes(1024), size - 512))
    attempt(f"{kind} zero beyond the end", lambda: h.zero(1024, size - 512))
    attempt(f"{kind} trim beyond the end", lambda: h.trim(1024, size - 512))
    attempt(f"{kind} read of nothing", lambda: h.pread(0, 0))
    attempt(f"{kind} trim of nothing", lambda: h.trim(0, 0))
    attempt(f"{kind} trim of 4 GiB - 1", lambda: h.trim((1 << 32) - 1, 0))
    attempt(f"{kind} unaligned read", lambda: h.pread(512, 1))
    attempt(f"{kind} unaligned write", lambda: h.pwrite(bytes(511), 0))
    attempt(f"{kind} read of 33 MiB", lambda: h.pread(33 * MiB, 0))
    attempt(f"{kind} write of 33 MiB", lambda: h.pwrite(bytes(33 * MiB), 0))
    attempt(f"{kind} fast zero", lambda: h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO))
    attempt(f"{kind} flush with an unknown flag", lambda: h.flush(1 << 9))
    attempt(f"{kind} trim with a flag of others", lambda: h.trim(4096, 0, nbd.CMD_FLAG_REQ_ONE))
    attempt(f"{kind} cache", lambda: h.cache(4096, 0))
    attempt(f"{kind} read after all that", lambda: h.pread(4096, 0))
    h.shutdown()
