#include "read-lane.h"

#include "addon.h"
#include "instance.h"
#include "streams.h"
#include "wire.h"

using namespace wire;

namespace {

/// Passes are in a table by chunk; one that is pushed out is given again with the next read.
constexpr size_t passesMax = 1 << 14;

/// Side by side, so that the chunks of one volume do not push each other out.
size_t placeOf(uint64_t serial, uint32_t volume, uint32_t chunk) {
  const uint64_t key = (serial * 0x9e3779b97f4a7c15 + volume) * 0xff51afd7ed558ccd;
  return ((key ^ key >> 33) + chunk) % passesMax;
}

}  // namespace

ReadLane& ReadLane::of(Napi::Env env) {
  std::shared_ptr<ReadLane>& lane = Instance::of(env).readLane;
  if (lane == nullptr) lane = std::make_shared<ReadLane>(env);
  return *lane;
}

/// readLaneStart(form: Float64Array, voids: Float64Array, tallies: Float64Array, deadlines: Float64Array)
void ReadLane::start(const Napi::CallbackInfo& info) {
  if (form_ != nullptr) throw Napi::Error::New(env_, "the read lane has started already");
  formArray_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  voidsArray_ = Napi::Persistent(info[1].As<Napi::Float64Array>());
  talliesArray_ = Napi::Persistent(info[2].As<Napi::Float64Array>());
  form_ = formArray_.Value().Data();
  voids_ = voidsArray_.Value().Data();
  tallies_ = talliesArray_.Value().Data();
  deadlines_.share(info[3]);
  engine_ = Engine::of(env_);
  streams_ = &Streams::of(env_);
  streams_->belowFrames.push_back(this);
}

/// readPassGive(): what the form says; src/io/read-passes.ts fills it in.
void ReadLane::give(const Napi::CallbackInfo&) {
  enum Field { stream, slice, epoch, mapping, volume, chunk, pool, handle, chunkAt, voidAt, tallyAt, deadline, otherDeadline };
  const auto field = [this](Field which) { return static_cast<uint32_t>(form_[which]); };
  const Stream* of = streams_->find(field(stream));
  if (of == nullptr || of->carries != Carries::frames) return;
  // Not before it is needed: most processes are no SDS.
  passes_.resize(passesMax);
  ReadPass& pass = passes_[placeOf(of->serial, field(volume), field(chunk))];
  pass.serial = of->serial;
  pass.place = {field(slice), field(epoch), field(mapping), field(volume), field(chunk), field(pool), 0};
  pass.handle = field(handle);
  pass.chunkAt = static_cast<uint64_t>(form_[chunkAt]);
  pass.voidAt = field(voidAt);
  pass.tallyAt = field(tallyAt);
  pass.deadlineAt = field(deadline);
  pass.otherDeadlineAt = field(otherDeadline);
  pass.voidAll = voids_[0];
  pass.voidChunk = voids_[pass.voidAt];
}

bool ReadLane::isValid(const ReadPass& pass) const {
  return pass.voidAll == voids_[0] && pass.voidChunk == voids_[pass.voidAt] && deadlines_.areAhead(pass.deadlineAt, pass.otherDeadlineAt);
}

/// The pass that covers the request; null: there is none.
const ReadPass* ReadLane::passFor(const Stream& stream, const unsigned char* header) {
  if (word(header, 0) != readWord || word(header, atFlags) != 0 || word(header, atBodyBytes) != 0) return nullptr;
  const uint32_t volume = word(header, atVolume), chunk = word(header, atChunk);
  const ReadPass& pass = passes_[placeOf(stream.serial, volume, chunk)];
  const bool isSame = pass.serial == stream.serial && pass.place.volume == volume && pass.place.chunk == chunk &&
                      pass.place.slice == word(header, atSlice) && pass.place.epoch == word(header, atEpoch) &&
                      pass.place.mapping == word(header, atMapping) && pass.place.pool == word(header, atPool);
  return isSame && isValid(pass) ? &pass : nullptr;
}

bool ReadLane::begin(Stream& stream, const unsigned char* header) {
  if (passes_.empty() || !streams_->takesMore(stream)) return false;
  const ReadPass* pass = passFor(stream, header);
  if (pass == nullptr) return false;
  const uint32_t offset = word(header, atOffset), length = word(header, atLength);
  if (length == 0 || length > chunkBytes || offset > chunkBytes - length) return false;
  const int64_t taken = ops_.take();
  if (taken < 0) return false;
  const auto slot = static_cast<uint32_t>(taken);
  ReadOp& op = ops_[slot];
  op.pass = *pass;
  op.streamId = stream.id;
  op.offset = offset;
  op.length = length;
  memcpy(op.header, header, frameHeaderBytes);
  pieces_.assign({{op.header, frameHeaderBytes}});
  switch (engine_->beginRead(*this, slot, pass->handle, pass->chunkAt + offset, length, op.bytes, pieces_)) {
    case Engine::Begun::there:
      answer(stream, slot, pieces_);
      return true;
    case Engine::Begun::underWay:
      count(op, underWayNow, 1);
      return true;
    case Engine::Begun::refused:
      break;
  }
  ops_.free(slot);
  return false;
}

void ReadLane::ended(uint32_t slot, int result) {
  ReadOp& op = ops_[slot];
  count(op, underWayNow, -1);
  Stream* stream = streams_->find(op.streamId);
  const bool isThere = stream != nullptr && stream->serial == op.pass.serial && !stream->isEnding && !stream->hasFailed;
  const bool isWhole = result == static_cast<int>(op.length);
  if (isWhole) engine_->readEnded(op.pass.handle, op.pass.chunkAt + op.offset, op.length, op.bytes);
  if (isThere && isWhole && isValid(op.pass)) {
    pieces_.assign({{op.header, frameHeaderBytes}, {op.bytes.block, op.length}});
    answer(*stream, slot, pieces_);
    return;
  }
  // Things are not as they were: JavaScript gets the request as if it came now.
  count(op, returned, 1);
  if (isThere) streams_->giveBack(*stream, op.header, frameHeaderBytes);
  release(slot);
}

void ReadLane::answer(Stream& stream, uint32_t slot, const std::vector<iovec>& pieces) {
  ReadOp& op = ops_[slot];
  count(op, ios, 1);
  count(op, ioBytes, op.length);
  setWord(op.header, atFlags, replyWord);
  setWord(op.header, atBodyBytes, op.length);
  memset(op.header + atMapVersion, 0, frameHeaderBytes - atMapVersion);
  streams_->append(stream, pieces.data(), pieces.size(), {pieces.size(), this, slot});
}

void ReadLane::release(uint32_t slot) {
  engine_->giveBack(ops_[slot].bytes);
  ops_.free(slot);
}

void exportReadLane(Napi::Env env, Napi::Object exports) {
  exports.Set("readLaneStart", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                ReadLane::of(info.Env()).start(info);
              }));
  exports.Set("readPassGive", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                ReadLane::of(info.Env()).give(info);
              }));
}
