#include "read-relay.h"

#include <cmath>

#include "addon.h"
#include "engine.h"
#include "instance.h"
#include "streams.h"
#include "wire.h"

using namespace wire;

namespace {

constexpr size_t routesMax = 1 << 14;
constexpr size_t opsMax = 1 << 9;
/// Of one SDS at a time. With those of a session (src/sdc/device-session.ts) that is less than an SDS takes before it stops
/// reading, so that it always hears whether somebody asks if it lives.
constexpr uint32_t awaitedMax = 192;
/// Request ids of JavaScript's sessions are below, see src/sdc/sent-table.ts.
constexpr uint32_t ourIds = 1u << 31;
constexpr uint32_t sectorBytes = 512;

size_t placeOf(uint64_t serial, uint32_t chunk) {
  uint64_t key = (serial << 32 | chunk) * 0x9e3779b97f4a7c15;
  return (key ^ key >> 33) % routesMax;
}

}  // namespace

ReadRelay& ReadRelay::of(Napi::Env env) {
  std::shared_ptr<ReadRelay>& relay = Instance::of(env).readRelay;
  if (relay == nullptr) relay = std::make_shared<ReadRelay>(env);
  return *relay;
}

/// readRelayStart(form: Float64Array, tallies: Float64Array)
void ReadRelay::start(const Napi::CallbackInfo& info) {
  if (form_ != nullptr) throw Napi::Error::New(env_, "the read relay has started already");
  formArray_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  talliesArray_ = Napi::Persistent(info[1].As<Napi::Float64Array>());
  form_ = formArray_.Value().Data();
  tallies_ = talliesArray_.Value().Data();
  engine_ = Engine::of(env_);
  streams_ = &Streams::of(env_);
  streams_->belowFrames.push_back(this);
  streams_->belowRequests.push_back(this);
}

/// readRoute(): what the form says; src/io/read-relay.ts fills it in.
void ReadRelay::route(const Napi::CallbackInfo&) {
  enum Field { client, data, slice, epoch, mapping, volume, chunk, pool, mapVersion, tallyAt };
  const auto field = [this](Field which) { return static_cast<uint32_t>(form_[which]); };
  const Stream *from = streams_->find(field(client)), *to = streams_->find(field(data));
  if (from == nullptr || to == nullptr || from->carries != Carries::requests || to->carries != Carries::frames) return;
  // Not before it is needed: most processes are no SDC.
  routes_.resize(routesMax);
  ReadRoute& route = routes_[placeOf(from->serial, field(chunk))];
  route.serial = from->serial;
  route.dataId = to->id;
  route.dataSerial = to->serial;
  route.slice = field(slice);
  route.epoch = field(epoch);
  route.mapping = field(mapping);
  route.volume = field(volume);
  route.chunk = field(chunk);
  route.pool = field(pool);
  route.mapVersion = form_[mapVersion];
  route.tallyAt = field(tallyAt);
  route.generation = generation_;
}

/// readsTakeBack(sinceMs): what was sent before this moment of bootTimeMs; Infinity: everything, and all routes.
void ReadRelay::takeBack(const Napi::CallbackInfo& info) {
  const double sinceMs = info[0].As<Napi::Number>().DoubleValue();
  if (std::isinf(sinceMs)) ++generation_;
  for (RelayOp& op : ops_)
    if (op.requestId != 0 && op.sentAtMs < sinceMs) giveBack(op);
}

bool ReadRelay::begin(Stream& client, const unsigned char* request) {
  if (routes_.empty() || word(request, atCommand) != nbdRead) return false;
  const uint64_t offset = static_cast<uint64_t>(word(request, atNbdOffset)) << 32 | word(request, atNbdOffset + 4);
  const uint32_t length = word(request, atNbdLength), inChunk = static_cast<uint32_t>(offset % chunkBytes);
  if (length == 0 || length > chunkBytes - inChunk || (offset | length) % sectorBytes != 0) return false;
  if (offset / chunkBytes > UINT32_MAX) return false;
  const auto chunk = static_cast<uint32_t>(offset / chunkBytes);
  const ReadRoute& route = routes_[placeOf(client.serial, chunk)];
  if (route.serial != client.serial || route.chunk != chunk || route.generation != generation_) return false;
  Stream* data = streams_->find(route.dataId);
  if (data == nullptr || data->serial != route.dataSerial || data->awaited >= awaitedMax) return false;
  if (!streams_->takesMore(*data) || !streams_->takesMore(client)) return false;
  if (free_.empty()) {
    if (ops_.size() == opsMax) return false;
    free_.push_back(static_cast<uint32_t>(ops_.size()));
    ops_.emplace_back();
  }
  char* block = engine_->takeBlock(length);
  if (block == nullptr) return false;
  const uint32_t slot = free_.back();
  free_.pop_back();
  RelayOp& op = ops_[slot];
  op.requestId = ourIds | (++requests_ * opsMax & (ourIds - 1)) | slot;
  op.isWanted = true;
  op.clientId = client.id;
  op.clientSerial = client.serial;
  op.dataId = data->id;
  op.dataSerial = data->serial;
  op.length = length;
  op.tallyAt = route.tallyAt;
  op.sentAtMs = bootTimeMs();
  op.block = block;
  memcpy(op.request, request, nbdRequestBytes);
  unsigned char header[frameHeaderBytes] = {};
  setWord(header, 0, readWord);
  setWord(header, atRequestId, op.requestId);
  setWord(header, atSlice, route.slice);
  setWord(header, atEpoch, route.epoch);
  setWord(header, atMapping, route.mapping);
  setWord(header, atVolume, route.volume);
  setWord(header, atChunk, chunk);
  setWord(header, atOffset, inChunk);
  setWord(header, atLength, length);
  setWord(header, atPool, route.pool);
  setWord(header, atMapVersion, static_cast<uint32_t>(route.mapVersion / 4294967296.0));
  setWord(header, atMapVersion + 4, static_cast<uint32_t>(static_cast<uint64_t>(route.mapVersion)));
  streams_->appendHeader(*data, header);
  ++data->awaited;
  count(op, underWayNow, 1);
  return true;
}

bool ReadRelay::answered(Stream& data, const unsigned char* header) {
  const uint32_t requestId = word(header, atRequestId), slot = requestId % opsMax;
  if (requestId == 0 || slot >= ops_.size() || ops_[slot].requestId != requestId || ops_[slot].dataSerial != data.serial) return false;
  RelayOp& op = ops_[slot];
  const bool isSound = word(header, 0) == readWord && word(header, atFlags) == replyWord && word(header, atBodyBytes) == op.length;
  if (isSound) {
    data.takeBody(*this, slot, op.isWanted ? op.block : nullptr);
    return true;
  }
  // JavaScript hears why, asks again, and does what is to be done about it.
  giveBack(op);
  forget(op);
  return false;
}

void ReadRelay::bodyEnded(Stream& data, uint32_t slot) {
  RelayOp& op = ops_[slot];
  if (!op.isWanted) {
    forget(op);
    return;
  }
  Stream* client = streams_->find(op.clientId);
  op.requestId = 0;
  --data.awaited;
  count(op, underWayNow, -1);
  if (client == nullptr || client->serial != op.clientSerial || client->hasFailed) {
    release(slot);
    return;
  }
  count(op, ios, 1);
  count(op, ioBytes, op.length);
  size_t headerBytes = nbdSimpleBytes;
  setWord(op.reply, 0, nbdSimpleMagic);
  setWord(op.reply, 4, 0);
  memcpy(op.reply + 8, op.request + atCookie, 8);
  if (client->isStructured) {
    headerBytes = nbdChunkBytes;
    setWord(op.reply, 0, nbdChunkMagic);
    setWord(op.reply, 4, nbdChunkDoneData);
    setWord(op.reply, 16, op.length + 8);
    memcpy(op.reply + 20, op.request + atNbdOffset, 8);
  }
  streams_->append(*client, {{op.reply, headerBytes}, {op.block, op.length}}, {2, this, slot});
}

void ReadRelay::giveBack(RelayOp& op) {
  if (!op.isWanted) return;
  op.isWanted = false;
  count(op, underWayNow, -1);
  count(op, returned, 1);
  // Its answer may be coming in.
  if (Stream* data = streams_->find(op.dataId); data != nullptr) data->dropBody(*this, op.requestId % opsMax);
  engine_->giveBlock(op.block);
  Stream* client = streams_->find(op.clientId);
  if (client != nullptr && client->serial == op.clientSerial) streams_->giveBack(*client, op.request, nbdRequestBytes);
}

void ReadRelay::forget(RelayOp& op) {
  if (Stream* data = streams_->find(op.dataId); data != nullptr && data->serial == op.dataSerial) --data->awaited;
  free_.push_back(op.requestId % opsMax);
  op.requestId = 0;
}

void ReadRelay::streamGone(Stream& stream) {
  for (RelayOp& op : ops_) {
    if (op.requestId == 0) continue;
    const bool isData = op.dataSerial == stream.serial;
    if (isData || op.clientSerial == stream.serial) giveBack(op);
    if (isData) forget(op);
  }
}

void ReadRelay::release(uint32_t slot) {
  engine_->giveBlock(ops_[slot].block);
  free_.push_back(slot);
}

void ReadRelay::count(const RelayOp& op, Counter counter, double by) {
  countIn(tallies_, 0, counter, by);
  countIn(tallies_, op.tallyAt, counter, by);
}

void exportReadRelay(Napi::Env env, Napi::Object exports) {
  const auto verb = [&](const char* name, void (ReadRelay::*act)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, [act](const Napi::CallbackInfo& info) {
                  (ReadRelay::of(info.Env()).*act)(info);
                }));
  };
  verb("readRelayStart", &ReadRelay::start);
  verb("readRoute", &ReadRelay::route);
  verb("readsTakeBack", &ReadRelay::takeBack);
}
