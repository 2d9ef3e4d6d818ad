// Writes, and reads beside them, of chunks that JavaScript has given away for a while: it has carried out one there, keeps the
// chunk locked for the lane from then on, and has given a pass. Until the pass ends, what comes for the chunk on that connection
// goes to the disk, and at a primary to the other copy, and is answered here. A pass ends when JavaScript ends it, or by itself as
// soon as something cannot be done; what is then unfinished is handed over. Nothing is decided here.
#pragma once
#include <napi.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "below.h"
#include "deadlines.h"
#include "engine.h"
#include "slots.h"
#include "tallies.h"
#include "wire.h"
#include "write-gate.h"

class Streams;

/// What JavaScript has said about one chunk and one connection.
struct WritePass {
  uint64_t serial = 0;  // of the stream
  wire::Place place;
  uint32_t handle = 0;  // the file
  uint64_t chunkAt = 0;
  uint32_t tallyAt = 0, totalAt = 0, readTallyAt = 0, readTotalAt = 0;
  /// Of the connection to the other copy; 0: this is the other copy.
  uint32_t peerId = 0;
  uint64_t peerSerial = 0;
  /// Before them reads may be answered.
  uint32_t deadlineAt = 0, otherDeadlineAt = 0;
  /// The operation of the file engine that ends with the pass.
  uint32_t endsOp = 0;
  enum { free, open, ending, ended } state = free;
  /// Operations that the disk has, or the other copy.
  std::vector<uint32_t> underWay;
  uint32_t done = 0;
  int diskError = 0;
  /// Writes that were begun and not finished, one behind the other.
  std::string unfinished;
};

struct LaneOp {
  uint32_t pass = 0;
  uint32_t clientId = 0;
  uint64_t clientSerial = 0;
  uint32_t offset = 0, length = 0;
  bool isRead = false;
  /// What it waits for: its turn, the disk, the other copy's answer, and that its payload has left for there.
  bool isWaiting = false, onDisk = false, atPeer = false, isLeaving = false;
  bool hasFailed = false;
  /// Goes with a group of its gate.
  bool isGrouped = false;
  /// Counts in its pass.
  bool isUnderWay = false;
  /// Of the frame to the other copy; 0: it was not sent.
  uint32_t requestId = 0;
  uint64_t peerSerial = 0;
  /// Of a write the block alone.
  ReadBytes bytes;
  unsigned char header[64];
};

class WriteLane : public Below, public RingUser {
 public:
  static WriteLane& of(Napi::Env env);
  explicit WriteLane(Napi::Env env) : env_(env) {}

  void start(const Napi::CallbackInfo& info);
  Napi::Value serves(const Napi::CallbackInfo& info);
  void inGroups(const Napi::CallbackInfo& info);
  Napi::Value give(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  void cut(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);
  Napi::Value error(const Napi::CallbackInfo& info);
  Napi::Value done(const Napi::CallbackInfo& info);

  bool begin(Stream& stream, const unsigned char* header) override;
  /// Of the other copy.
  bool answered(Stream& peer, const unsigned char* header) override;
  void bodyEnded(Stream& stream, uint32_t slot) override;
  void release(uint32_t slot) override;
  void streamGone(Stream& stream) override;
  void ended(uint32_t slot, int result) override;
  void looked() override;

 private:
  struct Key {
    uint64_t serial, chunk;
    bool operator==(const Key& other) const { return serial == other.serial && chunk == other.chunk; }
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      uint64_t mixed = (key.serial * 0x9e3779b97f4a7c15 + key.chunk) * 0xff51afd7ed558ccd;
      return mixed ^ mixed >> 33;
    }
  };

  WritePass* passFor(const Stream& stream, const unsigned char* header, uint32_t& slot);
  /// The same, where it was before. null: it has ended.
  WritePass* passAt(uint32_t slot, const Stream& stream, const unsigned char* header);
  bool overlaps(const WritePass& pass, uint32_t offset, uint32_t length, bool isRead) const;
  Stream* peerOf(const WritePass& pass);
  WriteGate& gateOf(const WritePass& pass);
  bool beginOnDisk(LaneOp& op, uint32_t slot);
  void beginWaiting(WriteGate& gate);
  void beginTurn(LaneOp& op, uint32_t slot);
  void neverBegun(LaneOp& op, uint32_t slot);
  void beginUnderWay(LaneOp& op, uint32_t slot);
  void sendToPeer(LaneOp& op, uint32_t slot, Stream& peer);
  void settle(LaneOp& op, uint32_t slot);
  /// null: the client is gone. The first piece is its header's, the others what was read.
  void answer(LaneOp& op, uint32_t slot, Stream* client, const std::vector<iovec>& pieces);
  uint64_t diskOffsetOf(const LaneOp& op) const { return passes_[op.pass].chunkAt + op.offset; }
  void giveBack(LaneOp& op);
  void endPass(WritePass& pass);
  void endIfIdle(WritePass& pass);
  void freeIfOver(LaneOp& op, uint32_t slot);
  void count(const LaneOp& op, Counter counter, double by);

  Napi::Env env_;
  std::shared_ptr<Engine> engine_;
  Streams* streams_ = nullptr;
  Napi::Reference<Napi::Float64Array> formArray_, talliesArray_;
  const double* form_ = nullptr;
  double* tallies_ = nullptr;
  Deadlines deadlines_;
  Slots<WritePass> passes_;
  std::unordered_map<Key, uint32_t, KeyHash> byChunk_;
  static constexpr uint32_t opsMax = 1024;
  Slots<LaneOp> ops_{opsMax};
  uint32_t requests_ = 0;
  /// By handle.
  std::deque<WriteGate> gates_;
  /// Of one answer.
  std::vector<iovec> pieces_;
};
