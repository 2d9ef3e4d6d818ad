// What one operation does to one file, on the thread that calls it. Short transfers and EINTR are finished here.
#pragma once
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

enum class OpKind : uint8_t { Read = 0, Write = 1, Sync = 2, Erase = 3 };

/// How a descriptor wants to be talked to. Alignments are 1 without O_DIRECT.
struct FileTraits {
  int fd = -1;
  bool isBlock = false;
  bool isDirect = false;
  size_t alignBytes = 1;   // of offsets and lengths
  size_t memoryBytes = 1;  // of buffer addresses
};

struct FileOp {
  uint32_t slot = 0;
  OpKind kind = OpKind::Read;
  off_t offset = 0;
  uint64_t length = 0;
  std::vector<iovec> pieces;
  /// For the ring: where the transfer passes through, or null; and the file.
  char* bounce = nullptr;
  uint32_t handle = 0;
};

/// Whether the pieces may be given to the kernel as they are.
bool mayGoDirect(const FileTraits& file, const FileOp& op);
/// Copies all pieces to `flat` (`gather`), or from it.
void copyPieces(const FileOp& op, char* flat, bool gather);

/// Does it; returns 0 or an errno. `op.pieces` is used up.
int carryOut(const FileTraits& file, FileOp& op);
