#include "addon.h"

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exportEngine(env, exports);
  exportFiles(env, exports);
  exportHost(env, exports);
  exportNbdNetlink(env, exports);
  exportSockets(env, exports);
  exportStreams(env, exports);
  exportTurn(env, exports);
  return exports;
}

NODE_API_MODULE(blockmesh, start)
