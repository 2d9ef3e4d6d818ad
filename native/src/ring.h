// One io_uring of the kernel's, by raw system calls, and the aligned memory that transfers of unaligned buffers pass
// through. Both belong to one thread, the event loop's.
#pragma once
#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

/// Submission and completion queue. Completions are worked on by the kernel only within `enter`, when we ask for it.
class Ring {
 public:
  /// null where the kernel has none, or does not let us: then threads do the work.
  static std::unique_ptr<Ring> open();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Becomes readable when `reap` would find something.
  int wakeFd() const { return wakeFd_; }
  size_t inFlight() const { return inFlight_; }
  bool isFull() const { return inFlight_ == completionsMax; }
  /// A cleared entry, which counts as in flight from now on. The ring is not full.
  io_uring_sqe* next();
  /// Hands the entries to the kernel. Those that it does not take are taken back: `refused` gets their user_data.
  template <typename Refused>
  void submit(Refused refused) {
    if (!enterAll())
      while (queued() > 0) refused(takeBackLast());
  }
  /// From here to `reapQuiet` what ends wakes nobody.
  void quiet() { __atomic_fetch_or(completionFlags_, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST); }
  /// The same as `reap`, of what has ended since `quiet`; what ends from here on makes the descriptor readable.
  template <typename Ended>
  void reapQuiet(Ended ended) {
    take(ended);
    __atomic_fetch_and(completionFlags_, ~IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST);
    // The kernel finishes a few at a time, hence the loop; that it wants to be entered is no reason to go on if nothing came: it
    // sets that flag after others can see a transfer (io_uring.c: io_req_local_work_add), so that a transfer finished by `submit`
    // may leave it behind, for good.
    do {
      if (hasWork()) enter(0, 0);
    } while (take(ended) > 0);
  }
  /// Completions that are there: `ended` gets user_data and result.
  template <typename Ended>
  void reap(Ended ended) {
    drainWake();
    // What the kernel finishes as it is entered would make the descriptor readable once more, for nothing.
    quiet();
    if (hasWork()) enter(0, 0);
    reapQuiet(ended);
  }
  /// Waits until nothing is in flight; nobody hears how it ended.
  void finish() {
    submit([](uint64_t) {});
    while (inFlight_ > 0) {
      enter(0, 1);
      take([](uint64_t, int) {});
    }
  }
  /// The kernel keeps this memory mapped for itself: entries may say that their buffers lie in it. False: they may not.
  bool keepMapped(void* memory, size_t bytes);

 private:
  static constexpr unsigned submissionsMax = 256, completionsMax = 2048, syncersMax = 128;

  Ring() = default;
  bool map(const io_uring_params& params);
  bool makeWake();
  void drainWake();
  /// The kernel has transfers to finish, for which it wants to be entered.
  bool hasWork() const { return (__atomic_load_n(flags_, __ATOMIC_ACQUIRE) & IORING_SQ_TASKRUN) != 0; }
  /// Returns how many there were.
  template <typename Ended>
  unsigned take(Ended ended) {
    const uint32_t first = *completionHead_;
    uint32_t head = first;
    for (; head != __atomic_load_n(completionTail_, __ATOMIC_ACQUIRE); ++head) {
      const io_uring_cqe completion = completions_[head & completionMask_];
      --inFlight_;
      ended(completion.user_data, completion.res);
    }
    __atomic_store_n(completionHead_, head, __ATOMIC_RELEASE);
    return head - first;
  }
  int enter(unsigned count, unsigned waitFor);
  bool enterAll();
  uint32_t queued() const { return tail_ - __atomic_load_n(submissionHead_, __ATOMIC_ACQUIRE); }
  uint64_t takeBackLast();

  int fd_ = -1, wakeFd_ = -1;
  size_t inFlight_ = 0;
  uint32_t tail_ = 0;
  void* rings_ = nullptr;
  size_t ringsBytes_ = 0, entriesBytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  io_uring_cqe* completions_ = nullptr;
  uint32_t *flags_ = nullptr, *submissionHead_ = nullptr, *submissionTail_ = nullptr, submissionMask_ = 0;
  uint32_t *completionHead_ = nullptr, *completionTail_ = nullptr, *completionFlags_ = nullptr, completionMask_ = 0;
};

/// A fixed amount of page-aligned memory, lent in blocks of a power of two pages (buddies).
class BouncePool {
 public:
  static constexpr size_t blockBytesMax = 1 << 20, bytes = 8 << 20;

  BouncePool();
  ~BouncePool();
  BouncePool(const BouncePool&) = delete;
  BouncePool& operator=(const BouncePool&) = delete;

  char* memory() const { return memory_; }
  /// null: none is free, or there was no memory at all.
  char* take(size_t wantBytes);
  void give(char* block);

 private:
  static constexpr size_t pageBytes = 4096, leaves = bytes / pageBytes;
  void update(size_t node, unsigned order);

  char* memory_ = nullptr;
  /// A binary tree: order of the largest free block below each node, plus one; 0: none.
  std::vector<uint8_t> freeOrder_;
};
