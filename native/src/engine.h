// The file engine. Operations come in batches from JavaScript (`submit`) and go back in batches (one call per wake-up).
// JavaScript keeps the buffers alive. Direct transfers, short reads, syncs and what lanes do go to the kernel's io_uring, a batch in
// one system call, where there is one; everything else, and what the ring does not take, to threads, of which every open file
// has its own, so that a slow disk delays nobody else (for syncs the ring has enough).
#pragma once
#include <napi.h>
#include <uv.h>

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "file-ops.h"
#include "open-file.h"
#include "read-cache.h"
#include "ring.h"

/// Whoever has transfers of his own in the ring.
class RingUser {
 public:
  virtual ~RingUser() = default;
  /// The transfer of that slot has ended: bytes or a negative errno.
  virtual void ended(uint32_t slot, int result) = 0;
  /// All that had ended has been told; it may begin more.
  virtual void looked() {}
};

struct Completion {
  uint32_t slot;
  int error;
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  static std::shared_ptr<Engine> of(Napi::Env env);
  explicit Engine(Napi::Env env) : env_(env) {}

  Napi::Value start(const Napi::CallbackInfo& info);
  void startReadCache(const Napi::CallbackInfo& info);
  void submit(const Napi::CallbackInfo& info);
  uint32_t adopt(FileTraits traits);
  std::shared_ptr<OpenFile> release(uint32_t handle);
  /// Called by any thread.
  void completed(uint32_t slot, int error);
  /// For the turn: looks what the ring has finished, says whether anything has ended, and puts what fits into the array.
  void reap();
  bool hasEnded() const { return !ringDone_.empty(); }
  uint32_t takeEnded();

  // For the lanes, which hear of a transfer as soon as it has ended.
  enum class Begun { refused, underWay, there };
  /// A read: what the read cache has is there at once, in `pieces`, which are added to; else it is queued for the ring, or cannot
  /// be done so. Its bytes are to be given back.
  Begun beginRead(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length, ReadBytes& bytes,
                  std::vector<iovec>& pieces);
  /// All of it has been read.
  void readEnded(uint32_t handle, uint64_t offset, uint32_t length, const ReadBytes& bytes);
  void giveBack(ReadBytes& bytes);
  /// Queues a write of `block`, which was taken with `takeBlock`. False: it cannot be done so.
  bool beginWrite(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length, char* block);
  /// For the turn: hands to the kernel what has begun.
  void submitBegun();
  /// How often that was done.
  uint64_t rounds() const { return rounds_; }
  /// The handle is an open file's, and there is a ring for it.
  bool hasRing(uint32_t handle) const { return ring_ != nullptr && handle < files_.size() && files_[handle] != nullptr; }
  /// A write that began here has ended, without another one of the same bytes meanwhile, and of a file that was open all the
  /// while. Not null: `bytes` are there now, and are to be kept.
  void writeEnded(uint32_t handle, uint64_t offset, uint32_t length, const char* bytes);
  /// A change or a sync has failed: what was written before may be there or not, and the disk alone knows.
  void doubt(uint32_t handle);
  /// An operation of JavaScript's that is no file's: it has begun, it has ended.
  void began();
  void endedAt(uint32_t slot) { ringDone_.push_back({slot, 0}); }
  /// Memory for as long as a reply takes; null: there is none now.
  char* takeBlock(size_t bytes) { return bounce_.take(bytes); }
  void giveBlock(char* block) { bounce_.give(block); }

  /// The environment ends: no thread may touch its buffers from here on.
  void shutDown();

 private:
  static void onWake(napi_env env, napi_value callback, void* context, void* data);
  void deliver(napi_env env, napi_value callback);
  void ended(size_t count);
  /// Writes completions to the array; returns how many fitted.
  uint32_t put(const Completion* from, size_t count);
  void openRing();
  void closeRing();
  bool toRing(FileOp& op);
  io_uring_sqe* nextEntry();
  void toThreads(FileOp& op);
  void submitRing();
  io_uring_sqe* nextFor(RingUser& user, uint32_t slot, const FileTraits& file, uint64_t offset, uint32_t length);
  void refused(uint64_t userData);
  void ringEnded(uint64_t userData, int result);
  void looked();
  void opEnded(FileOp& op, int result);
  void setBusy(bool isBusy);
  char* queueRead(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length);
  /// Of direct files; null: there is none.
  ReadCache* readCacheOf(uint32_t handle) const {
    return hasRing(handle) && files_[handle]->traits().isDirect && handle < ReadCache::filesMax ? readCache_.get() : nullptr;
  }
  void noteEnd(const FileOp& op, int error);

  Napi::Env env_;
  napi_threadsafe_function wakeUp_ = nullptr;
  Napi::Reference<Napi::Float64Array> submission_;
  Napi::Reference<Napi::Int32Array> completions_;
  std::unique_ptr<Ring> ring_;
  BouncePool bounce_;
  bool isBounceKept_ = false;
  std::unique_ptr<ReadCache> readCache_;
  Napi::Reference<Napi::Float64Array> talliesArray_;
  uv_poll_t* ringPoll_ = nullptr;
  std::vector<std::shared_ptr<OpenFile>> files_;
  std::deque<FileOp> ops_;  // by slot; a deque, since threads hold addresses while it grows
  size_t inFlight_ = 0;
  std::mutex mutex_;
  std::vector<Completion> done_;
  std::vector<Completion> taken_;
  std::vector<Completion> ringDone_;
  bool isRingReady_ = false;
  std::vector<RingUser*> users_;
  bool hasBegun_ = false;
  uint64_t rounds_ = 0;
};
