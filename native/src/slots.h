// Places of operations under way, which are used again; their addresses stay.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

template <typename Op>
class Slots {
 public:
  explicit Slots(uint32_t max = UINT32_MAX) : max_(max) {}

  Op& operator[](uint32_t slot) { return ops_[slot]; }
  const Op& operator[](uint32_t slot) const { return ops_[slot]; }
  uint32_t size() const { return static_cast<uint32_t>(ops_.size()); }
  /// A place with an operation as it begins; -1: all are taken.
  int64_t take() {
    if (free_.empty()) {
      if (size() == max_) return -1;
      free_.push_back(size());
      ops_.emplace_back();
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    ops_[slot] = Op();
    return slot;
  }
  void free(uint32_t slot) { free_.push_back(slot); }

 private:
  uint32_t max_;
  std::deque<Op> ops_;
  std::vector<uint32_t> free_;
};
