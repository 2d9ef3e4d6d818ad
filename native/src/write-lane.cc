#include "write-lane.h"

#include <algorithm>
#include <cerrno>

#include "addon.h"
#include "instance.h"
#include "streams.h"
#include "wire.h"

using namespace wire;

namespace {

/// Larger transfers are rare enough for JavaScript, and would take all of the memory that there is for them.
constexpr uint32_t lengthMax = 128 << 10;
constexpr uint32_t sectorBytes = 512;
/// Larger writes do not go in groups: the disk is busy with them for longer than it takes to answer the others.
constexpr uint32_t groupedMax = 16 << 10;
/// At one other copy at a time: with those of JavaScript less than it takes before it stops reading.
constexpr uint32_t awaitedMax = 192;
/// Request ids of JavaScript's to other copies are below, see src/sds/peer.ts.
constexpr uint32_t ourIds = 1u << 31;

uint64_t chunkOf(uint32_t volume, uint32_t chunk) { return uint64_t{volume} << 32 | chunk; }

}  // namespace

WriteLane& WriteLane::of(Napi::Env env) {
  std::shared_ptr<WriteLane>& lane = Instance::of(env).writeLane;
  if (lane == nullptr) lane = std::make_shared<WriteLane>(env);
  return *lane;
}

/// writeLaneStart(form: Float64Array, tallies: Float64Array, deadlines: Float64Array)
void WriteLane::start(const Napi::CallbackInfo& info) {
  if (form_ != nullptr) throw Napi::Error::New(env_, "the write lane has started already");
  formArray_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  talliesArray_ = Napi::Persistent(info[1].As<Napi::Float64Array>());
  form_ = formArray_.Value().Data();
  tallies_ = talliesArray_.Value().Data();
  deadlines_.share(info[2]);
  engine_ = Engine::of(env_);
  streams_ = &Streams::of(env_);
  streams_->belowFrames.push_back(this);
}

/// writeLaneServes(handle): boolean
Napi::Value WriteLane::serves(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(env_, engine_->hasRing(info[0].As<Napi::Number>().Uint32Value()));
}

/// writeLaneGroups(): every disk is taken for one that ends all its writes together from here on.
void WriteLane::inGroups(const Napi::CallbackInfo&) { WriteGate::isAlwaysHolding = true; }

/// writePassGive(): number; what the form says, src/io/write-passes.ts fills it in. -1: not on this connection or disk.
Napi::Value WriteLane::give(const Napi::CallbackInfo&) {
  enum Field { stream, slice, epoch, mapping, volume, chunk, pool, handle, chunkAt, tallyAt, totalAt, readTallyAt, readTotalAt, peer, mapVersion, deadline, otherDeadline, endsOp };
  const auto field = [this](Field which) { return static_cast<uint32_t>(form_[which]); };
  const Stream* of = streams_->find(field(stream));
  const Stream* to = form_[peer] < 0 ? nullptr : streams_->find(field(peer));
  const Napi::Value none = Napi::Number::New(env_, -1);
  if (of == nullptr || of->carries != Carries::frames || !engine_->hasRing(field(handle))) return none;
  if (form_[peer] >= 0 && (to == nullptr || to->carries != Carries::frames)) return none;
  const Key key{of->serial, chunkOf(field(volume), field(chunk))};
  if (byChunk_.count(key) > 0) return none;
  const auto slot = static_cast<uint32_t>(passes_.take());
  byChunk_[key] = slot;
  WritePass& pass = passes_[slot];
  pass.serial = of->serial;
  pass.place = {field(slice), field(epoch), field(mapping), field(volume), field(chunk), field(pool),
                static_cast<uint64_t>(form_[mapVersion])};
  pass.handle = field(handle);
  pass.chunkAt = static_cast<uint64_t>(form_[chunkAt]);
  pass.tallyAt = field(tallyAt);
  pass.totalAt = field(totalAt);
  pass.readTallyAt = field(readTallyAt);
  pass.readTotalAt = field(readTotalAt);
  pass.peerId = to == nullptr ? 0 : to->id;
  pass.peerSerial = to == nullptr ? 0 : to->serial;
  pass.deadlineAt = field(deadline);
  pass.otherDeadlineAt = field(otherDeadline);
  pass.endsOp = field(endsOp);
  pass.state = WritePass::open;
  return Napi::Number::New(env_, slot);
}

/// writePassEnd(pass): nothing more is taken under it.
void WriteLane::end(const Napi::CallbackInfo& info) { endPass(passes_[info[0].As<Napi::Number>().Uint32Value()]); }

/// writePassCut(pass), after its end: what waits for the other copy alone is not waited for any longer, and what waits for its
/// turn does not begin.
void WriteLane::cut(const Napi::CallbackInfo& info) {
  const WritePass& pass = passes_[info[0].As<Napi::Number>().Uint32Value()];
  const std::vector<uint32_t> all = pass.underWay;
  for (const uint32_t slot : all)
    if (ops_[slot].isWaiting) {
      gateOf(pass).remove(slot);
      neverBegun(ops_[slot], slot);
    } else if (ops_[slot].atPeer) {
      ops_[slot].hasFailed = true;
      settle(ops_[slot], slot);
    }
}

/// writePassTake(pass): Buffer of the writes that were begun and not finished, once it has ended; its number may be used again.
Napi::Value WriteLane::take(const Napi::CallbackInfo& info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  WritePass& pass = passes_[slot];
  auto unfinished = Napi::Buffer<char>::Copy(env_, pass.unfinished.data(), pass.unfinished.size());
  pass.unfinished = std::string();
  pass.state = WritePass::free;
  passes_.free(slot);
  return unfinished;
}

/// writePassError(pass): the errno that a write was ended with by the disk, after the pass has ended; 0: none was.
Napi::Value WriteLane::error(const Napi::CallbackInfo& info) {
  return Napi::Number::New(env_, passes_[info[0].As<Napi::Number>().Uint32Value()].diskError);
}

/// writePassDone(pass): number of what has been carried out under it.
Napi::Value WriteLane::done(const Napi::CallbackInfo& info) {
  return Napi::Number::New(env_, passes_[info[0].As<Napi::Number>().Uint32Value()].done);
}

void WriteLane::endPass(WritePass& pass) {
  if (pass.state != WritePass::open) return;
  pass.state = WritePass::ending;
  engine_->began();
  byChunk_.erase({pass.serial, chunkOf(pass.place.volume, pass.place.chunk)});
  endIfIdle(pass);
}

void WriteLane::endIfIdle(WritePass& pass) {
  if (pass.state != WritePass::ending || !pass.underWay.empty()) return;
  pass.state = WritePass::ended;
  engine_->endedAt(pass.endsOp);
  streams_->hurry();
}

WritePass* WriteLane::passFor(const Stream& stream, const unsigned char* header, uint32_t& slot) {
  const auto found = byChunk_.find({stream.serial, chunkOf(word(header, atVolume), word(header, atChunk))});
  if (found == byChunk_.end()) return nullptr;
  return passAt(slot = found->second, stream, header);
}

WritePass* WriteLane::passAt(uint32_t slot, const Stream& stream, const unsigned char* header) {
  WritePass& pass = passes_[slot];
  const wire::Place& place = pass.place;
  const bool isMeant = pass.state == WritePass::open && pass.serial == stream.serial && place.volume == word(header, atVolume) &&
                       place.chunk == word(header, atChunk);
  const bool isLike = word(header, atFlags) == 0 && place.slice == word(header, atSlice) && place.epoch == word(header, atEpoch) &&
                      place.pool == word(header, atPool) && place.mapping == word(header, atMapping);
  return isMeant && isLike ? &pass : nullptr;
}

/// Whether something under way is in the way of this.
bool WriteLane::overlaps(const WritePass& pass, uint32_t offset, uint32_t length, bool isRead) const {
  return std::any_of(pass.underWay.begin(), pass.underWay.end(), [&](uint32_t slot) {
    const LaneOp& op = ops_[slot];
    return !(isRead && op.isRead) && op.offset < offset + length && offset < op.offset + op.length;
  });
}

bool WriteLane::begin(Stream& stream, const unsigned char* header) {
  if (byChunk_.empty()) return false;
  uint32_t passSlot = 0;
  const uint32_t what = word(header, 0);
  WritePass* pass = what == readWord || what == writeWord || what == copyWriteWord ? passFor(stream, header, passSlot) : nullptr;
  if (pass == nullptr) return false;
  const bool isRead = what == readWord;
  if (what == copyWriteWord ? pass->peerSerial != 0 : pass->peerSerial == 0) return false;
  const uint32_t offset = word(header, atOffset), length = word(header, atLength);
  if (length == 0 || length > lengthMax || offset > chunkBytes - length || (offset | length) % sectorBytes != 0) return false;
  if (word(header, atBodyBytes) != (isRead ? 0 : length) || !streams_->takesMore(stream)) return false;
  if (isRead && (!deadlines_.areAhead(pass->deadlineAt, pass->otherDeadlineAt) || overlaps(*pass, offset, length, true))) return false;
  const int64_t taken = ops_.take();
  if (taken < 0) return false;
  const auto slot = static_cast<uint32_t>(taken);
  LaneOp& op = ops_[slot];
  op.pass = passSlot;
  op.clientId = stream.id;
  op.clientSerial = stream.serial;
  op.offset = offset;
  op.length = length;
  op.isRead = isRead;
  memcpy(op.header, header, frameHeaderBytes);
  if (!isRead) {
    op.bytes.block = engine_->takeBlock(length);
    if (op.bytes.block != nullptr) {
      stream.takeBody(*this, slot, op.bytes.block);
      return true;
    }
    ops_.free(slot);
    return false;
  }
  pieces_.assign({{op.header, frameHeaderBytes}});
  switch (engine_->beginRead(*this, slot, pass->handle, diskOffsetOf(op), length, op.bytes, pieces_)) {
    case Engine::Begun::there:
      answer(op, slot, &stream, pieces_);
      return true;
    case Engine::Begun::underWay:
      op.onDisk = true;
      beginUnderWay(op, slot);
      return true;
    case Engine::Begun::refused:
      break;
  }
  ops_.free(slot);
  return false;
}

void WriteLane::beginUnderWay(LaneOp& op, uint32_t slot) {
  WritePass& pass = passes_[op.pass];
  op.isUnderWay = true;
  pass.underWay.push_back(slot);
  count(op, underWayNow, 1);
}

void WriteLane::bodyEnded(Stream& stream, uint32_t slot) {
  LaneOp& op = ops_[slot];
  // The pass may have ended while the payload came in, and its number be another one's.
  WritePass* pass = passAt(op.pass, stream, op.header);
  Stream* peer = pass == nullptr ? nullptr : peerOf(*pass);
  const bool isReachable = pass != nullptr && (pass->peerSerial == 0 || (peer != nullptr && peer->awaited < awaitedMax &&
                                                                         streams_->takesMore(*peer)));
  if (!isReachable || overlaps(*pass, op.offset, op.length, false) || (peer == nullptr && !beginOnDisk(op, slot))) {
    giveBack(op);
    freeIfOver(op, slot);
    return;
  }
  beginUnderWay(op, slot);
  if (peer == nullptr) return;
  ++peer->awaited;
  op.isGrouped = op.length <= groupedMax;
  if (!op.isGrouped) {
    beginTurn(op, slot);
    return;
  }
  op.isWaiting = true;
  gateOf(*pass).add(slot);
  beginWaiting(gateOf(*pass));
}

/// null: it has none, or no longer.
Stream* WriteLane::peerOf(const WritePass& pass) {
  Stream* peer = pass.peerSerial == 0 ? nullptr : streams_->find(pass.peerId);
  return peer != nullptr && peer->serial == pass.peerSerial ? peer : nullptr;
}

WriteGate& WriteLane::gateOf(const WritePass& pass) {
  if (gates_.size() <= pass.handle) gates_.resize(pass.handle + 1);
  return gates_[pass.handle];
}

void WriteLane::looked() {
  for (WriteGate& gate : gates_) {
    gate.looked();
    beginWaiting(gate);
  }
}

void WriteLane::beginWaiting(WriteGate& gate) {
  for (int64_t next; (next = gate.next(engine_->rounds())) >= 0;) {
    const auto slot = static_cast<uint32_t>(next);
    beginTurn(ops_[slot], slot);
  }
}

/// Of a primary's write: it goes to both copies now.
void WriteLane::beginTurn(LaneOp& op, uint32_t slot) {
  Stream* peer = peerOf(passes_[op.pass]);
  op.isWaiting = false;
  if (peer != nullptr && beginOnDisk(op, slot))
    sendToPeer(op, slot, *peer);
  else
    neverBegun(op, slot);
}

bool WriteLane::beginOnDisk(LaneOp& op, uint32_t slot) {
  const WritePass& pass = passes_[op.pass];
  if (!engine_->beginWrite(*this, slot, pass.handle, diskOffsetOf(op), op.length, op.bytes.block)) return false;
  op.onDisk = true;
  gateOf(pass).begun(engine_->rounds(), op.isGrouped);
  return true;
}

/// Its turn has come, or will not come any more, and it cannot be begun: it is handed over.
void WriteLane::neverBegun(LaneOp& op, uint32_t slot) {
  op.isWaiting = false;
  op.hasFailed = true;
  if (Stream* peer = peerOf(passes_[op.pass]); peer != nullptr) --peer->awaited;
  settle(op, slot);
}

void WriteLane::sendToPeer(LaneOp& op, uint32_t slot, Stream& peer) {
  op.requestId = ourIds | (++requests_ * opsMax & (ourIds - 1)) | slot;
  op.peerSerial = peer.serial;
  op.atPeer = op.isLeaving = true;
  unsigned char header[frameHeaderBytes];
  wire::Place place = passes_[op.pass].place;
  place.mapping = 0;
  setRequest(header, copyWriteWord, op.requestId, place, op.offset, op.length);
  streams_->appendHeader(peer, header, frameHeaderBytes);
  streams_->append(peer, {{op.bytes.block, op.length}}, {1, this, slot});
}

bool WriteLane::answered(Stream& peer, const unsigned char* header) {
  const uint32_t requestId = word(header, atRequestId), slot = requestId % opsMax;
  if ((requestId & ourIds) == 0 || slot >= ops_.size()) return false;
  LaneOp& op = ops_[slot];
  if (op.requestId != requestId || op.peerSerial != peer.serial) return false;
  const bool isSound = word(header, 0) == copyWriteWord && word(header, atFlags) == replyWord && word(header, atBodyBytes) == 0;
  --peer.awaited;
  op.requestId = 0;
  op.atPeer = false;
  if (!isSound) op.hasFailed = true;
  settle(op, slot);
  return isSound;
}

void WriteLane::ended(uint32_t slot, int result) {
  LaneOp& op = ops_[slot];
  op.onDisk = false;
  WritePass& pass = passes_[op.pass];
  const bool isWhole = result == static_cast<int>(op.length);
  if (!isWhole) op.hasFailed = true;
  if (!op.isRead) gateOf(pass).ended(op.isGrouped);
  // What a client may read again, which it does at the primary.
  const bool isToKeep = isWhole && pass.peerSerial != 0;
  if (!op.isRead) engine_->writeEnded(pass.handle, diskOffsetOf(op), op.length, isToKeep ? op.bytes.block : nullptr);
  if (op.isRead && isWhole) engine_->readEnded(pass.handle, diskOffsetOf(op), op.length, op.bytes);
  if (!op.isRead && result < 0 && result != -EAGAIN) {
    pass.diskError = -result;
    engine_->doubt(pass.handle);
  }
  settle(op, slot);
}

/// Something about it has changed: answers it, or hands it over, once nothing that counts is open.
void WriteLane::settle(LaneOp& op, uint32_t slot) {
  WritePass& pass = passes_[op.pass];
  if (op.isUnderWay && !op.isWaiting && !op.onDisk && (!op.atPeer || op.hasFailed)) {
    op.isUnderWay = false;
    if (op.isGrouped) gateOf(pass).answered();
    pass.underWay.erase(std::find(pass.underWay.begin(), pass.underWay.end(), slot));
    count(op, underWayNow, -1);
    Stream* client = streams_->find(op.clientId);
    const bool isThere = client != nullptr && client->serial == op.clientSerial && !client->isEnding && !client->hasFailed;
    // What was read is shown only if nobody else can have changed it by now. Who decides that is JavaScript.
    const bool isStale = op.isRead && (pass.state != WritePass::open || !deadlines_.areAhead(pass.deadlineAt, pass.otherDeadlineAt));
    if (!op.hasFailed && !isStale) {
      if (!op.isRead) ++pass.done;
      pieces_.assign({{op.header, frameHeaderBytes}, {op.bytes.block, op.length}});
      answer(op, slot, isThere ? client : nullptr, pieces_);
    } else {
      count(op, returned, 1);
      if (op.isRead) {
        if (isThere) streams_->giveBack(*client, op.header, frameHeaderBytes);
      } else {
        pass.unfinished.append(reinterpret_cast<const char*>(op.header), frameHeaderBytes);
        pass.unfinished.append(op.bytes.block, op.length);
      }
      if (op.hasFailed) endPass(pass);
    }
    endIfIdle(pass);
  }
  freeIfOver(op, slot);
}

void WriteLane::answer(LaneOp& op, uint32_t slot, Stream* client, const std::vector<iovec>& pieces) {
  count(op, ios, 1);
  count(op, ioBytes, op.length);
  setWord(op.header, atFlags, replyWord);
  setWord(op.header, atBodyBytes, op.isRead ? op.length : 0);
  memset(op.header + atMapVersion, 0, frameHeaderBytes - atMapVersion);
  if (client == nullptr) return;
  if (!op.isRead) {
    streams_->appendHeader(*client, op.header, frameHeaderBytes);
    return;
  }
  op.isLeaving = true;
  streams_->append(*client, pieces.data(), pieces.size(), {pieces.size(), this, slot});
}

/// A write that has not begun: it comes to JavaScript as a message.
void WriteLane::giveBack(LaneOp& op) {
  Stream* client = streams_->find(op.clientId);
  if (client == nullptr || client->serial != op.clientSerial) return;
  streams_->giveBack(*client, op.header, frameHeaderBytes);
  streams_->giveBack(*client, reinterpret_cast<unsigned char*>(op.bytes.block), op.length);
}

/// Its memory is needed no more, and its place when the other copy has answered, too.
void WriteLane::freeIfOver(LaneOp& op, uint32_t slot) {
  if (op.isUnderWay || op.onDisk || op.isLeaving) return;
  engine_->giveBack(op.bytes);
  if (!op.atPeer) ops_.free(slot);
}

void WriteLane::release(uint32_t slot) {
  LaneOp& op = ops_[slot];
  op.isLeaving = false;
  freeIfOver(op, slot);
}

void WriteLane::streamGone(Stream& stream) {
  if (stream.bodyOwner == this) {
    stream.bodyOwner = nullptr;
    freeIfOver(ops_[stream.bodySlot], stream.bodySlot);
  }
  for (uint32_t slot = 0; slot < ops_.size(); ++slot) {
    LaneOp& op = ops_[slot];
    if (op.requestId == 0 || op.peerSerial != stream.serial) continue;
    op.requestId = 0;
    op.atPeer = false;
    op.hasFailed = true;
    settle(op, slot);
  }
}

void WriteLane::count(const LaneOp& op, Counter counter, double by) {
  const WritePass& pass = passes_[op.pass];
  countIn(tallies_, op.isRead ? pass.readTotalAt : pass.totalAt, counter, by);
  countIn(tallies_, op.isRead ? pass.readTallyAt : pass.tallyAt, counter, by);
}

void exportWriteLane(Napi::Env env, Napi::Object exports) {
  const auto verb = [&](const char* name, void (WriteLane::*act)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, [act](const Napi::CallbackInfo& info) {
                  (WriteLane::of(info.Env()).*act)(info);
                }));
  };
  const auto question = [&](const char* name, Napi::Value (WriteLane::*answer)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, [answer](const Napi::CallbackInfo& info) {
                  return (WriteLane::of(info.Env()).*answer)(info);
                }));
  };
  verb("writeLaneStart", &WriteLane::start);
  question("writeLaneServes", &WriteLane::serves);
  question("writePassGive", &WriteLane::give);
  verb("writeLaneGroups", &WriteLane::inGroups);
  verb("writePassEnd", &WriteLane::end);
  verb("writePassCut", &WriteLane::cut);
  question("writePassTake", &WriteLane::take);
  question("writePassError", &WriteLane::error);
  question("writePassDone", &WriteLane::done);
}
