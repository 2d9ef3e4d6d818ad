#include "engine.h"

#include <algorithm>
#include <cerrno>
#include <climits>

#include "addon.h"
#include "instance.h"
#include "turn.h"

namespace {

// What the kernel may copy from the page cache while the loop waits: some 20 us.
constexpr uint64_t cachedReadBytesMax = 256 << 10;
// The layout of one operation in the submission array; src/io/file-engine.ts writes it.
enum Field { fieldKind, fieldSlot, fieldHandle, fieldOffset, fieldLength, fieldPieces, fieldCount };

}  // namespace

std::shared_ptr<Engine> Engine::of(Napi::Env env) {
  std::shared_ptr<Engine>& engine = Instance::of(env).engine;
  if (engine == nullptr) engine = std::make_shared<Engine>(env);
  return engine;
}

/// start(submission: Float64Array, completions: Int32Array, wake: (count) => void, mayUseRing): whether there is a ring
Napi::Value Engine::start(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (wakeUp_ != nullptr) throw Napi::Error::New(env, "the engine has started already");
  submission_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  completions_ = Napi::Persistent(info[1].As<Napi::Int32Array>());
  napi_value name = Napi::String::New(env, "blockmesh file engine");
  napi_status status =
      napi_create_threadsafe_function(env, info[2], nullptr, name, 0, 1, nullptr, nullptr, this, onWake, &wakeUp_);
  if (status != napi_ok) throw Napi::Error::New(env, "the engine cannot get a wake-up call");
  napi_unref_threadsafe_function(env, wakeUp_);
  // Hooks run last one first: this one before Node takes the wake-up call away.
  napi_add_env_cleanup_hook(env, [](void* engine) { static_cast<Engine*>(engine)->shutDown(); }, this);
  if (info[3].ToBoolean()) openRing();
  return Napi::Boolean::New(env, ring_ != nullptr);
}

/// readCacheStart(bytes, tallies: Float64Array, tally): what direct files were asked for is kept in so much memory.
void Engine::startReadCache(const Napi::CallbackInfo& info) {
  if (readCache_ != nullptr) throw Napi::Error::New(env_, "the read cache has started already");
  talliesArray_ = Napi::Persistent(info[1].As<Napi::Float64Array>());
  const auto bytes = static_cast<size_t>(info[0].ToNumber().Int64Value());
  try {
    readCache_ = std::make_unique<ReadCache>(bytes, talliesArray_.Value().Data(), info[2].ToNumber().Uint32Value());
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(env_, "there is no address space for the read cache");
  }
}

/// What the read cache has to know of it.
void Engine::noteEnd(const FileOp& op, int error) {
  if (readCache_ == nullptr || op.kind == OpKind::Read) return;
  if (error != 0)
    doubt(op.handle);
  else if (op.kind != OpKind::Sync)
    readCache_->changed(op.handle, static_cast<uint64_t>(op.offset), op.length);
}

void Engine::doubt(uint32_t handle) {
  if (readCache_ != nullptr) readCache_->forget(handle);
}

void Engine::writeEnded(uint32_t handle, uint64_t offset, uint32_t length, const char* bytes) {
  ReadCache* cache = readCacheOf(handle);
  if (cache == nullptr) return;
  if (bytes == nullptr)
    cache->changed(handle, offset, length);
  else
    cache->written(handle, offset, length, bytes);
}

void Engine::openRing() {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return;
  ring_ = Ring::open();
  if (ring_ == nullptr) return;
  ringPoll_ = new uv_poll_t;
  if (uv_poll_init(loop, ringPoll_, ring_->wakeFd()) != 0) {
    delete ringPoll_;
    ringPoll_ = nullptr;
    ring_ = nullptr;
    return;
  }
  ringPoll_->data = this;
  uv_poll_start(ringPoll_, UV_READABLE, [](uv_poll_t* poll, int, int) { static_cast<Engine*>(poll->data)->isRingReady_ = true; });
  uv_unref(reinterpret_cast<uv_handle_t*>(ringPoll_));
  Turn::of(env_).engine = this;
  isBounceKept_ = bounce_.memory() != nullptr && ring_->keepMapped(bounce_.memory(), BouncePool::bytes);
}

/// Waits for the kernel to let go of all buffers.
void Engine::closeRing() {
  if (ring_ == nullptr) return;
  ring_->finish();
  uv_poll_stop(ringPoll_);
  uv_close(reinterpret_cast<uv_handle_t*>(ringPoll_), [](uv_handle_t* poll) { delete reinterpret_cast<uv_poll_t*>(poll); });
  ring_ = nullptr;
}

/// While something is under way the event loop does not end.
void Engine::setBusy(bool isBusy) {
  if (isBusy)
    napi_ref_threadsafe_function(env_, wakeUp_);
  else
    napi_unref_threadsafe_function(env_, wakeUp_);
}

/// submit(count, pieces): takes `count` operations from the submission array and their buffers from `pieces`, in order.
void Engine::submit(const Napi::CallbackInfo& info) {
  napi_env env = info.Env();
  const size_t count = info[0].As<Napi::Number>().Uint32Value();
  napi_value pieces = info[1];
  uint32_t nextPiece = 0;
  const double* fields = submission_.Value().Data();
  if (inFlight_ == 0 && count > 0) setBusy(true);
  inFlight_ += count;
  for (size_t i = 0; i < count; ++i, fields += fieldCount) {
    const uint32_t slot = static_cast<uint32_t>(fields[fieldSlot]);
    while (ops_.size() <= slot) ops_.emplace_back();
    FileOp& op = ops_[slot];
    op.slot = slot;
    op.kind = static_cast<OpKind>(fields[fieldKind]);
    op.offset = static_cast<off_t>(fields[fieldOffset]);
    op.length = static_cast<uint64_t>(fields[fieldLength]);
    op.pieces.clear();
    for (double left = fields[fieldPieces]; left > 0; --left) {
      napi_value piece;
      iovec bytes{};
      napi_get_element(env, pieces, nextPiece++, &piece);
      napi_get_buffer_info(env, piece, &bytes.iov_base, &bytes.iov_len);
      op.pieces.push_back(bytes);
    }
    op.handle = static_cast<uint32_t>(fields[fieldHandle]);
    if (op.handle >= files_.size() || files_[op.handle] == nullptr)
      completed(slot, EBADF);
    else if (!toRing(op))
      toThreads(op);
  }
  submitRing();
}

void Engine::submitRing() {
  if (ring_ != nullptr) ring_->submit([this](uint64_t userData) { refused(userData); });
}

void Engine::toThreads(FileOp& op) { files_[op.handle]->enqueue(&op); }

/// In the user data of the ring's entries: whose it is, 0: JavaScript's, and the slot.
constexpr unsigned userShift = 32;

void Engine::refused(uint64_t userData) {
  if (const uint64_t user = userData >> userShift; user != 0) {
    users_[user - 1]->ended(static_cast<uint32_t>(userData), -EAGAIN);
    return;
  }
  FileOp& op = ops_[userData];
  if (op.bounce != nullptr) bounce_.give(op.bounce);
  toThreads(op);
}

/// False: the operation is for the threads. So are writes through the page cache, for which the kernel would have threads
/// of its own, and reads so long that copying them would hold up the loop.
bool Engine::toRing(FileOp& op) {
  const FileTraits& file = files_[op.handle]->traits();
  const bool writes = op.kind == OpKind::Write;
  if (ring_ == nullptr || ring_->isFull()) return false;
  op.bounce = nullptr;
  if (op.kind == OpKind::Sync) {
    // The kernel has threads for it, too, which are woken and heard of for less than ours.
    io_uring_sqe* entry = nextEntry();
    entry->opcode = IORING_OP_FSYNC;
    entry->fd = file.fd;
    entry->fsync_flags = IORING_FSYNC_DATASYNC;
    entry->user_data = op.slot;
    return true;
  }
  if ((!writes && op.kind != OpKind::Read) || op.length == 0) return false;
  if (!file.isDirect && (writes || op.length > cachedReadBytesMax)) return false;
  if (op.length > BouncePool::blockBytesMax || op.pieces.size() > IOV_MAX) return false;
  if (!mayGoDirect(file, op)) {
    op.bounce = bounce_.take(op.length);
    if (op.bounce == nullptr) return false;
    if (writes) copyPieces(op, op.bounce, true);
  }
  io_uring_sqe* entry = nextEntry();
  entry->fd = file.fd;
  entry->off = static_cast<uint64_t>(op.offset);
  entry->user_data = op.slot;
  if (op.bounce == nullptr && op.pieces.size() > 1) {
    entry->opcode = writes ? IORING_OP_WRITEV : IORING_OP_READV;
    entry->addr = reinterpret_cast<uint64_t>(op.pieces.data());
    entry->len = static_cast<uint32_t>(op.pieces.size());
    return true;
  }
  entry->addr = reinterpret_cast<uint64_t>(op.bounce != nullptr ? op.bounce : op.pieces[0].iov_base);
  entry->len = static_cast<uint32_t>(op.length);
  if (op.bounce != nullptr && isBounceKept_)
    entry->opcode = writes ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
  else
    entry->opcode = writes ? IORING_OP_WRITE : IORING_OP_READ;
  return true;
}

/// The ring is not full.
io_uring_sqe* Engine::nextEntry() {
  io_uring_sqe* entry = ring_->next();
  if (entry != nullptr) return entry;
  submitRing();
  return ring_->next();
}

void Engine::reap() {
  if (!isRingReady_ || ring_ == nullptr) return;
  isRingReady_ = false;
  ring_->reap([this](uint64_t userData, int result) { ringEnded(userData, result); });
  looked();
}

void Engine::looked() {
  for (RingUser* user : users_) user->looked();
}

/// null: the queue is full. JavaScript's way empties it.
io_uring_sqe* Engine::nextFor(RingUser& user, uint32_t slot, const FileTraits& file, uint64_t offset, uint32_t length) {
  if (ring_->isFull()) return nullptr;
  io_uring_sqe* entry = ring_->next();
  if (entry == nullptr) return nullptr;
  size_t which = std::find(users_.begin(), users_.end(), &user) - users_.begin();
  if (which == users_.size()) users_.push_back(&user);
  entry->fd = file.fd;
  entry->off = offset;
  entry->len = length;
  entry->user_data = uint64_t{which + 1} << userShift | slot;
  hasBegun_ = true;
  return entry;
}

Engine::Begun Engine::beginRead(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length,
                                ReadBytes& bytes, std::vector<iovec>& pieces) {
  ReadCache* cache = readCacheOf(handle);
  if (cache != nullptr && cache->pin(handle, offset, length, bytes.cached, pieces)) return Begun::there;
  bytes.block = queueRead(user, slot, handle, offset, length);
  if (bytes.block == nullptr) return Begun::refused;
  if (cache != nullptr) bytes.version = cache->versionOf(handle, offset, length);
  return Begun::underWay;
}

void Engine::readEnded(uint32_t handle, uint64_t offset, uint32_t length, const ReadBytes& bytes) {
  ReadCache* cache = readCacheOf(handle);
  if (cache != nullptr) cache->put(handle, offset, length, bytes.block, bytes.version);
}

void Engine::giveBack(ReadBytes& bytes) {
  if (bytes.block != nullptr) bounce_.give(bytes.block);
  bytes.block = nullptr;
  if (!bytes.cached.empty()) readCache_->unpin(bytes.cached);
}

/// Where its bytes will be; null: it cannot be done.
char* Engine::queueRead(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length) {
  if (!hasRing(handle)) return nullptr;
  const FileTraits& file = files_[handle]->traits();
  if (offset % file.alignBytes != 0 || length % file.alignBytes != 0) return nullptr;
  if (!file.isDirect && length > cachedReadBytesMax) return nullptr;
  char* block = bounce_.take(length);
  if (block == nullptr) return nullptr;
  io_uring_sqe* entry = nextFor(user, slot, file, offset, length);
  if (entry == nullptr) {
    bounce_.give(block);
    return nullptr;
  }
  entry->opcode = isBounceKept_ ? IORING_OP_READ_FIXED : IORING_OP_READ;
  entry->addr = reinterpret_cast<uint64_t>(block);
  return block;
}

/// Into the page cache the kernel's own threads write, of each file one write after the other; ours would have to be woken as well, and
/// lead through JavaScript.
bool Engine::beginWrite(RingUser& user, uint32_t slot, uint32_t handle, uint64_t offset, uint32_t length, char* block) {
  if (!hasRing(handle)) return false;
  const FileTraits& file = files_[handle]->traits();
  if (offset % file.alignBytes != 0 || length % file.alignBytes != 0) return false;
  io_uring_sqe* entry = nextFor(user, slot, file, offset, length);
  if (entry == nullptr) return false;
  entry->opcode = isBounceKept_ ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE;
  entry->addr = reinterpret_cast<uint64_t>(block);
  return true;
}

void Engine::began() {
  if (inFlight_++ == 0) setBusy(true);
}

void Engine::submitBegun() {
  while (hasBegun_) {
    hasBegun_ = false;
    ++rounds_;
    ring_->quiet();
    submitRing();
    // What lies in the page cache has been read by now.
    ring_->reapQuiet([this](uint64_t userData, int result) { ringEnded(userData, result); });
    looked();
  }
}

uint32_t Engine::takeEnded() {
  const uint32_t count = put(ringDone_.data(), ringDone_.size());
  ringDone_.erase(ringDone_.begin(), ringDone_.begin() + count);
  ended(count);
  return count;
}

void Engine::ringEnded(uint64_t userData, int result) {
  if (const uint64_t user = userData >> userShift; user != 0)
    users_[user - 1]->ended(static_cast<uint32_t>(userData), result);
  else
    opEnded(ops_[userData], result);
}

void Engine::opEnded(FileOp& op, int result) {
  const bool isWhole = result >= 0 && static_cast<uint64_t>(result) == op.length;
  if (op.bounce != nullptr) {
    if (isWhole && op.kind == OpKind::Read) copyPieces(op, op.bounce, false);
    bounce_.give(op.bounce);
  }
  // What was done in part, or has to be done again, is done whole by a thread, which knows how.
  const bool isUnfinished = result >= 0 ? !isWhole : result == -EAGAIN || result == -EINTR || result == -ECANCELED;
  if (isUnfinished) {
    toThreads(op);
    return;
  }
  const int error = isWhole ? 0 : -result;
  noteEnd(op, error);
  ringDone_.push_back({op.slot, error});
}

uint32_t Engine::adopt(FileTraits traits) {
  auto file = std::make_shared<OpenFile>(shared_from_this(), traits);
  const auto free = std::find(files_.begin(), files_.end(), nullptr);
  if (free != files_.end()) {
    *free = file;
    return static_cast<uint32_t>(free - files_.begin());
  }
  files_.push_back(file);
  return static_cast<uint32_t>(files_.size() - 1);
}

std::shared_ptr<OpenFile> Engine::release(uint32_t handle) {
  if (handle >= files_.size()) return nullptr;
  if (readCache_ != nullptr) readCache_->forget(handle);
  return std::move(files_[handle]);
}

void Engine::completed(uint32_t slot, int error) {
  bool first;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    first = done_.empty();
    done_.push_back({slot, error});
  }
  // Later ones ride along with the wake-up that is already on its way.
  if (first) napi_call_threadsafe_function(wakeUp_, nullptr, napi_tsfn_nonblocking);
}

void Engine::onWake(napi_env env, napi_value callback, void* context, void*) {
  if (env != nullptr) static_cast<Engine*>(context)->deliver(env, callback);
}

void Engine::deliver(napi_env env, napi_value callback) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    taken_.swap(done_);
  }
  for (const auto& [slot, error] : taken_) noteEnd(ops_[slot], error);
  ended(taken_.size());
  napi_value self;
  napi_get_global(env, &self);
  for (size_t at = 0; at < taken_.size();) {
    const uint32_t count = put(taken_.data() + at, taken_.size() - at);
    at += count;
    // JavaScript's side throws nothing: it must hear of the rest of the batch in any case.
    napi_value argument;
    napi_create_uint32(env, count, &argument);
    napi_call_function(env, self, callback, 1, &argument, nullptr);
  }
  taken_.clear();
}

uint32_t Engine::put(const Completion* from, size_t count) {
  if (count == 0) return 0;
  Napi::Int32Array window = completions_.Value();
  count = std::min(count, window.ElementLength() / 2);
  int32_t* pairs = window.Data();
  for (size_t i = 0; i < count; ++i) {
    pairs[2 * i] = static_cast<int32_t>(from[i].slot);
    pairs[2 * i + 1] = from[i].error;
  }
  return static_cast<uint32_t>(count);
}

void Engine::ended(size_t count) {
  inFlight_ -= count;
  if (count > 0 && inFlight_ == 0) setBusy(false);
}

void Engine::shutDown() {
  closeRing();
  for (std::shared_ptr<OpenFile>& file : files_)
    if (file != nullptr) file->close();
  files_.clear();
}

void exportEngine(Napi::Env env, Napi::Object exports) {
  exports.Set("placeInPage", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                void* bytes = nullptr;
                size_t length = 0;
                napi_get_buffer_info(info.Env(), info[0], &bytes, &length);
                return Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(bytes) % 4096));
              }));
  exports.Set("engineStart", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Engine::of(info.Env())->start(info);
              }));
  exports.Set("readCacheStart", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                Engine::of(info.Env())->startReadCache(info);
              }));
  exports.Set("engineSubmit", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                Engine::of(info.Env())->submit(info);
              }));
}
