#include "addon.h"

#include <malloc.h>

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  // Large buffers go back to the system when they are given up. By itself glibc takes them from its heap, where they leave
  // holes for good, once the first one has been freed.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  exportEngine(env, exports);
  exportFiles(env, exports);
  exportHost(env, exports);
  exportNbdNetlink(env, exports);
  exportReadLane(env, exports);
  exportRelay(env, exports);
  exportSockets(env, exports);
  exportStreams(env, exports);
  exportTurn(env, exports);
  exportWriteLane(env, exports);
  return exports;
}

NODE_API_MODULE(blockmesh, start)
