#include "relay.h"

#include <algorithm>
#include <cmath>

#include "addon.h"
#include "engine.h"
#include "instance.h"
#include "streams.h"

using namespace wire;

namespace {

constexpr size_t routesMax = 1 << 14;
/// Of one SDS at a time. With those of a session (src/sdc/device-session.ts) that is less than an SDS takes before it stops
/// reading, so that it always hears whether somebody asks if it lives.
constexpr uint32_t awaitedMax = 192;
/// Request ids of JavaScript's sessions are below, see src/sdc/sent-table.ts.
constexpr uint32_t ourIds = 1u << 31;
constexpr uint32_t sectorBytes = 512;
/// Larger writes are rare enough for JavaScript, and would take all of the memory that there is for them.
constexpr uint32_t writeMax = 128 << 10;
constexpr uint32_t none = UINT32_MAX;

uint64_t offsetOf(const unsigned char* request) {
  return uint64_t{word(request, atNbdOffset)} << 32 | word(request, atNbdOffset + 4);
}

uint64_t chunkOf(const unsigned char* request) { return offsetOf(request) / chunkBytes; }

/// Side by side, so that the slices of one volume do not push each other out.
size_t placeOf(const Stream& client, uint32_t rest) { return (client.serial * client.sliceCount + rest) % routesMax; }

}  // namespace

Relay& Relay::of(Napi::Env env) {
  std::shared_ptr<Relay>& relay = Instance::of(env).relay;
  if (relay == nullptr) relay = std::make_shared<Relay>(env);
  return *relay;
}

/// relayStart(form: Float64Array, tallies: Float64Array)
void Relay::start(const Napi::CallbackInfo& info) {
  if (form_ != nullptr) throw Napi::Error::New(env_, "the relay has started already");
  formArray_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  talliesArray_ = Napi::Persistent(info[1].As<Napi::Float64Array>());
  form_ = formArray_.Value().Data();
  tallies_ = talliesArray_.Value().Data();
  engine_ = Engine::of(env_);
  streams_ = &Streams::of(env_);
  streams_->belowFrames.push_back(this);
  streams_->belowRequests.push_back(this);
}

/// relayAddNotes(cells: Uint32Array, below: Uint32Array): number, for routes.
Napi::Value Relay::addNotes(const Napi::CallbackInfo& info) {
  if (freeNotes_.empty()) {
    notes_.emplace_back();
    freeNotes_.push_back(static_cast<uint32_t>(notes_.size()));
  }
  const uint32_t number = freeNotes_.back();
  freeNotes_.pop_back();
  FlushNotes& notes = notes_[number - 1];
  notes.cellsArray = Napi::Persistent(info[0].As<Napi::Uint32Array>());
  notes.belowArray = Napi::Persistent(info[1].As<Napi::Uint32Array>());
  notes.cells = notes.cellsArray.Value().Data();
  notes.below = notes.belowArray.Value().Data();
  return Napi::Number::New(env_, number);
}

/// relayUnanswered(number): number of writes with these notes that an SDS may still carry out.
Napi::Value Relay::unanswered(const Napi::CallbackInfo& info) {
  return Napi::Number::New(env_, notes_[info[0].As<Napi::Number>().Uint32Value() - 1].unanswered);
}

/// relayDropNotes(number): nothing is noted there any more; all routes have been taken back, and nothing is unanswered.
void Relay::dropNotes(const Napi::CallbackInfo& info) {
  const uint32_t number = info[0].As<Napi::Number>().Uint32Value();
  notes_[number - 1] = FlushNotes();
  freeNotes_.push_back(number);
}

/// relayRoute(): what the form says; src/io/relay.ts fills it in.
void Relay::route(const Napi::CallbackInfo&) {
  enum Field { client, data, slice, epoch, mapping, volume, chunk, pool, mapVersion, readTally, writeTally, notes, sliceCount, chunkCount };
  const auto field = [this](Field which) { return static_cast<uint32_t>(form_[which]); };
  Stream* from = streams_->find(field(client));
  const Stream* to = streams_->find(field(data));
  if (from == nullptr || to == nullptr || from->carries != Carries::requests || to->carries != Carries::frames) return;
  // Not before it is needed: most processes are no SDC.
  routes_.resize(routesMax);
  from->sliceCount = field(sliceCount);
  const uint32_t rest = field(chunk) % from->sliceCount;
  Route& route = routes_[placeOf(*from, rest)];
  route.serial = from->serial;
  route.rest = rest;
  route.chunkCount = static_cast<uint64_t>(form_[chunkCount]);
  route.dataId = to->id;
  route.dataSerial = to->serial;
  route.place = {field(slice), field(epoch), field(mapping), field(volume), field(chunk), field(pool),
                 static_cast<uint64_t>(form_[mapVersion])};
  route.readTallyAt = field(readTally);
  route.writeTallyAt = field(writeTally);
  route.notes = field(notes);
  route.generation = generation_;
}

/// relayTakeBack(sinceMs): what was sent before this moment of bootTimeMs; Infinity: everything, and all routes.
void Relay::takeBack(const Napi::CallbackInfo& info) {
  const double sinceMs = info[0].As<Napi::Number>().DoubleValue();
  if (std::isinf(sinceMs)) ++generation_;
  for (uint32_t slot = 0; slot < ops_.size(); ++slot)
    if (ops_[slot].requestId != 0 && ops_[slot].sentAtMs < sinceMs) giveBack(slot);
}

/// null: the request is JavaScript's.
const Route* Relay::routeOf(const Stream& client, const unsigned char* request) const {
  if (client.sliceCount == 0) return nullptr;
  const uint64_t chunk = chunkOf(request);
  const auto rest = static_cast<uint32_t>(chunk % client.sliceCount);
  const Route& route = routes_[placeOf(client, rest)];
  const bool isOpen = route.serial == client.serial && route.rest == rest && chunk < route.chunkCount && route.generation == generation_;
  return isOpen ? &route : nullptr;
}

/// null: not now.
Stream* Relay::wayOf(const Route& route) const {
  Stream* data = streams_->find(route.dataId);
  const bool isOpen =
      data != nullptr && data->serial == route.dataSerial && data->awaited < awaitedMax && streams_->takesMore(*data);
  return isOpen ? data : nullptr;
}

/// Whether the next process would know of it, without anything being written.
bool Relay::isNoted(uint32_t notes, uint32_t slice, uint32_t epoch) const {
  return notes != 0 && notes_[notes - 1].cells != nullptr && notes_[notes - 1].cells[slice] <= epoch;
}

bool Relay::begin(Stream& client, const unsigned char* request) {
  const uint32_t command = word(request, atCommand);
  if (routes_.empty() || (command != nbdRead && command != nbdWrite)) return false;
  const bool isWrite = command == nbdWrite;
  const uint32_t length = word(request, atNbdLength), inChunk = static_cast<uint32_t>(offsetOf(request) % chunkBytes);
  if (length == 0 || length > chunkBytes - inChunk || (inChunk | length) % sectorBytes != 0) return false;
  if (isWrite && length > writeMax) return false;
  const Route* route = routeOf(client, request);
  if (route == nullptr || (isWrite && !isNoted(route->notes, route->place.slice, route->place.epoch))) return false;
  Stream* data = wayOf(*route);
  if (data == nullptr || !streams_->takesMore(client)) return false;
  const int64_t taken = ops_.take();
  if (taken < 0) return false;
  const auto slot = static_cast<uint32_t>(taken);
  char* block = engine_->takeBlock(length);
  if (block == nullptr) {
    ops_.free(slot);
    return false;
  }
  RelayOp& op = ops_[slot];
  op.isWrite = isWrite;
  op.isWanted = true;
  op.clientId = client.id;
  op.clientSerial = client.serial;
  op.length = length;
  op.tallyAt = isWrite ? route->writeTallyAt : route->readTallyAt;
  op.block = block;
  memcpy(op.request, request, nbdRequestBytes);
  tally(op, underWayNow, 1);
  if (isWrite) {
    op.isComing = true;
    client.takeBody(*this, slot, block);
  } else {
    send(slot, *route, *data);
  }
  return true;
}

void Relay::send(uint32_t slot, const Route& route, Stream& data) {
  RelayOp& op = ops_[slot];
  op.requestId = ourIds | (++requests_ * opsMax & (ourIds - 1)) | slot;
  op.dataId = data.id;
  op.dataSerial = data.serial;
  op.notes = route.notes;
  op.slice = route.place.slice;
  op.epoch = route.place.epoch;
  op.sentAtMs = bootTimeMs();
  unsigned char header[frameHeaderBytes];
  const auto inChunk = static_cast<uint32_t>(offsetOf(op.request) % chunkBytes);
  wire::Place place = route.place;
  place.chunk = static_cast<uint32_t>(chunkOf(op.request));
  setRequest(header, op.isWrite ? writeWord : readWord, op.requestId, place, inChunk, op.length);
  streams_->appendHeader(data, header, frameHeaderBytes);
  if (op.isWrite) {
    op.isLeaving = true;
    ++notes_[op.notes - 1].unanswered;
    streams_->append(data, {{op.block, op.length}}, {1, this, slot});
  }
  ++data.awaited;
}

/// Of a write, or of the answer to a read.
void Relay::bodyEnded(Stream& stream, uint32_t slot) {
  RelayOp& op = ops_[slot];
  if (!op.isWrite) {
    noAnswer(slot);
    const iovec bytes{op.block, op.length};
    if (op.isWanted) answer(slot, &bytes, 1);
    freeIfOver(slot);
    return;
  }
  op.isComing = false;
  // Things may have changed while it came in.
  const Route* route = routeOf(stream, op.request);
  const bool isOpen = route != nullptr && isNoted(route->notes, route->place.slice, route->place.epoch);
  Stream* data = isOpen ? wayOf(*route) : nullptr;
  if (data != nullptr)
    send(slot, *route, *data);
  else
    giveBack(slot);
  freeIfOver(slot);
}

/// `none`: it is an answer to something else.
uint32_t Relay::slotOf(const Stream& data, const unsigned char* header) const {
  const uint32_t requestId = word(header, atRequestId), slot = requestId % opsMax;
  const bool isOurs = requestId != 0 && slot < ops_.size() && ops_[slot].requestId == requestId && ops_[slot].dataSerial == data.serial;
  return isOurs ? slot : none;
}

bool Relay::isAnswerTo(const RelayOp& op, const unsigned char* header) const {
  return word(header, 0) == (op.isWrite ? writeWord : readWord) && word(header, atFlags) == replyWord &&
         word(header, atBodyBytes) == (op.isWrite ? 0 : op.length);
}

/// null: it is gone.
Stream* Relay::clientOf(const RelayOp& op) const {
  Stream* client = streams_->find(op.clientId);
  return client == nullptr || client->serial != op.clientSerial || client->hasFailed ? nullptr : client;
}

bool Relay::sendsOn(const Stream& data, const unsigned char* header) const {
  const uint32_t slot = slotOf(data, header);
  if (slot == none) return false;
  const RelayOp& op = ops_[slot];
  const Stream* client = op.isWanted && !op.isWrite && isAnswerTo(op, header) ? clientOf(op) : nullptr;
  // Behind what has no room it would have to be copied anyway.
  return client != nullptr && client->unsent.empty();
}

void Relay::sendOn(Stream& data, const unsigned char* header, const iovec* body, size_t count) {
  const uint32_t slot = slotOf(data, header);
  RelayOp& op = ops_[slot];
  noAnswer(slot);
  if (answer(slot, body, count)) streams_->sendFrom(*clientOf(op), body, count, op.block);
  freeIfOver(slot);
}

bool Relay::answered(Stream& data, const unsigned char* header) {
  const uint32_t slot = slotOf(data, header);
  if (slot == none) return false;
  RelayOp& op = ops_[slot];
  const bool isSound = isAnswerTo(op, header);
  if (isSound && !op.isWrite) {
    data.takeBody(*this, slot, op.isWanted ? op.block : nullptr);
    return true;
  }
  noAnswer(slot);
  // JavaScript hears why, asks again, and does what is to be done about it.
  if (!isSound)
    giveBack(slot);
  else if (op.isWanted)
    answer(slot, nullptr, 0);
  freeIfOver(slot);
  return isSound;
}

/// The client gets what it waits for; false: it does not. To a read it is in `bytes`, which stay until they have left.
bool Relay::answer(uint32_t slot, const iovec* bytes, size_t count) {
  RelayOp& op = ops_[slot];
  if (op.isWrite && !isNoted(op.notes, op.slice, op.epoch)) {
    giveBack(slot);
    return false;
  }
  op.isWanted = false;
  tally(op, underWayNow, -1);
  if (op.isWrite) {
    // Whoever asks for a FLUSH from here on has it covered.
    uint32_t& below = notes_[op.notes - 1].below[op.slice];
    below = std::min(below, op.epoch);
  }
  Stream* client = clientOf(op);
  if (client == nullptr) return false;
  tally(op, ios, 1);
  tally(op, ioBytes, op.length);
  size_t headerBytes = nbdSimpleBytes;
  setWord(op.reply, 0, nbdSimpleMagic);
  setWord(op.reply, 4, 0);
  memcpy(op.reply + 8, op.request + atCookie, 8);
  if (op.isWrite) {
    streams_->appendHeader(*client, op.reply, headerBytes);
    return true;
  }
  if (client->isStructured) {
    headerBytes = nbdChunkBytes;
    setWord(op.reply, 0, nbdChunkMagic);
    setWord(op.reply, 4, nbdChunkDoneData);
    setWord(op.reply, 16, op.length + 8);
    memcpy(op.reply + 20, op.request + atNbdOffset, 8);
  }
  op.isLeaving = true;
  pieces_.assign({{op.reply, headerBytes}});
  pieces_.insert(pieces_.end(), bytes, bytes + count);
  streams_->append(*client, pieces_.data(), pieces_.size(), {pieces_.size(), this, slot});
  return true;
}

/// It comes to JavaScript as if it came now.
void Relay::giveBack(uint32_t slot) {
  RelayOp& op = ops_[slot];
  if (!op.isWanted) return;
  op.isWanted = false;
  tally(op, underWayNow, -1);
  tally(op, returned, 1);
  // Its answer may be coming in.
  if (Stream* data = streams_->find(op.dataId); data != nullptr) data->dropBody(*this, slot);
  Stream* client = streams_->find(op.clientId);
  if (client != nullptr && client->serial == op.clientSerial) {
    streams_->giveBack(*client, op.request, nbdRequestBytes);
    if (op.isWrite) streams_->giveBack(*client, reinterpret_cast<unsigned char*>(op.block), op.length);
  }
  freeIfOver(slot);
}

/// No answer comes from the SDS any more.
void Relay::noAnswer(uint32_t slot) {
  RelayOp& op = ops_[slot];
  if (Stream* data = streams_->find(op.dataId); data != nullptr && data->serial == op.dataSerial) --data->awaited;
  op.requestId = 0;
  if (op.isWrite) --notes_[op.notes - 1].unanswered;
}

/// Its memory goes as soon as nobody looks at it, its place when no answer is to come, either.
void Relay::freeIfOver(uint32_t slot) {
  RelayOp& op = ops_[slot];
  if (op.isWanted || op.isComing || op.isLeaving) return;
  if (op.block != nullptr) engine_->giveBlock(op.block);
  op.block = nullptr;
  if (op.requestId != 0 || op.length == 0) return;
  // Once.
  op.length = 0;
  ops_.free(slot);
}

void Relay::release(uint32_t slot) {
  ops_[slot].isLeaving = false;
  freeIfOver(slot);
}

void Relay::streamGone(Stream& stream) {
  if (stream.bodyOwner == this && stream.bodyLeft > 0 && ops_[stream.bodySlot].isComing) {
    // A write that has not come in completely is none.
    RelayOp& op = ops_[stream.bodySlot];
    stream.bodyOwner = nullptr;
    op.isComing = op.isWanted = false;
    tally(op, underWayNow, -1);
    freeIfOver(stream.bodySlot);
  }
  for (uint32_t slot = 0; slot < ops_.size(); ++slot) {
    RelayOp& op = ops_[slot];
    if (op.requestId == 0) continue;
    const bool isData = op.dataSerial == stream.serial;
    if (isData) noAnswer(slot);
    if (isData || op.clientSerial == stream.serial) giveBack(slot);
    freeIfOver(slot);
  }
}

void Relay::tally(const RelayOp& op, Counter counter, double by) {
  countIn(tallies_, 0, counter, by);
  countIn(tallies_, op.tallyAt, counter, by);
}

void exportRelay(Napi::Env env, Napi::Object exports) {
  const auto verb = [&](const char* name, void (Relay::*act)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, [act](const Napi::CallbackInfo& info) {
                  (Relay::of(info.Env()).*act)(info);
                }));
  };
  verb("relayStart", &Relay::start);
  verb("relayDropNotes", &Relay::dropNotes);
  verb("relayRoute", &Relay::route);
  verb("relayTakeBack", &Relay::takeBack);
  exports.Set("relayUnanswered", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Relay::of(info.Env()).unanswered(info);
              }));
  exports.Set("relayAddNotes", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Relay::of(info.Env()).addNotes(info);
              }));
}
