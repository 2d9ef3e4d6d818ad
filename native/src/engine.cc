#include "engine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "addon.h"

namespace {

// Per file; chosen by bench/file-engine.ts. A disk likes depth; what mostly copies from the page cache does not.
constexpr size_t threadsMaxDirect = 16, threadsMaxBuffered = 8;
// The layout of one operation in the submission array; src/io/file-engine.ts writes it.
enum Field { fieldKind, fieldSlot, fieldHandle, fieldOffset, fieldLength, fieldPieces, fieldCount };

}  // namespace

void OpenFile::enqueue(FileOp* op) {
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.push_back(op);
  if (queue_.size() > idle_ && threads_.size() < (traits_.isDirect ? threadsMaxDirect : threadsMaxBuffered)) {
    try {
      threads_.emplace_back([this] { work(); });
      return;
    } catch (const std::system_error&) {
      if (threads_.empty()) {
        queue_.pop_back();
        lock.unlock();
        engine_->completed(op->slot, EAGAIN);
        return;
      }
    }
  }
  if (idle_ > 0) wake_.notify_one();
}

void OpenFile::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    while (queue_.empty()) {
      if (closing_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
    FileOp* op = queue_.front();
    queue_.pop_front();
    lock.unlock();
    // After `completed` the slot, and with it `op`, may be in use again.
    const uint32_t slot = op->slot;
    const int error = carryOut(traits_, *op);
    engine_->completed(slot, error);
    lock.lock();
  }
}

int OpenFile::close() {
  std::vector<std::thread> threads;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return 0;
    closed_ = closing_ = true;
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
  // Linux has closed the descriptor even where it reports an error.
  return ::close(traits_.fd) == 0 || errno == EINTR ? 0 : errno;
}

std::shared_ptr<Engine> Engine::of(Napi::Env env) {
  auto* known = env.GetInstanceData<std::shared_ptr<Engine>>();
  if (known == nullptr) {
    known = new std::shared_ptr<Engine>(std::make_shared<Engine>(env));
    env.SetInstanceData(known);
  }
  return *known;
}

/// start(submission: Float64Array, completions: Int32Array, wake: (count) => void)
void Engine::start(const Napi::CallbackInfo& info) {
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
}

/// submit(count, pieces): takes `count` operations from the submission array and their buffers from `pieces`, in order.
void Engine::submit(const Napi::CallbackInfo& info) {
  napi_env env = info.Env();
  const size_t count = info[0].As<Napi::Number>().Uint32Value();
  napi_value pieces = info[1];
  uint32_t nextPiece = 0;
  const double* fields = submission_.Value().Data();
  if (inFlight_ == 0 && count > 0) napi_ref_threadsafe_function(env, wakeUp_);
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
    const size_t handle = static_cast<size_t>(fields[fieldHandle]);
    if (handle < files_.size() && files_[handle] != nullptr)
      files_[handle]->enqueue(&op);
    else
      completed(slot, EBADF);
  }
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
  inFlight_ -= taken_.size();
  if (inFlight_ == 0) napi_unref_threadsafe_function(env, wakeUp_);
  Napi::Int32Array window = completions_.Value();
  const size_t room = window.ElementLength() / 2;
  for (size_t at = 0; at < taken_.size(); at += room) {
    const size_t count = std::min(room, taken_.size() - at);
    int32_t* pairs = window.Data();
    for (size_t i = 0; i < count; ++i) {
      pairs[2 * i] = static_cast<int32_t>(taken_[at + i].slot);
      pairs[2 * i + 1] = taken_[at + i].error;
    }
    // JavaScript's side throws nothing: it must hear of the rest of the batch in any case.
    napi_value argument, self;
    napi_create_uint32(env, static_cast<uint32_t>(count), &argument);
    napi_get_global(env, &self);
    napi_call_function(env, self, callback, 1, &argument, nullptr);
  }
  taken_.clear();
}

void Engine::shutDown() {
  for (std::shared_ptr<OpenFile>& file : files_)
    if (file != nullptr) file->close();
  files_.clear();
}

void exportEngine(Napi::Env env, Napi::Object exports) {
  exports.Set("engineStart", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                Engine::of(info.Env())->start(info);
              }));
  exports.Set("engineSubmit", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                Engine::of(info.Env())->submit(info);
              }));
}
