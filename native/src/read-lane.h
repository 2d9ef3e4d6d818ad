// Reads of data connections that JavaScript need not see. It has answered one of the same chunk on the same connection, has
// given a pass for more of them, and has not voided it since: then what it would do is known, and is done here. Whatever is
// not as the pass says goes to JavaScript as if it had just arrived, so that nothing is decided here.
#pragma once
#include <napi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "below.h"
#include "deadlines.h"
#include "engine.h"
#include "slots.h"
#include "tallies.h"
#include "wire.h"

class Streams;

/// What JavaScript has said about reads of one chunk on one connection.
struct ReadPass {
  uint64_t serial = 0;  // of the stream; 0: none
  wire::Place place;
  uint32_t handle = 0;  // the file
  uint64_t chunkAt = 0;
  uint32_t voidAt = 0, tallyAt = 0, deadlineAt = 0, otherDeadlineAt = 0;
  double voidAll = 0, voidChunk = 0;
};

/// A read under way, or its answer on its way out.
struct ReadOp {
  ReadPass pass;
  uint32_t streamId = 0;
  uint32_t offset = 0, length = 0;
  ReadBytes bytes;
  unsigned char header[64];
};

class ReadLane : public Below, public RingUser {
 public:
  static ReadLane& of(Napi::Env env);
  explicit ReadLane(Napi::Env env) : env_(env) {}

  void start(const Napi::CallbackInfo& info);
  void give(const Napi::CallbackInfo& info);

  /// Whether the request is read and answered here.
  bool begin(Stream& stream, const unsigned char* header) override;
  void ended(uint32_t slot, int result) override;
  /// An answer has left, or never will.
  void release(uint32_t slot) override;

 private:
  const ReadPass* passFor(const Stream& stream, const unsigned char* header);
  bool isValid(const ReadPass& pass) const;
  /// The first piece is its header's.
  void answer(Stream& stream, uint32_t slot, const std::vector<iovec>& pieces);
  /// In the tally of the pass, and in that of everything.
  void count(const ReadOp& op, Counter counter, double by) {
    countIn(tallies_, 0, counter, by);
    countIn(tallies_, op.pass.tallyAt, counter, by);
  }

  Napi::Env env_;
  std::shared_ptr<Engine> engine_;
  Streams* streams_ = nullptr;
  Napi::Reference<Napi::Float64Array> formArray_, voidsArray_, talliesArray_;
  const double *form_ = nullptr, *voids_ = nullptr;
  double* tallies_ = nullptr;
  Deadlines deadlines_;
  std::vector<ReadPass> passes_;
  Slots<ReadOp> ops_{1024};
  /// Of one answer.
  std::vector<iovec> pieces_;
};
