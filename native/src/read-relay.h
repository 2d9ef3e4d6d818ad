// Reads that an NBD client asks for and that go to an SDS as they are. JavaScript has sent one like it, and has said with a
// route where more of the same chunk go; until it takes all routes back, requests are sent and answered here. Whatever does
// not end as it should is given back to JavaScript, as if the client asked now.
#pragma once
#include <napi.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "below.h"
#include "tallies.h"

class Engine;
class Streams;

/// Where reads of one chunk that come on one stream go.
struct ReadRoute {
  uint64_t serial = 0;  // of the client's stream; 0: none
  uint32_t dataId = 0;
  uint64_t dataSerial = 0;
  uint32_t slice = 0, epoch = 0, mapping = 0, volume = 0, chunk = 0, pool = 0;
  double mapVersion = 0;
  uint32_t tallyAt = 0;
  uint64_t generation = 0;
};

/// A read on its way to the SDS and back. Its place is used again when the SDS has answered, whoever still wants that: so an
/// answer is never taken for another one's, and an SDS never has more than it should.
struct RelayOp {
  /// Of the frame that was sent; 0: no answer is to come.
  uint32_t requestId = 0;
  /// The client waits for it; not: it has been given back, and has no memory.
  bool isWanted = false;
  uint32_t clientId = 0, dataId = 0;
  uint64_t clientSerial = 0, dataSerial = 0;
  uint32_t length = 0, tallyAt = 0;
  double sentAtMs = 0;
  char* block = nullptr;
  unsigned char request[28];
  unsigned char reply[28];
};

class ReadRelay : public Below {
 public:
  static ReadRelay& of(Napi::Env env);
  explicit ReadRelay(Napi::Env env) : env_(env) {}

  void start(const Napi::CallbackInfo& info);
  void route(const Napi::CallbackInfo& info);
  void takeBack(const Napi::CallbackInfo& info);

  bool begin(Stream& client, const unsigned char* request) override;
  bool answered(Stream& data, const unsigned char* header) override;
  void bodyEnded(Stream& data, uint32_t slot) override;
  void release(uint32_t slot) override;
  void streamGone(Stream& stream) override;

 private:
  void giveBack(RelayOp& op);
  /// No answer comes any more.
  void forget(RelayOp& op);
  void count(const RelayOp& op, Counter counter, double by);

  Napi::Env env_;
  std::shared_ptr<Engine> engine_;
  Streams* streams_ = nullptr;
  Napi::Reference<Napi::Float64Array> formArray_, talliesArray_;
  const double* form_ = nullptr;
  double* tallies_ = nullptr;
  std::vector<ReadRoute> routes_;
  std::deque<RelayOp> ops_;
  std::vector<uint32_t> free_;
  uint64_t generation_ = 1;
  uint32_t requests_ = 0;
};
