#include "open-file.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "addon.h"
#include "engine.h"

namespace {

// Per file; chosen by bench/file-engine.ts. A disk likes depth; what mostly copies from the page cache does not.
constexpr size_t threadsMaxDirect = 16, threadsMaxBuffered = 8;
// Writes into the page cache that wait for a thread which is busy with others, instead of waking one more.
constexpr size_t cachedWritesPerThread = 4;

}  // namespace

void OpenFile::enqueue(FileOp* op) {
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.push_back(op);
  // Waking a thread costs more than the copying that it would do.
  if (!traits_.isDirect && queue_.size() <= cachedWritesPerThread * writing_) return;
  if (queue_.size() > idle_ && threads_.size() < (traits_.isDirect ? threadsMaxDirect : threadsMaxBuffered)) {
    try {
      threads_.emplace_back([this] { work(); });
      return;
    } catch (const std::system_error&) {
      if (threads_.empty()) {
        queue_.pop_back();
        lock.unlock();
        engine_->completed(op->slot, EAGAIN);
        return;
      }
    }
  }
  if (idle_ > 0) wake_.notify_one();
}

void OpenFile::work() {
  leaveLoopCpus();
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    while (queue_.empty()) {
      if (closing_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
    FileOp* op = queue_.front();
    queue_.pop_front();
    const bool isWrite = op->kind == OpKind::Write;
    if (isWrite) ++writing_;
    lock.unlock();
    // After `completed` the slot, and with it `op`, may be in use again.
    const uint32_t slot = op->slot;
    const int error = carryOut(traits_, *op);
    engine_->completed(slot, error);
    lock.lock();
    if (isWrite) --writing_;
  }
}

int OpenFile::close() {
  std::vector<std::thread> threads;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return 0;
    closed_ = closing_ = true;
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
  // Linux has closed the descriptor even where it reports an error.
  return ::close(traits_.fd) == 0 || errno == EINTR ? 0 : errno;
}
