// Blocks of files that were read or written a moment ago, in memory: what all of them are here of is answered without the
// disk. It says what the disk says: the end of a change, by whomever, takes out the blocks that it concerns, and what was
// under way while a change nearby ended does not come in. Of the event loop's thread.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

class ReadCache {
 public:
  static constexpr uint32_t blockBytes = 4096;

  /// Memory is used as it is needed. Reads that are answered from here are counted in that tally. Throws std::bad_alloc.
  ReadCache(size_t bytes, double* tallies, uint32_t tallyAt);
  ~ReadCache();
  ReadCache(const ReadCache&) = delete;
  ReadCache& operator=(const ReadCache&) = delete;

  /// Another one after every change near there.
  uint32_t versionOf(uint32_t file, uint64_t offset, uint64_t length) const;
  /// Something in that range has been changed, or may have been.
  void changed(uint32_t file, uint64_t offset, uint64_t length);
  /// What was read or written there, begun when the version was that: whole blocks of it are kept.
  void put(uint32_t file, uint64_t offset, uint32_t length, const char* bytes, uint32_t version);
  /// True: all of the range is here, in `pieces`, which stay as they are until `blocks` are given to `unpin`. Both are added to.
  bool pin(uint32_t file, uint64_t offset, uint32_t length, std::vector<uint32_t>& blocks, std::vector<iovec>& pieces);
  void unpin(std::vector<uint32_t>& blocks);
  /// The file is closed; its number may be another one's.
  void forget(uint32_t file);

 private:
  static constexpr uint32_t none = UINT32_MAX;
  /// Files are looked at in regions of a chunk's size, which share versions.
  static constexpr unsigned regionShift = 20;
  static constexpr size_t versionsCount = 4096;
  struct Block {
    uint64_t key = 0;
    uint32_t next = none;  // of its bucket, or of what is free
    uint32_t pins = 0;
    bool isKept = false;    // in its bucket
    bool wasUsed = false;   // since the hand passed it last
  };

  static uint64_t keyOf(uint32_t file, uint64_t offset) { return uint64_t{file} << 48 | offset / blockBytes; }
  static uint64_t mixed(uint64_t key) {
    key *= 0x9e3779b97f4a7c15;
    return key ^ key >> 29;
  }
  static size_t placeOf(uint32_t file, uint64_t region) { return mixed(uint64_t{file} << 48 | region) % versionsCount; }
  uint32_t& bucketOf(uint64_t key) { return buckets_[mixed(key) & (buckets_.size() - 1)]; }
  uint32_t find(uint64_t key);
  void drop(uint64_t key);
  uint32_t takeBlock();
  char* bytesOf(uint32_t block) { return memory_ + size_t{block} * blockBytes; }

  double* tallies_;
  uint32_t tallyAt_;
  char* memory_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> buckets_;
  std::array<uint32_t, versionsCount> versions_{};
  uint32_t free_ = none, hand_ = 0;
};
