// Which writes of a primary its disk and their other copies get now, and which wait for those before.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

/// Most disks end each transfer by itself, and are given everything at once. Some tell of nothing before they have done all that they
/// have: the virtual disk of a machine monitor that works through its queue before it interrupts the guest. What such a one is
/// given meanwhile puts off the end of what it had, until all writes of all clients move in step, and the disk rests while they are
/// answered and the next ones come. There a primary's writes go in two groups in turn, so that the disk has one while the other is
/// answered and comes back. Both copies of a write go with the same group, as what comes for other primaries never waits.
///
/// Which kind a disk is shows where it has writes that it was given at different times: all have ended when the first ones have, or
/// not. One that is so fast that nobody looks in between may pass for the second kind; there processors are the limit, and it
/// costs some percent.
class WriteGate {
 public:
  /// Whatever the disks do; for tests.
  static inline bool isAlwaysHolding = false;

  /// A primary's write has come that goes with a group.
  void add(uint32_t slot) {
    waiting_.push_back(slot);
    ++unanswered_;
  }
  /// The write that is to begin, which waits no more; -1: none is now. `round`: how often the disk has been given something.
  int64_t next(uint64_t round) {
    if (waiting_.empty() || (holds() && !hasRoom(round))) return -1;
    const uint32_t slot = waiting_.front();
    waiting_.pop_front();
    return slot;
  }
  /// It will not begin.
  void remove(uint32_t slot) { waiting_.erase(std::find(waiting_.begin(), waiting_.end(), slot)); }
  /// The disk is given a write in this round, which is one of a group or not.
  void begun(uint64_t round, bool isGrouped) {
    if (sinceVote_++ == 0) firstRound_ = round;
    if (lastRound_ != round) inLastRound_ = 0;
    lastRound_ = round;
    ++inLastRound_;
    ++underWay_;
    if (!isGrouped) return;
    if (group_++ == 0) {
      groupRound_ = round;
      ++groups_;
    }
  }
  void ended(bool isGrouped) {
    --underWay_;
    ++ended_;
    if (isGrouped) --group_;
  }
  /// One of a group is over, begun or not.
  void answered() { --unanswered_; }
  /// All that had ended by now has been told.
  void looked() {
    if (ended_ == 0) return;
    // Those that the last vote has found under way say nothing new.
    const size_t late = std::min(late_, ended_);
    late_ -= late;
    if (late == 0) vote();
    ended_ = 0;
  }

 private:
  static constexpr int togetherMin = 16, togetherMax = 64;
  /// Fewer say little.
  static constexpr size_t votersMin = 4;
  /// One of so many groups does not wait for the one before, so that there is something to vote on.
  static constexpr size_t groupsPerTrial = 64;

  bool holds() const { return isAlwaysHolding || (together_ >= togetherMin && groups_ % groupsPerTrial != 0); }
  bool hasRoom(uint64_t round) const {
    return (group_ == 0 || groupRound_ == round) && group_ < (unanswered_ + 1) / 2;
  }
  void vote() {
    // Those of the last round may have come when the disk was about to tell of the others.
    const bool isClear = underWay_ == 0 || underWay_ > inLastRound_;
    if (isClear && firstRound_ != lastRound_ && ended_ + underWay_ >= votersMin)
      together_ = std::clamp(together_ + (underWay_ == 0 ? 1 : -1), 0, togetherMax);
    late_ = underWay_;
    sinceVote_ = 0;
  }

  std::deque<uint32_t> waiting_;
  /// Those of groups that have come and are not over, and those of them that the disk has, which are one group.
  size_t unanswered_ = 0, group_ = 0, groups_ = 0;
  uint64_t groupRound_ = 0;
  /// All writes that the disk has, those of them that it had at the last vote, and those that have ended since the last look.
  size_t underWay_ = 0, late_ = 0, ended_ = 0;
  /// How many it has been given since the last vote, and in the last round, which rounds those were, and how much oftener of late
  /// all ended together than not.
  size_t sinceVote_ = 0, inLastRound_ = 0;
  uint64_t firstRound_ = 0, lastRound_ = 0;
  int together_ = 0;
};
