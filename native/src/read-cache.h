// Blocks of files that were read or written a moment ago, in memory: what all of them are here of is answered without the
// disk. The end of a change of a file, by whomever, takes out the blocks that it concerns, and what was being read while a
// change nearby ended does not come in. Between the beginning of a change and its end there may be the bytes from before or a
// mixture: whoever answers from here sees to it that nothing of the range is being changed, as he does where the disk
// answers (passes, lanes). Of the event loop's thread.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

/// Where the bytes of a read lie, or will.
struct ReadBytes {
  /// Memory for the disk to fill.
  char* block = nullptr;
  /// Or blocks of the read cache.
  std::vector<uint32_t> cached;
  /// Of what is read, when the disk was asked.
  uint32_t version = 0;
};

class ReadCache {
 public:
  static constexpr unsigned blockShift = 12;
  static constexpr uint32_t blockBytes = 1 << blockShift, filesMax = 1 << 16;

  /// Reads that are answered from here are counted in that tally. Throws std::bad_alloc.
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
  /// As `changed`, and what was written there is kept.
  void written(uint32_t file, uint64_t offset, uint32_t length, const char* bytes);
  /// True: all of the range is here, in `pieces`, which stay as they are until `blocks` are given to `unpin`. Both are added to.
  bool pin(uint32_t file, uint64_t offset, uint32_t length, std::vector<uint32_t>& blocks, std::vector<iovec>& pieces);
  void unpin(std::vector<uint32_t>& blocks);
  /// Nothing is known of the file any more: its number may be another one's.
  void forget(uint32_t file);

 private:
  static constexpr uint32_t none = UINT32_MAX;
  static constexpr unsigned neighboursShift = 4, neighbours = 1 << neighboursShift;
  /// Files are looked at in stretches of a slot's size, many of which share one of these.
  static constexpr unsigned stretchShift = 20;
  struct Stretches {
    uint32_t version = 0;
    uint32_t kept = 0;
  };
  struct Block {
    uint64_t key = 0;
    uint32_t next = none;  // of its bucket, or of what is free
    uint32_t pins = 0;
    bool isKept = false;   // in its bucket
    bool wasUsed = false;  // since the hand passed it last
  };

  static uint64_t keyOf(uint32_t file, uint64_t offset) { return uint64_t{file} << 48 | offset / blockBytes; }
  static uint64_t mixed(uint64_t key) {
    key *= 0x9e3779b97f4a7c15;
    return key ^ key >> 29;
  }
  static size_t hashOf(uint32_t file, uint64_t stretch) { return mixed(uint64_t{file} << 48 | stretch) % stretchesCount; }
  Stretches& stretchesOf(uint64_t key) {
    const uint64_t block = key & ((uint64_t{1} << 48) - 1);
    return stretches_[hashOf(static_cast<uint32_t>(key >> 48), block >> (stretchShift - blockShift))];
  }
  /// Neighbours lie side by side there: a long read finds all of its blocks in one place of the CPU's caches.
  size_t placeOf(uint64_t key) const { return (mixed(key >> neighboursShift) + (key & (neighbours - 1))) & (buckets_.size() - 1); }
  uint32_t& bucketOf(uint64_t key) { return buckets_[placeOf(key)]; }
  /// Before what is known of a range is looked at: the CPU brings all of it at once then, not one block after the other.
  void prefetch(uint32_t file, uint64_t offset, uint64_t end) const;
  uint32_t find(uint64_t key);
  void drop(uint64_t key);
  /// False: there is no room.
  bool insert(uint64_t key, const char* bytes);
  uint32_t takeBlock();
  char* bytesOf(uint32_t block) { return memory_ + size_t{block} * blockBytes; }

  static constexpr size_t stretchesCount = 4096;
  double* tallies_;
  uint32_t tallyAt_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> buckets_;
  std::array<Stretches, stretchesCount> stretches_{};
  uint32_t free_ = none;
  size_t hand_ = 0;
  char* memory_ = nullptr;
};
