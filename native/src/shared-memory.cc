#include "shared-memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace {

constexpr uint64_t pipeBytes = SharedMemory::pipeBytes;
/// A writer is woken when no more than this is unread: less than what a reader leaves there until it is whole would hold up both.
constexpr uint64_t roomUsed = pipeBytes / 4 * 3;
constexpr size_t statesBytes = 4096, memoryBytes = statesBytes + 2 * pipeBytes;
/// Nobody can make it shorter while another one looks into it, which would be a SIGBUS there.
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
static_assert(2 * sizeof(PipeState) <= statesBytes);

/// Calls `move` for each stretch of the ring that a piece lies in, until `room` is used up; returns how much was moved.
template <typename Move>
uint64_t forStretches(const iovec* pieces, size_t count, uint64_t at, uint64_t room, Move move) {
  uint64_t done = 0;
  for (const iovec* piece = pieces; piece != pieces + count && done < room; ++piece) {
    for (uint64_t inPiece = 0; inPiece < piece->iov_len && done < room;) {
      const uint64_t inRing = (at + done) % pipeBytes;
      const uint64_t part = std::min({piece->iov_len - inPiece, room - done, pipeBytes - inRing});
      move(static_cast<char*>(piece->iov_base) + inPiece, inRing, part);
      inPiece += part;
      done += part;
    }
  }
  return done;
}

}  // namespace

ssize_t PipeWriter::write(const iovec* pieces, size_t count) {
  const uint64_t under = written_ - state_->read.load(std::memory_order_acquire);
  if (under > pipeBytes) return -1;
  // Nobody looks at it now. What begins at the beginning again stays in the CPU's caches, and most of the memory is never touched.
  if (under == 0) state_->base.store(base_ = written_, std::memory_order_relaxed);
  const uint64_t done = forStretches(pieces, count, written_ - base_, pipeBytes - under, [this](const char* piece, uint64_t at, uint64_t part) {
    memcpy(bytes_ + at, piece, part);
  });
  written_ += done;
  state_->written.store(written_, std::memory_order_release);
  return static_cast<ssize_t>(done);
}

bool PipeWriter::hasRoom() const {
  return written_ - state_->read.load(std::memory_order_acquire) <= roomUsed;
}

// Either side says what it waits for and looks once more before it rests; the other one makes its change and looks then whether
// it is waited for. As each has a fence between the two, at least one of them sees the other's.

bool PipeWriter::awaitRoom() {
  state_->awaitsRoom.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return !hasRoom();
}

bool PipeWriter::isAwaited() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return state_->awaitsBytes.load(std::memory_order_relaxed) != 0 && state_->awaitsBytes.exchange(0) != 0;
}

ssize_t PipeReader::read(const iovec* parts, size_t count) {
  const uint64_t there = state_->written.load(std::memory_order_acquire) - read_;
  if (there > pipeBytes) return -1;
  const uint64_t at = read_ - state_->base.load(std::memory_order_relaxed);
  const uint64_t done = forStretches(parts, count, at, there, [this](char* part, uint64_t at, uint64_t length) {
    memcpy(part, bytes_ + at, length);
  });
  skip(done);
  return static_cast<ssize_t>(done);
}

std::array<iovec, 2> PipeReader::look(uint64_t from, uint64_t length) const {
  const uint64_t at = (read_ + from - state_->base.load(std::memory_order_relaxed)) % pipeBytes;
  const uint64_t first = std::min(length, pipeBytes - at);
  // The pieces are for reading.
  char* bytes = const_cast<char*>(bytes_);
  return {{{bytes + at, first}, {bytes, length - first}}};
}

void PipeReader::skip(uint64_t length) {
  read_ += length;
  state_->read.store(read_, std::memory_order_release);
}

bool PipeReader::isAwaited() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (state_->awaitsRoom.load(std::memory_order_relaxed) == 0) return false;
  // Less is not worth it; who reads the rest asks again.
  if (state_->written.load(std::memory_order_relaxed) - read_ > roomUsed) return false;
  return state_->awaitsRoom.exchange(0) != 0;
}

SharedMemory::SharedMemory(char* memory, bool isMaker)
    : out(reinterpret_cast<PipeState*>(memory) + (isMaker ? 0 : 1), memory + statesBytes + (isMaker ? 0 : pipeBytes)),
      in(reinterpret_cast<PipeState*>(memory) + (isMaker ? 1 : 0), memory + statesBytes + (isMaker ? pipeBytes : 0)),
      memory_(memory) {}

SharedMemory::~SharedMemory() { munmap(memory_, memoryBytes); }

char* SharedMemory::map(int fd) {
  void* memory = mmap(nullptr, memoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

std::unique_ptr<SharedMemory> SharedMemory::make(int& fd) {
  fd = memfd_create("blockmesh stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  // All of it is zeroes, as positions and flags are to be at the beginning.
  char* memory = nullptr;
  if (ftruncate(fd, memoryBytes) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0) memory = map(fd);
  if (memory != nullptr) return std::unique_ptr<SharedMemory>(new SharedMemory(memory, true));
  close(fd);
  fd = -1;
  return nullptr;
}

std::unique_ptr<SharedMemory> SharedMemory::join(int fd) {
  struct stat about {};
  errno = EPROTO;
  if (fstat(fd, &about) != 0 || static_cast<size_t>(about.st_size) != memoryBytes || (fcntl(fd, F_GET_SEALS) & seals) != seals) return nullptr;
  char* memory = map(fd);
  return memory == nullptr ? nullptr : std::unique_ptr<SharedMemory>(new SharedMemory(memory, false));
}
