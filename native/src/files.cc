// Opening and closing the files that the engine works on.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "addon.h"
#include "async.h"
#include "engine.h"

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000U
#endif

namespace {

struct OpenRequest {
  std::string path;
  bool create, direct, exclusive;
  double createBytes;
};

struct Opened {
  FileTraits traits;
  uint64_t sizeBytes = 0;
  bool created = false;
};

/// The leading part of struct statx with the direct I/O fields, which older headers lack.
struct StatxWithAlignment {
  uint32_t mask;
  char before[148];
  uint32_t memoryAlign, offsetAlign;
  char after[96];
};
static_assert(sizeof(StatxWithAlignment) == 256, "as the kernel lays it out");

Outcome measureFile(Opened& opened, const struct stat& status) {
  opened.sizeBytes = static_cast<uint64_t>(status.st_size);
  if (!opened.traits.isDirect) return {};
  opened.traits.alignBytes = opened.traits.memoryBytes = 4096;
  StatxWithAlignment extended{};
  if (syscall(SYS_statx, opened.traits.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) != 0) return {};
  if ((extended.mask & STATX_DIOALIGN) == 0) return {};
  if (extended.offsetAlign == 0) return failed("open with O_DIRECT", EINVAL);
  opened.traits.alignBytes = extended.offsetAlign;
  opened.traits.memoryBytes = extended.memoryAlign;
  return {};
}

Outcome measureBlockDevice(Opened& opened) {
  if (ioctl(opened.traits.fd, BLKGETSIZE64, &opened.sizeBytes) != 0) return failed("ioctl BLKGETSIZE64");
  int sectorBytes = 0;
  if (ioctl(opened.traits.fd, BLKSSZGET, &sectorBytes) != 0) return failed("ioctl BLKSSZGET");
  opened.traits.isBlock = true;
  if (opened.traits.isDirect)
    opened.traits.alignBytes = opened.traits.memoryBytes = static_cast<size_t>(sectorBytes);
  return {};
}

/// Locks the open file description itself: another description of the same process conflicts too, closing one does
/// not release the lock of another, and after a kill it lasts until the last I/O of this description has landed.
Outcome lock(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_SETLK, &whole) == 0 ? Outcome{} : failed("fcntl F_OFD_SETLK");
}

Outcome giveSize(Opened& opened, struct stat& status, double createBytes) {
  if (ftruncate(opened.traits.fd, static_cast<off_t>(createBytes)) != 0) return failed("ftruncate");
  if (fsync(opened.traits.fd) != 0) return failed("fsync");
  if (fstat(opened.traits.fd, &status) != 0) return failed("fstat");
  opened.created = true;
  return {};
}

Outcome prepare(const OpenRequest& request, Opened& opened) {
  struct stat status {};
  if (fstat(opened.traits.fd, &status) != 0) return failed("fstat");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) return failed("open", EISDIR);
  if (S_ISBLK(status.st_mode) != request.exclusive) return failed("open", ESTALE);
  if (Outcome outcome = lock(opened.traits.fd); outcome.error != 0) return outcome;
  if (S_ISBLK(status.st_mode)) return measureBlockDevice(opened);
  if (request.create && status.st_size == 0)
    if (Outcome outcome = giveSize(opened, status, request.createBytes); outcome.error != 0) return outcome;
  return measureFile(opened, status);
}

Outcome openFile(const OpenRequest& request, Opened& opened) {
  int flags = O_RDWR | O_CLOEXEC | O_NOCTTY;
  if (request.direct) flags |= O_DIRECT;
  if (request.exclusive) flags |= O_EXCL;
  if (request.create && !request.exclusive) flags |= O_CREAT;
  const int fd = open(request.path.c_str(), flags, 0600);
  if (fd < 0) return failed(request.direct && errno == EINVAL ? "open with O_DIRECT" : "open");
  opened.traits.fd = fd;
  opened.traits.isDirect = request.direct;
  Outcome outcome = prepare(request, opened);
  if (outcome.error != 0) close(fd);
  return outcome;
}

/// fileOpen({ path, create, createBytes, direct, exclusive }): Promise<OpenedFile>
Napi::Value fileOpen(const Napi::CallbackInfo& info) {
  Napi::Object options = info[0].As<Napi::Object>();
  OpenRequest request{options.Get("path").As<Napi::String>(), options.Get("create").ToBoolean(),
                      options.Get("direct").ToBoolean(), options.Get("exclusive").ToBoolean(),
                      options.Get("createBytes").ToNumber()};
  std::shared_ptr<Engine> engine = Engine::of(info.Env());
  return AsyncVerb<Opened>::start(
      info.Env(), [request](Opened& opened) { return openFile(request, opened); },
      [engine](Napi::Env env, Opened& opened) -> Napi::Value {
        Napi::Object answer = Napi::Object::New(env);
        answer.Set("handle", Napi::Number::New(env, engine->adopt(opened.traits)));
        answer.Set("sizeBytes", Napi::Number::New(env, static_cast<double>(opened.sizeBytes)));
        answer.Set("alignBytes", Napi::Number::New(env, static_cast<double>(opened.traits.alignBytes)));
        answer.Set("isBlock", Napi::Boolean::New(env, opened.traits.isBlock));
        answer.Set("created", Napi::Boolean::New(env, opened.created));
        return answer;
      });
}

/// fileAllocate(path, bytes): Promise<void>; room for the file's first bytes, without a change of its size.
Napi::Value fileAllocate(const Napi::CallbackInfo& info) {
  struct Nothing {};
  const std::string path = info[0].As<Napi::String>();
  const off_t bytes = static_cast<off_t>(info[1].ToNumber().Int64Value());
  return AsyncVerb<Nothing>::start(
      info.Env(),
      [path, bytes](Nothing&) {
        const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) return failed("open");
        Outcome outcome = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 ? Outcome{} : failed("fallocate");
        close(fd);
        return outcome;
      },
      [](Napi::Env env, Nothing&) { return env.Undefined(); });
}

/// fileClose(handle): Promise<void>; what was submitted is finished first.
Napi::Value fileClose(const Napi::CallbackInfo& info) {
  struct Nothing {};
  std::shared_ptr<OpenFile> file = Engine::of(info.Env())->release(info[0].As<Napi::Number>().Uint32Value());
  return AsyncVerb<Nothing>::start(
      info.Env(),
      [file](Nothing&) {
        if (file == nullptr) return failed("close", EBADF);
        const int error = file->close();
        return error == 0 ? Outcome{} : failed("close", error);
      },
      [](Napi::Env env, Nothing&) { return env.Undefined(); });
}

}  // namespace

void exportFiles(Napi::Env env, Napi::Object exports) {
  exports.Set("fileOpen", Napi::Function::New(env, fileOpen));
  exports.Set("fileAllocate", Napi::Function::New(env, fileAllocate));
  exports.Set("fileClose", Napi::Function::New(env, fileClose));
}
