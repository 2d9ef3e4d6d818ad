// Preloaded into a process: after every call of io_uring_enter the ring says that the kernel wants to be entered for transfers,
// although there are none. So it is where the kernel sets the flag after somebody has seen the transfer already
// (io_uring/io_uring.c: io_req_local_work_add sets it behind the list's back).
#include "ring-calls.h"

namespace {

uint32_t flagsAt = 0;
uint32_t* flags = nullptr;

}  // namespace

void ring_calls::madeRing(const io_uring_params& params) { flagsAt = params.sq_off.flags; }

void ring_calls::mappedRing(char* memory, off64_t what) {
  if (what == IORING_OFF_SQ_RING) flags = reinterpret_cast<uint32_t*>(memory + flagsAt);
}

void ring_calls::beforeEnter() {}

void ring_calls::afterEnter() {
  if (flags != nullptr) __atomic_fetch_or(flags, IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST);
}
