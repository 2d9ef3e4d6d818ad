#include "read-cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tallies.h"

namespace {

/// Looking for a place is worth less than a read of the disk.
constexpr size_t stepsMax = 64;

}  // namespace

ReadCache::ReadCache(size_t bytes, double* tallies, uint32_t tallyAt)
    : tallies_(tallies), tallyAt_(tallyAt), blocks_(bytes / blockBytes) {
  size_t buckets = 1;
  while (buckets < blocks_.size()) buckets *= 2;
  buckets_.assign(buckets, none);
  bytes = blocks_.size() * blockBytes;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  // Mostly it is copied to and from.
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
  for (uint32_t block = static_cast<uint32_t>(blocks_.size()); block-- > 0;) {
    blocks_[block].next = free_;
    free_ = block;
  }
}

ReadCache::~ReadCache() { munmap(memory_, blocks_.size() * blockBytes); }

void ReadCache::prefetch(uint32_t file, uint64_t offset, uint64_t end) const {
  // The first one is looked at right away.
  for (uint64_t at = (offset / blockBytes + 1) * blockBytes; at < end; at += blockBytes) {
    const uint32_t block = buckets_[placeOf(keyOf(file, at))];
    if (block == none) continue;
    __builtin_prefetch(&blocks_[block], 1);
    __builtin_prefetch(memory_ + size_t{block} * blockBytes);
  }
}

uint32_t ReadCache::find(uint64_t key) {
  uint32_t block = bucketOf(key);
  while (block != none && blocks_[block].key != key) block = blocks_[block].next;
  return block;
}

/// A block on whose bytes an answer still lies is free once that has left.
void ReadCache::drop(uint64_t key) {
  uint32_t* at = &bucketOf(key);
  while (*at != none && blocks_[*at].key != key) at = &blocks_[*at].next;
  if (*at == none) return;
  const uint32_t index = *at;
  Block& block = blocks_[index];
  *at = block.next;
  block.isKept = false;
  --stretchesOf(key).kept;
  if (block.pins > 0) return;
  block.next = free_;
  free_ = index;
}

/// The sum: none of them ever goes back.
uint32_t ReadCache::versionOf(uint32_t file, uint64_t offset, uint64_t length) const {
  uint32_t sum = 0;
  for (uint64_t stretch = offset >> stretchShift; stretch <= (offset + length - 1) >> stretchShift; ++stretch)
    sum += stretches_[hashOf(file, stretch)].version;
  return sum;
}

void ReadCache::changed(uint32_t file, uint64_t offset, uint64_t length) {
  if (length == 0) return;
  const uint64_t end = offset + length;
  for (uint64_t at = offset; at < end;) {
    const uint64_t stretchEnd = ((at >> stretchShift) + 1) << stretchShift, stop = std::min(stretchEnd, end);
    Stretches& stretches = stretches_[hashOf(file, at >> stretchShift)];
    ++stretches.version;
    // Most of a long range, as of a volume that is erased, is not here.
    for (uint64_t key = keyOf(file, at); stretches.kept > 0 && key <= keyOf(file, stop - 1); ++key) drop(key);
    at = stop;
  }
}

/// What was not used since the hand passed it last goes first; `none`: nothing of that kind is near.
uint32_t ReadCache::takeBlock() {
  for (size_t steps = std::min(stepsMax, blocks_.size()); free_ == none && steps > 0; --steps) {
    Block& block = blocks_[hand_];
    hand_ = (hand_ + 1) % blocks_.size();
    if (block.isKept && block.pins == 0 && !block.wasUsed) drop(block.key);
    block.wasUsed = false;
  }
  const uint32_t block = free_;
  if (block != none) free_ = blocks_[block].next;
  return block;
}

void ReadCache::put(uint32_t file, uint64_t offset, uint32_t length, const char* bytes, uint32_t version) {
  if (version != versionOf(file, offset, length)) return;
  const uint64_t first = (offset + blockBytes - 1) / blockBytes * blockBytes;
  for (uint64_t at = first; at + blockBytes <= offset + length; at += blockBytes) {
    const uint64_t key = keyOf(file, at);
    if (find(key) == none && !insert(key, bytes + (at - offset))) return;
  }
}

bool ReadCache::insert(uint64_t key, const char* bytes) {
  const uint32_t index = takeBlock();
  if (index == none) return false;
  memcpy(bytesOf(index), bytes, blockBytes);
  Block& block = blocks_[index];
  block.key = key;
  block.isKept = true;
  block.wasUsed = false;
  ++stretchesOf(key).kept;
  uint32_t& bucket = bucketOf(key);
  block.next = bucket;
  bucket = index;
  return true;
}

/// What was here already is replaced where it is, unless an answer still lies on it.
void ReadCache::written(uint32_t file, uint64_t offset, uint32_t length, const char* bytes) {
  const uint64_t end = offset + length;
  prefetch(file, offset, end);
  for (uint64_t at = offset / blockBytes * blockBytes; at < end; at += blockBytes) {
    const bool isWhole = at >= offset && at + blockBytes <= end;
    const uint64_t key = keyOf(file, at);
    const uint32_t index = isWhole ? find(key) : none;
    if (index != none && blocks_[index].pins == 0) {
      ++stretchesOf(key).version;
      memcpy(bytesOf(index), bytes + (at - offset), blockBytes);
      continue;
    }
    changed(file, at, blockBytes);
    if (isWhole) insert(key, bytes + (at - offset));
  }
}

bool ReadCache::pin(uint32_t file, uint64_t offset, uint32_t length, std::vector<uint32_t>& blocks, std::vector<iovec>& pieces) {
  const uint64_t end = offset + length;
  const size_t blocksBefore = blocks.size(), piecesBefore = pieces.size();
  prefetch(file, offset, end);
  for (uint64_t at = offset; at < end;) {
    const uint32_t index = find(keyOf(file, at));
    if (index == none) {
      blocks.resize(blocksBefore);
      pieces.resize(piecesBefore);
      return false;
    }
    const uint64_t within = at % blockBytes, part = std::min<uint64_t>(blockBytes - within, end - at);
    char* from = bytesOf(index) + within;
    if (pieces.size() > piecesBefore && static_cast<char*>(pieces.back().iov_base) + pieces.back().iov_len == from)
      pieces.back().iov_len += part;
    else
      pieces.push_back({from, part});
    blocks.push_back(index);
    at += part;
  }
  for (size_t i = blocksBefore; i < blocks.size(); ++i) {
    ++blocks_[blocks[i]].pins;
    blocks_[blocks[i]].wasUsed = true;
  }
  countIn(tallies_, tallyAt_, ios, 1);
  countIn(tallies_, tallyAt_, ioBytes, length);
  return true;
}

void ReadCache::unpin(std::vector<uint32_t>& blocks) {
  for (const uint32_t index : blocks) {
    Block& block = blocks_[index];
    if (--block.pins > 0 || block.isKept) continue;
    block.next = free_;
    free_ = index;
  }
  blocks.clear();
}

void ReadCache::forget(uint32_t file) {
  for (const Block& block : blocks_)
    if (block.isKept && block.key >> 48 == file) drop(block.key);
  // What is still being read of it does not come in.
  for (Stretches& stretches : stretches_) ++stretches.version;
}
