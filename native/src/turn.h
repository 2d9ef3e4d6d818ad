// The turn of the event loop: what files and sockets have brought in one of them is told to JavaScript in one call.
#pragma once
#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>

class Engine;
class Streams;

class Turn {
 public:
  static Turn& of(Napi::Env env);
  explicit Turn(Napi::Env env) : env_(env) {}

  /// turnStart(onTurn: (completions, events) => void)
  void start(const Napi::CallbackInfo& info);

  // Who has something to tell; each fills its own array with what fits and returns how much that is.
  Engine* engine = nullptr;
  Streams* streams = nullptr;

 private:
  void end();
  /// Whether there was anything to tell.
  bool tell();
  void shutDown();

  Napi::Env env_;
  uv_prepare_t* prepare_ = nullptr;
  uv_check_t* check_ = nullptr;
  Napi::FunctionReference onTurn_;
  Napi::ObjectReference resource_;
  std::unique_ptr<Napi::AsyncContext> context_;
};
