// Preloaded into a daemon: while the file PATH.fails exists, everything that is asked of the open file PATH fails with EIO,
// as from a disk that no longer answers. (What is only read from the page cache of another process is not concerned.)
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

bool fails(int fd) {
  char link[32], path[PATH_MAX + 8];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX);
  if (length <= 0 || path[0] != '/') return false;
  std::memcpy(path + length, ".fails", 7);
  return access(path, F_OK) == 0;
}

template <typename Call> Call next(const char* name) { return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name)); }

}  // namespace

#define FAILING(result, name, parameters, arguments)                        \
  extern "C" result name parameters {                                       \
    static const auto real = next<result(*) parameters>(#name);             \
    if (fails(fd)) {                                                        \
      errno = EIO;                                                          \
      return -1;                                                            \
    }                                                                       \
    return real arguments;                                                  \
  }

FAILING(ssize_t, preadv, (int fd, const iovec* pieces, int count, off_t at), (fd, pieces, count, at))
FAILING(ssize_t, preadv64, (int fd, const iovec* pieces, int count, off64_t at), (fd, pieces, count, at))
FAILING(ssize_t, pwritev, (int fd, const iovec* pieces, int count, off_t at), (fd, pieces, count, at))
FAILING(ssize_t, pwritev64, (int fd, const iovec* pieces, int count, off64_t at), (fd, pieces, count, at))
FAILING(int, fallocate, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
FAILING(int, fallocate64, (int fd, int mode, off64_t at, off64_t length), (fd, mode, at, length))
FAILING(int, fdatasync, (int fd), (fd))
