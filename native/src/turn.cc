#include "turn.h"

#include "addon.h"
#include "engine.h"
#include "instance.h"
#include "streams.h"

namespace {

/// Looks at shared memory before sockets and timers have their turn again.
constexpr int looksMax = 8;

}  // namespace

Turn& Turn::of(Napi::Env env) {
  std::shared_ptr<Turn>& turn = Instance::of(env).turn;
  if (turn == nullptr) turn = std::make_shared<Turn>(env);
  return *turn;
}

void Turn::start(const Napi::CallbackInfo& info) {
  uv_loop_t* loop = nullptr;
  if (check_ != nullptr) throw Napi::Error::New(env_, "the turns have started already");
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) throw Napi::Error::New(env_, "there is no event loop");
  onTurn_ = Napi::Persistent(info[0].As<Napi::Function>());
  resource_ = Napi::Persistent(Napi::Object::New(env_));
  context_ = std::make_unique<Napi::AsyncContext>(env_, "blockmesh turn", resource_.Value());
  check_ = new uv_check_t;
  check_->data = this;
  uv_check_init(loop, check_);
  // libuv runs hooks of this kind last one first: ours comes after all sockets of the turn and before Node's own.
  uv_check_start(check_, [](uv_check_t* check) { static_cast<Turn*>(check->data)->end(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(check_));
  prepare_ = new uv_prepare_t;
  prepare_->data = this;
  uv_prepare_init(loop, prepare_);
  uv_prepare_start(prepare_, [](uv_prepare_t* prepare) {
    if (Streams* streams = static_cast<Turn*>(prepare->data)->streams; streams != nullptr) streams->restShared();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(prepare_));
  napi_add_env_cleanup_hook(env_, [](void* turn) { static_cast<Turn*>(turn)->shutDown(); }, this);
}

void Turn::end() {
  for (int looks = 0; looks < looksMax; ++looks) {
    if (streams != nullptr) streams->lookAtShared();
    // The lanes go first: what they do not do themselves is told behind.
    if (engine != nullptr) engine->reap();
    // What others wait for leaves before our own disk is given work: a secondary writes while we do.
    if (streams != nullptr) streams->sendAppended();
    if (engine != nullptr) engine->submitBegun();
    // What has ended in the meantime is answered at once.
    if (streams != nullptr) streams->sendAppended();
    while (tell()) {
    }
    if (streams == nullptr) return;
    streams->calm();
    if (!streams->sharedCanGoOn()) return;
  }
}

bool Turn::tell() {
  if ((engine == nullptr || !engine->hasEnded()) && (streams == nullptr || !streams->hasPending())) return false;
  Napi::HandleScope scope(env_);
  const uint32_t completions = engine == nullptr ? 0 : engine->takeEnded();
  const uint32_t events = streams == nullptr ? 0 : streams->takePending();
  // The scope's end runs what JavaScript has put off to it. What that throws goes up to the process; within a call of
  // ours, as of napi_make_callback, it would stay, and every later call would fail for it.
  Napi::CallbackScope turn(env_, *context_);
  napi_value self = resource_.Value(), arguments[2];
  napi_create_uint32(env_, completions, &arguments[0]);
  napi_create_uint32(env_, events, &arguments[1]);
  // JavaScript's side throws nothing itself: it must hear of the rest in any case.
  napi_call_function(env_, self, onTurn_.Value(), 2, arguments, nullptr);
  return true;
}

void Turn::shutDown() {
  engine = nullptr;
  streams = nullptr;
  context_ = nullptr;
  uv_prepare_stop(prepare_);
  uv_close(reinterpret_cast<uv_handle_t*>(prepare_), [](uv_handle_t* prepare) { delete reinterpret_cast<uv_prepare_t*>(prepare); });
  uv_check_stop(check_);
  uv_close(reinterpret_cast<uv_handle_t*>(check_), [](uv_handle_t* check) { delete reinterpret_cast<uv_check_t*>(check); });
}

void exportTurn(Napi::Env env, Napi::Object exports) {
  exports.Set("turnStart", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                Turn::of(info.Env()).start(info);
              }));
}
