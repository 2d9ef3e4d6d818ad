#include "file-ops.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace {

// A longer transfer goes through the bounce buffer in several steps, which bounds what a thread holds.
constexpr size_t bounceBytesMax = 1 << 20;
constexpr size_t pageBytes = 4096;

struct BounceBuffer {
  char* bytes = nullptr;
  size_t capacity = 0;
  ~BounceBuffer() { free(bytes); }
  /// `want` bytes at a page boundary, kept for this thread's next operation.
  char* atLeast(size_t want) {
    if (want <= capacity) return bytes;
    void* fresh = nullptr;
    size_t rounded = (want + pageBytes - 1) / pageBytes * pageBytes;
    if (posix_memalign(&fresh, pageBytes, rounded) != 0) return nullptr;
    free(bytes);
    bytes = static_cast<char*>(fresh);
    capacity = rounded;
    return bytes;
  }
};
thread_local BounceBuffer bounce;

int transferVector(int fd, bool writes, iovec* next, size_t count, off_t offset) {
  while (count > 0) {
    if (next->iov_len == 0) {
      ++next, --count;
      continue;
    }
    const int take = static_cast<int>(std::min<size_t>(count, IOV_MAX));
    ssize_t moved = writes ? pwritev(fd, next, take, offset) : preadv(fd, next, take, offset);
    if (moved < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (moved == 0) return EIO;  // the end of the file, where there should be data or room
    offset += moved;
    while (moved > 0) {
      const size_t used = std::min(next->iov_len, static_cast<size_t>(moved));
      next->iov_base = static_cast<char*>(next->iov_base) + used;
      next->iov_len -= used;
      moved -= used;
      if (next->iov_len == 0) ++next, --count;
    }
  }
  return 0;
}

/// Copies the next `length` bytes of the pieces to (`gather`) or from `flat`, from piece `index` and `within` it.
void copyPieces(std::vector<iovec>& pieces, size_t& index, size_t& within, char* flat, size_t length, bool gather) {
  while (length > 0) {
    iovec& piece = pieces[index];
    const size_t part = std::min(length, piece.iov_len - within);
    char* at = static_cast<char*>(piece.iov_base) + within;
    if (gather)
      memcpy(flat, at, part);
    else
      memcpy(at, flat, part);
    flat += part, length -= part, within += part;
    if (within == piece.iov_len) ++index, within = 0;
  }
}

int transferBounced(const FileTraits& file, FileOp& op, bool writes) {
  size_t index = 0, within = 0;
  off_t offset = op.offset;
  uint64_t left = op.length;
  while (left > 0) {
    const size_t step = std::min<uint64_t>(left, bounceBytesMax);
    char* flat = bounce.atLeast(step);
    if (flat == nullptr) return ENOMEM;
    if (writes) copyPieces(op.pieces, index, within, flat, step, true);
    iovec whole{flat, step};
    if (int error = transferVector(file.fd, writes, &whole, 1, offset)) return error;
    if (!writes) copyPieces(op.pieces, index, within, flat, step, false);
    offset += step, left -= step;
  }
  return 0;
}

int transfer(const FileTraits& file, FileOp& op, bool writes) {
  if (file.isDirect && !mayGoDirect(file, op)) return transferBounced(file, op, writes);
  return transferVector(file.fd, writes, op.pieces.data(), op.pieces.size(), op.offset);
}

int sync(int fd) {
  while (fdatasync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int allocate(int fd, int mode, off_t offset, off_t length) {
  while (fallocate(fd, mode, offset, length) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int writeZeroes(const FileTraits& file, off_t offset, uint64_t length) {
  const size_t step = std::min<uint64_t>(length, bounceBytesMax);
  char* flat = bounce.atLeast(step);
  if (flat == nullptr) return ENOMEM;
  memset(flat, 0, step);
  while (length > 0) {
    iovec whole{flat, std::min<uint64_t>(length, step)};
    const size_t part = whole.iov_len;
    if (int error = transferVector(file.fd, true, &whole, 1, offset)) return error;
    offset += part, length -= part;
  }
  return 0;
}

int zeroBlockDevice(int fd, off_t offset, uint64_t length) {
  uint64_t range[2] = {static_cast<uint64_t>(offset), length};
  // A discard promises nothing about what is read later, so its failure means nothing and zeroes follow in any case.
  (void)ioctl(fd, BLKDISCARD, range);
  while (ioctl(fd, BLKZEROOUT, range) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int erase(const FileTraits& file, off_t offset, uint64_t length) {
  if (length == 0) return 0;
  // On a block device the kernel punches only where the device guarantees zeroes, and says EOPNOTSUPP elsewhere.
  const int error = allocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (error != EOPNOTSUPP && error != ENOSYS) return error;
  return file.isBlock ? zeroBlockDevice(file.fd, offset, length) : writeZeroes(file, offset, length);
}

}  // namespace

bool mayGoDirect(const FileTraits& file, const FileOp& op) {
  for (const iovec& piece : op.pieces) {
    if (reinterpret_cast<uintptr_t>(piece.iov_base) % file.memoryBytes != 0) return false;
    if (piece.iov_len % file.alignBytes != 0) return false;
  }
  return true;
}

void copyPieces(const FileOp& op, char* flat, bool gather) {
  for (const iovec& piece : op.pieces) {
    if (gather)
      memcpy(flat, piece.iov_base, piece.iov_len);
    else
      memcpy(piece.iov_base, flat, piece.iov_len);
    flat += piece.iov_len;
  }
}

int carryOut(const FileTraits& file, FileOp& op) {
  switch (op.kind) {
    case OpKind::Read:
      return transfer(file, op, false);
    case OpKind::Write:
      return transfer(file, op, true);
    case OpKind::Sync:
      return sync(file.fd);
    case OpKind::Erase:
      return erase(file, op.offset, op.length);
  }
  return EINVAL;
}
