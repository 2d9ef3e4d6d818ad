// Preloaded into a process: every sync that goes to io_uring fails.
#include <cstdarg>
#include <cstdint>
#include <dlfcn.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

namespace {

template <typename Call> Call next(const char* name) { return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name)); }

long ringFd = -1;
uint32_t count = 0;
io_uring_sqe* entries = nullptr;

void* noteRing(void* memory, int fd, off64_t what) {
  if (fd == ringFd && what == IORING_OFF_SQES && memory != MAP_FAILED) entries = static_cast<io_uring_sqe*>(memory);
  return memory;
}

}  // namespace

extern "C" void* mmap(void* at, size_t bytes, int access, int kind, int fd, off_t what) noexcept {
  static const auto real = next<void* (*)(void*, size_t, int, int, int, off_t)>("mmap");
  return noteRing(real(at, bytes, access, kind, fd, what), fd, what);
}

extern "C" void* mmap64(void* at, size_t bytes, int access, int kind, int fd, off64_t what) noexcept {
  static const auto real = next<void* (*)(void*, size_t, int, int, int, off64_t)>("mmap64");
  return noteRing(real(at, bytes, access, kind, fd, what), fd, what);
}

extern "C" long syscall(long number, ...) noexcept {
  static const auto real = next<long (*)(long, ...)>("syscall");
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_io_uring_enter && a[0] == ringFd && entries != nullptr)
    for (uint32_t i = 0; i < count; ++i)
      if (entries[i].opcode == IORING_OP_FSYNC) entries[i].fd = -1;
  const long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_io_uring_setup) {
    ringFd = result;
    count = reinterpret_cast<io_uring_params*>(a[1])->sq_entries;
  }
  return result;
}
