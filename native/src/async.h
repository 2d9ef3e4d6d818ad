// System calls that may block run here: on a thread of libuv's pool, answered with a promise.
#pragma once
#include <napi.h>

#include <cerrno>
#include <functional>
#include <string>
#include <utility>

/// What a verb did: 0, or an errno with the call that failed and, where the kernel explained itself, its words.
struct Outcome {
  int error = 0;
  const char* call = "";
  std::string words;
};

inline Outcome failed(const char* call, int error) { return {error, call, ""}; }
inline Outcome failed(const char* call) { return {errno, call, ""}; }

/// The JavaScript error of an outcome: `errno` (positive), `call` and `words`; src/io/addon.ts makes sentences of it.
inline Napi::Error errorOf(Napi::Env env, const Outcome& outcome) {
  Napi::Error error = Napi::Error::New(env, outcome.call);
  error.Set("errno", Napi::Number::New(env, outcome.error));
  error.Set("call", Napi::String::New(env, outcome.call));
  error.Set("words", Napi::String::New(env, outcome.words));
  return error;
}

template <typename Result>
class AsyncVerb : public Napi::AsyncWorker {
 public:
  using Run = std::function<Outcome(Result&)>;
  using Answer = std::function<Napi::Value(Napi::Env, Result&)>;

  /// `run` works off the event loop, `answer` turns its result into the promise's value on it.
  static Napi::Value start(Napi::Env env, Run run, Answer answer) {
    auto* verb = new AsyncVerb(env, std::move(run), std::move(answer));
    Napi::Promise promise = verb->deferred_.Promise();
    verb->Queue();
    return promise;
  }

 protected:
  void Execute() override { outcome_ = run_(result_); }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (outcome_.error != 0)
      deferred_.Reject(errorOf(Env(), outcome_).Value());
    else
      deferred_.Resolve(answer_(Env(), result_));
  }

 private:
  AsyncVerb(Napi::Env env, Run run, Answer answer)
      : Napi::AsyncWorker(env), deferred_(env), run_(std::move(run)), answer_(std::move(answer)) {}

  Napi::Promise::Deferred deferred_;
  Run run_;
  Answer answer_;
  Result result_{};
  Outcome outcome_;
};
