// For what is preloaded into a process to see its calls of io_uring (the addon makes them by `syscall`), and what the ring's
// memory is. Whoever includes it defines the functions declared here.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <dlfcn.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

namespace ring_calls {

void madeRing(const io_uring_params& params);
/// The ring's queues, or its entries: IORING_OFF_SQ_RING, IORING_OFF_SQES.
void mappedRing(char* memory, off64_t what);
void beforeEnter();
void afterEnter();

template <typename Call> Call next(const char* name) { return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name)); }

inline long ringFd = -1;

inline void* noted(void* memory, int fd, off64_t what) {
  if (fd == ringFd && memory != MAP_FAILED) mappedRing(static_cast<char*>(memory), what);
  return memory;
}

}  // namespace ring_calls

extern "C" void* mmap(void* at, size_t bytes, int access, int kind, int fd, off_t what) noexcept {
  static const auto real = ring_calls::next<void* (*)(void*, size_t, int, int, int, off_t)>("mmap");
  return ring_calls::noted(real(at, bytes, access, kind, fd, what), fd, what);
}

extern "C" void* mmap64(void* at, size_t bytes, int access, int kind, int fd, off64_t what) noexcept {
  static const auto real = ring_calls::next<void* (*)(void*, size_t, int, int, int, off64_t)>("mmap64");
  return ring_calls::noted(real(at, bytes, access, kind, fd, what), fd, what);
}

extern "C" long syscall(long number, ...) noexcept {
  static const auto real = ring_calls::next<long (*)(long, ...)>("syscall");
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  const bool isEnter = number == SYS_io_uring_enter && a[0] == ring_calls::ringFd;
  if (isEnter) ring_calls::beforeEnter();
  const long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (isEnter) ring_calls::afterEnter();
  if (number == SYS_io_uring_setup && result >= 0) {
    ring_calls::ringFd = result;
    ring_calls::madeRing(*reinterpret_cast<io_uring_params*>(a[1]));
  }
  return result;
}
