// Reads and writes that an NBD client asks for and that go to an SDS as they are. JavaScript has sent one like it, and has said
// with a route where more of the same slice go; until it takes all routes back, requests are sent and answered here. Whatever
// does not end as it should is given back to JavaScript, as if the client asked now.
#pragma once
#include <napi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "below.h"
#include "slots.h"
#include "tallies.h"
#include "wire.h"

class Engine;
class Streams;

/// Where requests for the chunks of one slice that come on one stream go: chunks of one rest by the number of slices.
struct Route {
  uint64_t serial = 0;  // of the client's stream; 0: none
  uint32_t rest = 0;
  /// The volume ends there.
  uint64_t chunkCount = 0;
  uint32_t dataId = 0;
  uint64_t dataSerial = 0;
  wire::Place place;
  uint32_t readTallyAt = 0, writeTallyAt = 0;
  /// Number of the notes that a write needs before it is answered; 0: writes have no route.
  uint32_t notes = 0;
  uint64_t generation = 0;
};

/// What a FLUSH has to cover of one volume, shared with JavaScript (src/sdc/flush-file.ts): for each slice the epoch since which
/// something is unflushed.
struct FlushNotes {
  /// Writes that were sent and that the SDS has not answered, whoever still wants that.
  uint32_t unanswered = 0;
  Napi::Reference<Napi::Uint32Array> cellsArray, belowArray;
  /// As the file says, which the next process reads.
  const uint32_t* cells = nullptr;
  /// As this process has answered here.
  uint32_t* below = nullptr;
};

/// A request on its way to the SDS and back. Its place is used again when the SDS has answered, whoever still wants that: so an
/// answer is never taken for another one's, and an SDS never has more than it should.
struct RelayOp {
  /// Of the frame that was sent; 0: no answer is to come.
  uint32_t requestId = 0;
  bool isWrite = false;
  /// The client waits for it; not: it has been given back.
  bool isWanted = false;
  /// The payload is coming in, is going out: its memory is needed.
  bool isComing = false, isLeaving = false;
  uint32_t clientId = 0, dataId = 0;
  uint64_t clientSerial = 0, dataSerial = 0;
  uint32_t length = 0, tallyAt = 0, notes = 0, slice = 0, epoch = 0;
  double sentAtMs = 0;
  char* block = nullptr;
  unsigned char request[wire::nbdRequestBytes];
  unsigned char reply[wire::nbdChunkBytes];
};

class Relay : public Below {
 public:
  static Relay& of(Napi::Env env);
  explicit Relay(Napi::Env env) : env_(env) {}

  void start(const Napi::CallbackInfo& info);
  Napi::Value addNotes(const Napi::CallbackInfo& info);
  Napi::Value unanswered(const Napi::CallbackInfo& info);
  void dropNotes(const Napi::CallbackInfo& info);
  void route(const Napi::CallbackInfo& info);
  void takeBack(const Napi::CallbackInfo& info);

  /// Of a client.
  bool begin(Stream& client, const unsigned char* request) override;
  /// Of an SDS.
  bool answered(Stream& data, const unsigned char* header) override;
  bool sendsOn(const Stream& data, const unsigned char* header) const override;
  void sendOn(Stream& data, const unsigned char* header, const iovec* body, size_t count) override;
  void bodyEnded(Stream& stream, uint32_t slot) override;
  void release(uint32_t slot) override;
  void streamGone(Stream& stream) override;

 private:
  const Route* routeOf(const Stream& client, const unsigned char* request) const;
  Stream* wayOf(const Route& route) const;
  bool isNoted(uint32_t notes, uint32_t slice, uint32_t epoch) const;
  void send(uint32_t slot, const Route& route, Stream& data);
  bool isAnswerTo(const RelayOp& op, const unsigned char* header) const;
  uint32_t slotOf(const Stream& data, const unsigned char* header) const;
  Stream* clientOf(const RelayOp& op) const;
  bool answer(uint32_t slot, const iovec* bytes, size_t count);
  void giveBack(uint32_t slot);
  void noAnswer(uint32_t slot);
  void freeIfOver(uint32_t slot);
  void tally(const RelayOp& op, Counter counter, double by);

  Napi::Env env_;
  std::shared_ptr<Engine> engine_;
  Streams* streams_ = nullptr;
  Napi::Reference<Napi::Float64Array> formArray_, talliesArray_;
  const double* form_ = nullptr;
  double* tallies_ = nullptr;
  std::vector<Route> routes_;
  std::vector<FlushNotes> notes_;
  std::vector<uint32_t> freeNotes_;
  static constexpr uint32_t opsMax = 1 << 9;
  Slots<RelayOp> ops_{opsMax};
  uint64_t generation_ = 1;
  uint32_t requests_ = 0;
  /// Of one answer.
  std::vector<iovec> pieces_;
};
