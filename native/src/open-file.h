// What does for a file what no ring does: threads of its own.
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "file-ops.h"

class Engine;

/// An open file with its queue and its threads, started as they are needed.
class OpenFile {
 public:
  OpenFile(std::shared_ptr<Engine> engine, FileTraits traits) : engine_(std::move(engine)), traits_(traits) {}
  ~OpenFile() { close(); }
  const FileTraits& traits() const { return traits_; }
  void enqueue(FileOp* op);
  /// Finishes what is queued, ends the threads, closes the descriptor and with it gives up the locks. Blocks.
  int close();

 private:
  void work();

  std::shared_ptr<Engine> engine_;
  const FileTraits traits_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<FileOp*> queue_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  size_t writing_ = 0;  // threads that are at a write
  bool closing_ = false;
  bool closed_ = false;
};
