// What the addon keeps for each environment (the main thread's, a worker's).
#pragma once
#include <napi.h>

#include <memory>

class Engine;
class ReadLane;
class Relay;
class Streams;
class Turn;
class WriteLane;

struct Instance {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Streams> streams;
  std::shared_ptr<ReadLane> readLane;
  std::shared_ptr<Relay> relay;
  std::shared_ptr<Turn> turn;
  std::shared_ptr<WriteLane> writeLane;

  static Instance& of(Napi::Env env) {
    auto* known = env.GetInstanceData<Instance>();
    if (known == nullptr) {
      known = new Instance;
      env.SetInstanceData(known);
    }
    return *known;
  }
};
