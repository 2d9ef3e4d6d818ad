// Memory that two processes of one host share, and through which a stream's bytes go both ways: while both sides are awake,
// nothing of it is a system call. Each byte is copied in by who sends it and taken by who receives it, once, so that the other
// side cannot change what has been looked at; what the other side says about its positions is checked.
#pragma once
#include <sys/types.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

/// The state of one direction, in the shared memory. Positions count all bytes since the beginning.
struct PipeState {
  // Of who writes.
  alignas(64) std::atomic<uint64_t> written;
  /// The position that lies at the beginning of the memory.
  std::atomic<uint64_t> base;
  std::atomic<uint32_t> awaitsRoom;
  // Of who reads.
  alignas(64) std::atomic<uint64_t> read;
  std::atomic<uint32_t> awaitsBytes;
};

/// The end of a direction that writes.
class PipeWriter {
 public:
  PipeWriter(PipeState* state, char* bytes) : state_(state), bytes_(bytes) {}
  /// How many bytes there was room for; -1: the other side is not sound.
  ssize_t write(const iovec* pieces, size_t count);
  /// What was to be sent did not have room: the bell is to ring when there is. False: there is some by now.
  bool awaitRoom();
  /// As much as is worth being woken for.
  bool hasRoom() const;
  /// Whether the other side is to be woken for what was written. Once.
  bool isAwaited();

 private:
  PipeState* state_;
  char* bytes_;
  uint64_t written_ = 0, base_ = 0;
};

/// The end that reads.
class PipeReader {
 public:
  PipeReader(PipeState* state, const char* bytes) : state_(state), bytes_(bytes) {}
  /// How many bytes are there, if the other side is sound.
  uint64_t there() const { return state_->written.load(std::memory_order_acquire) - read_; }
  /// How many bytes there were, as far as they fit; -1: the other side is not sound.
  ssize_t read(const iovec* parts, size_t count);
  /// Where so many bytes lie behind the first `from`: in one piece or two, of which the second may be empty. They are there.
  std::array<iovec, 2> look(uint64_t from, uint64_t length) const;
  void skip(uint64_t length);
  /// The bell is to ring for the next bytes, or not.
  void awaitBytes(bool isOn) { state_->awaitsBytes.store(isOn ? 1 : 0, std::memory_order_relaxed); }
  /// Whether the other side is to be woken for the room that there is now. Once.
  bool isAwaited();

 private:
  PipeState* state_;
  const char* bytes_;
  uint64_t read_ = 0;
};

class SharedMemory {
 public:
  /// Of one direction; a power of two.
  static constexpr uint64_t pipeBytes = 2 << 20;
  /// For the side that connects. null: there is none to be had. `fd` is to be given to the other side, and closed.
  static std::unique_ptr<SharedMemory> make(int& fd);
  /// For the other one. null: it is none of ours (EPROTO), or cannot be mapped. The descriptor may be closed.
  static std::unique_ptr<SharedMemory> join(int fd);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  PipeWriter out;
  PipeReader in;

 private:
  SharedMemory(char* memory, bool isMaker);
  static char* map(int fd);
  char* memory_;
};
