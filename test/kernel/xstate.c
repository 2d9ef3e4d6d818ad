/*
 * Preloaded into User-Mode-Linux where the host's processor has more register state than that kernel has room for. Debian's 6.1 gives back to
 * the host the 2,696 bytes that it has taken (arch/x86/um/os-Linux/registers.c, HOST_FP_SIZE), and the host wants all or nothing
 * (arch/x86/kernel/fpu/regset.c, xstateregs_set): with AMX, 11,008, without which the first process of the guest ends at once. What is
 * missing is the process's own, as it is; nothing in the guest uses it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static long (*next)(int, ...);

__attribute__((constructor)) static void find_next(void) { next = dlsym(RTLD_NEXT, "ptrace"); }

long ptrace(enum __ptrace_request request, ...) {
  va_list rest;
  va_start(rest, request);
  const pid_t pid = va_arg(rest, pid_t);
  void *const where = va_arg(rest, void *), *const data = va_arg(rest, void *);
  va_end(rest);
  const long result = next(request, pid, where, data);
  if (result >= 0 || request != PTRACE_SETREGSET || (long)where != NT_X86_XSTATE || errno != EFAULT) return result;
  const struct iovec *given = data;
  /* Not on the stack: it is a guest's kernel stack, of 16 KiB. That kernel has one thread that does this. */
  static char bytes[32 << 10];
  struct iovec whole = {bytes, sizeof bytes};
  if (next(PTRACE_GETREGSET, pid, where, &whole) < 0 || whole.iov_len < given->iov_len) return -1;
  memcpy(bytes, given->iov_base, given->iov_len);
  return next(PTRACE_SETREGSET, pid, where, &whole);
}
