// Preloaded into a process: after every call of io_uring_enter the ring says that the kernel wants to be entered for transfers,
// although there are none. So it is where the kernel sets the flag after somebody has seen the transfer already
// (io_uring/io_uring.c: io_req_local_work_add sets it behind the list's back).
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
uint32_t flagsAt;
uint32_t* flags = nullptr;

void* noteRing(void* memory, int fd, off64_t what) {
  if (fd == ringFd && what == IORING_OFF_SQ_RING && memory != MAP_FAILED)
    flags = reinterpret_cast<uint32_t*>(static_cast<char*>(memory) + flagsAt);
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
  const long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_io_uring_setup) {
    ringFd = result;
    flagsAt = reinterpret_cast<io_uring_params*>(a[1])->sq_off.flags;
  }
  if (number == SYS_io_uring_enter && a[0] == ringFd && flags != nullptr)
    __atomic_fetch_or(flags, IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST);
  return result;
}
