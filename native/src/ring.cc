#include "ring.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

std::unique_ptr<Ring> Ring::open() {
  io_uring_params params{};
  // Nothing interrupts the event loop: the kernel finishes transfers when we enter it for completions (Linux 6.1).
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = completionsMax;
  const int fd = static_cast<int>(syscall(SYS_io_uring_setup, submissionsMax, &params));
  if (fd < 0) return nullptr;
  std::unique_ptr<Ring> ring(new Ring);
  ring->fd_ = fd;
  if (params.cq_entries < completionsMax || !ring->map(params) || !ring->makeWake()) return nullptr;
  // Those that sync. By default there are few, and disks that hang would keep the others from it; where it cannot be said,
  // so be it (Linux 5.15).
  uint32_t workersMax[2] = {syncersMax, 0};
  (void)syscall(SYS_io_uring_register, fd, IORING_REGISTER_IOWQ_MAX_WORKERS, workersMax, 2);
  return ring;
}

bool Ring::map(const io_uring_params& params) {
  const size_t submissionBytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  const size_t completionBytes = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) return false;
  const auto mapped = [this](size_t bytes, off_t what) {
    return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, what);
  };
  ringsBytes_ = std::max(submissionBytes, completionBytes);
  void* rings = mapped(ringsBytes_, IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) return false;
  rings_ = rings;
  entriesBytes_ = params.sq_entries * sizeof(io_uring_sqe);
  void* entries = mapped(entriesBytes_, IORING_OFF_SQES);
  if (entries == MAP_FAILED) return false;
  entries_ = static_cast<io_uring_sqe*>(entries);
  char* base = static_cast<char*>(rings_);
  const auto at = [base](uint32_t offset) { return reinterpret_cast<uint32_t*>(base + offset); };
  flags_ = at(params.sq_off.flags);
  submissionHead_ = at(params.sq_off.head);
  submissionTail_ = at(params.sq_off.tail);
  submissionMask_ = *at(params.sq_off.ring_mask);
  completionHead_ = at(params.cq_off.head);
  completionTail_ = at(params.cq_off.tail);
  completionFlags_ = at(params.cq_off.flags);
  completionMask_ = *at(params.cq_off.ring_mask);
  completions_ = reinterpret_cast<io_uring_cqe*>(base + params.cq_off.cqes);
  // Place i of the queue is always entry i.
  for (uint32_t i = 0; i < params.sq_entries; ++i) at(params.sq_off.array)[i] = i;
  tail_ = *submissionTail_;
  return true;
}

Ring::~Ring() {
  if (entries_ != nullptr) munmap(entries_, entriesBytes_);
  if (rings_ != nullptr) munmap(rings_, ringsBytes_);
  if (fd_ >= 0) close(fd_);
  if (wakeFd_ >= 0) close(wakeFd_);
}

/// The ring's own descriptor is not woken for work that waits for us to enter; an eventfd is.
bool Ring::makeWake() {
  wakeFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return wakeFd_ >= 0 && syscall(SYS_io_uring_register, fd_, IORING_REGISTER_EVENTFD, &wakeFd_, 1) == 0;
}

void Ring::drainWake() {
  uint64_t count;
  while (read(wakeFd_, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

io_uring_sqe* Ring::next() {
  if (queued() > submissionMask_) return nullptr;
  io_uring_sqe* entry = &entries_[tail_++ & submissionMask_];
  memset(entry, 0, sizeof *entry);
  ++inFlight_;
  return entry;
}

int Ring::enter(unsigned count, unsigned waitFor) {
  const long taken = syscall(SYS_io_uring_enter, fd_, count, waitFor, IORING_ENTER_GETEVENTS, nullptr, 0);
  return taken < 0 ? -errno : static_cast<int>(taken);
}

bool Ring::enterAll() {
  __atomic_store_n(submissionTail_, tail_, __ATOMIC_RELEASE);
  while (queued() > 0) {
    const int taken = enter(queued(), 0);
    if (taken == -EINTR) continue;
    if (taken <= 0) return false;
  }
  return true;
}

/// The kernel reads entries only within `enter`, so what it has not read there is ours again.
uint64_t Ring::takeBackLast() {
  --inFlight_;
  __atomic_store_n(submissionTail_, --tail_, __ATOMIC_RELEASE);
  return entries_[tail_ & submissionMask_].user_data;
}

bool Ring::keepMapped(void* memory, size_t bytes) {
  iovec whole{memory, bytes};
  return syscall(SYS_io_uring_register, fd_, IORING_REGISTER_BUFFERS, &whole, 1) == 0;
}

BouncePool::BouncePool() {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  memory_ = static_cast<char*>(memory);
  freeOrder_.resize(2 * leaves - 1);
  unsigned order = __builtin_ctzll(leaves);
  for (size_t node = 0, left = 1; node < freeOrder_.size(); --order, left *= 2)
    for (size_t i = 0; i < left; ++i) freeOrder_[node++] = static_cast<uint8_t>(order + 1);
}

BouncePool::~BouncePool() {
  if (memory_ != nullptr) munmap(memory_, bytes);
}

char* BouncePool::take(size_t wantBytes) {
  if (memory_ == nullptr || wantBytes == 0 || wantBytes > blockBytesMax) return nullptr;
  unsigned want = 0;
  while ((pageBytes << want) < wantBytes) ++want;
  if (freeOrder_[0] <= want) return nullptr;
  size_t node = 0;
  unsigned order = __builtin_ctzll(leaves);
  for (; order > want; --order) {
    // The side with less to give, so that large blocks stay whole.
    const uint8_t left = freeOrder_[2 * node + 1], right = freeOrder_[2 * node + 2];
    const bool goLeft = left > want && (right <= want || left <= right);
    node = 2 * node + (goLeft ? 1 : 2);
  }
  freeOrder_[node] = 0;
  char* block = memory_ + ((node + 1) * (size_t{1} << order) - leaves) * pageBytes;
  update(node, order);
  return block;
}

void BouncePool::give(char* block) {
  size_t node = static_cast<size_t>(block - memory_) / pageBytes + leaves - 1;
  unsigned order = 0;
  // Below a block that is lent nothing is, so the first node without anything to give is the block's.
  for (; freeOrder_[node] != 0; ++order) node = (node - 1) / 2;
  freeOrder_[node] = static_cast<uint8_t>(order + 1);
  update(node, order);
}

/// Makes the nodes above `node` right again.
void BouncePool::update(size_t node, unsigned order) {
  while (node > 0) {
    node = (node - 1) / 2;
    ++order;
    const uint8_t left = freeOrder_[2 * node + 1], right = freeOrder_[2 * node + 2];
    freeOrder_[node] = left == order && right == order ? static_cast<uint8_t>(order + 1) : std::max(left, right);
  }
}
