// What a daemon asks of its host: memory that stays, allocations that do not wait for the devices it serves, time.
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "addon.h"
#include "async.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

namespace {

std::atomic<int> flushersMade{0};

void becomeFlusher(int) {
  const int before = errno;
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0) ++flushersMade;
  errno = before;
}

bool blocksSignal(pid_t thread, int signal) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/status";
  FILE* status = fopen(path.c_str(), "re");
  if (status == nullptr) return true;  // it has ended
  char line[256];
  unsigned long long blocked = 0;
  while (fgets(line, sizeof line, status) != nullptr)
    if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
  fclose(status);
  return ((blocked >> (signal - 1)) & 1) != 0;
}

/// All that can be told by a signal. Node's debugger thread blocks all of them.
std::vector<pid_t> threadsOpenTo(int signal) {
  std::vector<pid_t> threads;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return threads;
  while (dirent* entry = readdir(tasks))
    if (const pid_t thread = atoi(entry->d_name); thread != 0 && !blocksSignal(thread, signal))
      threads.push_back(thread);
  closedir(tasks);
  return threads;
}

/// The flag belongs to a thread and is inherited by the threads that it starts. Node has several before any of our code
/// runs, so each is told by a signal whose handler sets the flag, as the C library does for setuid.
Outcome tellEveryThread() {
  const int signal = SIGRTMIN + 7;
  struct sigaction action {}, before {};
  action.sa_handler = becomeFlusher;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, &before) != 0) return failed("sigaction");
  flushersMade = 0;
  int told = 0;
  const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  for (const pid_t thread : threadsOpenTo(signal))
    if (thread != self && syscall(SYS_tgkill, getpid(), thread, signal) == 0) ++told;
  // Bounded: a thread that was not reached is found by who reads the flags back.
  for (int waits = 0; flushersMade < told && waits < 1000; ++waits) usleep(1000);
  // Once all have handled it; otherwise the handler stays, since the signal may still come and would end the process.
  if (flushersMade >= told) sigaction(signal, &before, nullptr);
  return {};
}

/// ioFlusherSet(): for every thread of the process
void ioFlusherSet(const Napi::CallbackInfo& info) {
  Outcome outcome = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 ? tellEveryThread() : failed("prctl PR_SET_IO_FLUSHER");
  if (outcome.error != 0) throw errorOf(info.Env(), outcome);
}

/// ioFlusherGet(): boolean, of this thread
Napi::Value ioFlusherGet(const Napi::CallbackInfo& info) {
  const int flag = prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0);
  if (flag < 0) throw errorOf(info.Env(), failed("prctl PR_GET_IO_FLUSHER"));
  return Napi::Boolean::New(info.Env(), flag == 1);
}

/// memoryLockFiles(): number; keeps the program and its libraries, as mapped now, in memory, and returns their bytes.
/// Not mlockall: V8 gives parts of its heap back with MADV_DONTNEED, which the kernel refuses for locked memory, and V8
/// takes that for a bug and ends the process. What cannot be written to is kept from when it is first used: of Node's
/// 85 MB most is code and tables for what no daemon does.
Napi::Value memoryLockFiles(const Napi::CallbackInfo& info) {
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) throw errorOf(info.Env(), failed("open /proc/self/maps"));
  struct Range {
    void* begin;
    size_t bytes;
    int flags;
  };
  std::vector<Range> ranges;
  char* line = nullptr;
  size_t capacity = 0;
  while (getline(&line, &capacity, maps) > 0) {
    unsigned long start, end, inode;
    char access[5];
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &start, &end, access, &inode) != 4) continue;
    // Private mappings of files that can be read: programs, not data bases.
    if (inode != 0 && access[0] == 'r' && access[3] == 'p')
      ranges.push_back({reinterpret_cast<void*>(start), end - start,
                        access[1] == 'w' ? 0 : static_cast<int>(MLOCK_ONFAULT)});
  }
  free(line);
  fclose(maps);
  double lockedBytes = 0;
  for (const Range& range : ranges) {
    if (mlock2(range.begin, range.bytes, range.flags) != 0) throw errorOf(info.Env(), failed("mlock"));
    lockedBytes += static_cast<double>(range.bytes);
  }
  return Napi::Number::New(info.Env(), lockedBytes);
}

/// Where the process could run before the event loop was kept on some of the CPUs.
cpu_set_t processCpus;
std::atomic<bool> isLoopKept{false};

/// loopCpusSet(cpus: number[]): the thread that calls this runs on these alone. Throws EINVAL where the process may use none of them.
void loopCpusSet(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (uint32_t at = 0; at < list.Length(); ++at) {
    const uint32_t cpu = list.Get(at).ToNumber().Uint32Value();
    if (cpu < CPU_SETSIZE) CPU_SET(cpu, &cpus);
  }
  if (!isLoopKept && sched_getaffinity(0, sizeof processCpus, &processCpus) != 0) throw errorOf(info.Env(), failed("sched_getaffinity"));
  if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) throw errorOf(info.Env(), failed("sched_setaffinity"));
  isLoopKept = true;
}

/// bootTimeMs(): number, with fractions; counts suspend
Napi::Value bootTime(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), bootTimeMs());
}

}  // namespace

double bootTimeMs() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void leaveLoopCpus() {
  if (isLoopKept) sched_setaffinity(0, sizeof processCpus, &processCpus);
}

void exportHost(Napi::Env env, Napi::Object exports) {
  exports.Set("ioFlusherSet", Napi::Function::New(env, ioFlusherSet));
  exports.Set("ioFlusherGet", Napi::Function::New(env, ioFlusherGet));
  exports.Set("memoryLockFiles", Napi::Function::New(env, memoryLockFiles));
  exports.Set("loopCpusSet", Napi::Function::New(env, loopCpusSet));
  exports.Set("bootTimeMs", Napi::Function::New(env, bootTime));
}
