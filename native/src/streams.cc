#include "streams.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "addon.h"
#include "async.h"
#include "instance.h"
#include "turn.h"

namespace {

/// Pieces of one system call.
constexpr size_t piecesMax = 256;
/// A peer that takes nothing gets no more from the lanes.
constexpr double laneUnsentBytesMax = 4 << 20;

}  // namespace

Streams& Streams::of(Napi::Env env) {
  std::shared_ptr<Streams>& streams = Instance::of(env).streams;
  if (streams == nullptr) streams = std::make_shared<Streams>(env);
  return *streams;
}

/// streamsStart(states: Float64Array, events: Int32Array)
void Streams::start(const Napi::CallbackInfo& info) {
  if (loop_ != nullptr) throw Napi::Error::New(env_, "the streams have started already");
  if (napi_get_uv_event_loop(env_, &loop_) != napi_ok) throw Napi::Error::New(env_, "there is no event loop");
  statesArray_ = Napi::Persistent(info[0].As<Napi::Float64Array>());
  states_ = statesArray_.Value().Data();
  streamsMax_ = statesArray_.Value().ElementLength() / stateCount;
  eventsArray_ = Napi::Persistent(info[1].As<Napi::Int32Array>());
  hurry_ = new uv_idle_t;
  uv_idle_init(loop_, hurry_);
  Turn::of(env_).streams = this;
  napi_add_env_cleanup_hook(env_, [](void* streams) { static_cast<Streams*>(streams)->shutDown(); }, this);
}

/// streamAdopt(fd, sendBufferBytes): number; the descriptor is ours from here on. -1: there are too many streams.
Napi::Value Streams::adopt(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const int bufferBytes = info[1].As<Napi::Number>().Int32Value();
  if (free_.empty() && streams_.size() == streamsMax_) {
    ::close(fd);
    return Napi::Number::New(env_, -1);
  }
  auto* stream = new Stream;
  if (int error = uv_poll_init(loop_, &stream->poll, fd); error != 0) {
    delete stream;
    ::close(fd);
    throw errorOf(env_, failed("epoll_ctl", -error));
  }
  stream->owner = this;
  stream->serial = ++serials_;
  stream->fd = fd;
  stream->poll.data = stream;
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(streams_.size()));
    streams_.push_back(nullptr);
  }
  stream->id = free_.back();
  free_.pop_back();
  streams_[stream->id] = stream;
  for (int which = 0; which < stateCount; ++which) state(*stream, static_cast<State>(which)) = 0;
  // More than the system's limit for everybody, where we may.
  if (bufferBytes > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bufferBytes, sizeof bufferBytes) != 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bufferBytes, sizeof bufferBytes);
  return Napi::Number::New(env_, stream->id);
}

/// null: it is closed.
Stream* Streams::at(const Napi::Value& id) { return find(id.As<Napi::Number>().Uint32Value()); }

Stream* Streams::find(uint32_t id) const {
  Stream* stream = id < streams_.size() ? streams_[id] : nullptr;
  return stream == nullptr || stream->isClosed ? nullptr : stream;
}

/// streamCarries(id, what, isStructured): from the next byte on it carries frames (1) or NBD requests (2), one behind the other;
/// 0: what the relay has of it comes back.
void Streams::carries(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr) return;
  stream->carries = static_cast<Carries>(info[1].As<Napi::Number>().Uint32Value());
  stream->isStructured = info[2].ToBoolean();
  if (stream->carries != Carries::bytes) return;
  stream->carried = 0;
  for (Below* below : belowRequests) below->streamGone(*stream);
}

/// streamReturned(id): Buffer of the requests that were given back since it was last asked, with their payloads.
Napi::Value Streams::returned(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr) return Napi::Buffer<char>::New(env_, 0);
  auto headers = Napi::Buffer<char>::Copy(env_, stream->returned.data(), stream->returned.size());
  // Payloads may have been among it: nothing of that memory is kept.
  stream->returned = std::string();
  return headers;
}

/// streamAwaited(id): number of answers that are awaited from there below JavaScript.
Napi::Value Streams::awaited(const Napi::CallbackInfo& info) {
  const Stream* stream = at(info[0]);
  return Napi::Number::New(env_, stream == nullptr ? 0 : stream->awaited);
}

void Streams::giveBack(Stream& stream, const unsigned char* header, size_t bytes) {
  if (stream.returned.empty()) pending_.push_back({stream.id, hasReturned});
  stream.returned.append(reinterpret_cast<const char*>(header), bytes);
  hurry();
}

void Streams::calm() { uv_idle_stop(hurry_); }

void Streams::hurry() { uv_idle_start(hurry_, [](uv_idle_t*) {}); }

bool Streams::takesMore(const Stream& stream) const {
  return !stream.isEnding && !stream.hasFailed && states_[stream.id * stateCount + stateUnsentBytes] <= laneUnsentBytesMax;
}

void Streams::append(Stream& stream, const iovec* pieces, size_t count, Take take) {
  // What waits for room already leaves when there is some.
  if (stream.unsent.empty()) toSend_.emplace_back(stream.id, stream.serial);
  for (const iovec* piece = pieces; piece != pieces + count; ++piece) {
    stream.unsent.push_back(*piece);
    state(stream, stateUnsentBytes) += static_cast<double>(piece->iov_len);
  }
  stream.takes.push_back(take);
}

void Streams::appendHeader(Stream& stream, const unsigned char* header, size_t bytes) {
  const uint32_t slot = headers_.keep(header, bytes);
  append(stream, {{headers_.at(slot), bytes}}, {1, &headers_, slot});
}

uint32_t Headers::keep(const unsigned char* header, size_t bytes) {
  const auto slot = static_cast<uint32_t>(headers_.take());
  memcpy(headers_[slot].data(), header, bytes);
  return slot;
}

void Streams::sendAppended() {
  for (const auto& [id, serial] : toSend_) {
    Stream* stream = find(id);
    if (stream == nullptr || stream->serial != serial || stream->hasFailed) continue;
    transmit(*stream);
    // Whoever ends a client waits until its last answers have left.
    if (stream->carries == Carries::bytes) progressed(*stream);
  }
  toSend_.clear();
}

void Streams::sendFrom(Stream& stream, const iovec* pieces, size_t count, char* rest) {
  transmit(stream);
  for (iovec& left : stream.unsent) {
    auto* bytes = static_cast<char*>(left.iov_base);
    char* place = rest;
    for (const iovec* piece = pieces; piece != pieces + count; place += piece++->iov_len) {
      const auto* first = static_cast<const char*>(piece->iov_base);
      if (bytes < first || bytes >= first + piece->iov_len) continue;
      left.iov_base = memcpy(place + (bytes - first), bytes, left.iov_len);
      break;
    }
  }
}

void Streams::progressed(Stream& stream) {
  if (stream.hasProgress || stream.hasFailed) return;
  stream.hasProgress = true;
  pending_.push_back({stream.id, progress});
}

/// streamMemory(id, memory): where reads go from now on, each to the place that the state names.
void Streams::memory(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr) return;
  void* bytes = nullptr;
  napi_get_buffer_info(env_, info[1], &bytes, &stream->memoryBytes);
  stream->memory = static_cast<char*>(bytes);
  watch(*stream);
}

/// streamSend(id, pieces): sends what the socket takes. JavaScript keeps the memory until the state says that it has left.
void Streams::send(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr || stream->hasFailed) return;
  napi_value pieces = info[1];
  uint32_t count = 0;
  napi_get_array_length(env_, pieces, &count);
  const bool wasIdle = stream->unsent.empty();
  size_t kept = 0;
  double bytes = 0;
  for (uint32_t i = 0; i < count; ++i) {
    napi_value piece;
    iovec part{};
    napi_get_element(env_, pieces, i, &piece);
    napi_get_buffer_info(env_, piece, &part.iov_base, &part.iov_len);
    if (part.iov_len == 0) continue;
    stream->unsent.push_back(part);
    bytes += static_cast<double>(part.iov_len);
    ++kept;
  }
  if (kept == 0) return;
  stream->takes.push_back({kept, nullptr, 0});
  state(*stream, stateUnsentBytes) += bytes;
  state(*stream, stateUnsentTakes) += 1;
  // Where something waits for room already, this waits behind it.
  if (wasIdle) transmit(*stream);
}

/// streamRead(id, on): whether to read.
void Streams::read(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr) return;
  stream->isReading = info[1].ToBoolean();
  watch(*stream);
}

/// streamEnd(id): after what was sent before comes the end.
void Streams::end(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr || stream->isEnding) return;
  stream->isEnding = true;
  if (stream->unsent.empty()) shutdown(stream->fd, SHUT_WR);
}

/// streamClose(id): what is unsent is dropped, and nothing is told any more.
void Streams::close(const Napi::CallbackInfo& info) {
  if (Stream* stream = at(info[0]); stream != nullptr) drop(*stream);
}

void Streams::drop(Stream& stream) {
  stream.isClosed = true;
  forgetUnsent(stream);
  for (Below* below : belowFrames) below->streamGone(stream);
  for (Below* below : belowRequests) below->streamGone(stream);
  // What has failed between two turns is told at the end of the next one, when the number may be somebody else's.
  pending_.erase(std::remove_if(pending_.begin(), pending_.end(), [&](const Event& e) { return e.id == stream.id; }),
                 pending_.end());
  uv_poll_stop(&stream.poll);
  ::close(stream.fd);
  unshare(stream);
  // Its number is somebody else's only when nothing of this turn can name it any more.
  uv_close(reinterpret_cast<uv_handle_t*>(&stream.poll), [](uv_handle_t* poll) {
    auto* closed = static_cast<Stream*>(poll->data);
    closed->owner->streams_[closed->id] = nullptr;
    closed->owner->free_.push_back(closed->id);
    delete closed;
  });
}

void Streams::watch(Stream& stream) {
  if (stream.isClosed) return;
  int wanted = 0;
  if (stream.shared != nullptr || stream.awaitsMemory) {
    if (!stream.socketHasEnded && !stream.hasFailed) wanted = UV_READABLE;
  } else {
    if (!stream.unsent.empty()) wanted = UV_WRITABLE;
    if (stream.isReading && !stream.hasEnded && stream.memory != nullptr) wanted |= UV_READABLE;
  }
  if (wanted == stream.watched) return;
  stream.watched = wanted;
  if (wanted == 0)
    uv_poll_stop(&stream.poll);
  else
    uv_poll_start(&stream.poll, wanted, [](uv_poll_t* poll, int status, int events) {
      auto* ready = static_cast<Stream*>(poll->data);
      ready->owner->onPoll(*ready, status, events);
    });
}

void Streams::onPoll(Stream& stream, int status, int events) {
  // With an error libuv has stopped watching; the socket tells what it is, perhaps after the last bytes.
  const bool isBroken = status < 0;
  if (isBroken) stream.watched = 0;
  if (stream.shared != nullptr || stream.awaitsMemory) {
    onSharedSocket(stream);
    watch(stream);
    return;
  }
  if (!isBroken && (events & UV_WRITABLE) != 0) {
    const size_t takes = stream.takes.size();
    transmit(stream);
    if (stream.takes.size() < takes) progressed(stream);
  }
  if (isBroken || (events & UV_READABLE) != 0) receive(stream, isBroken);
  if (isBroken) watch(stream);
}

void Streams::transmit(Stream& stream) {
  while (!stream.unsent.empty()) {
    iovec pieces[piecesMax];
    const size_t count = std::min(piecesMax, stream.unsent.size());
    std::copy_n(stream.unsent.begin(), count, pieces);
    const ssize_t length = sendSome(stream, pieces, count);
    stream.awaitsRoom = length < 0;
    if (length >= 0) {
      sent(stream, static_cast<size_t>(length));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      fail(stream, errno);
      return;
    }
  }
  if (stream.unsent.empty() && stream.isEnding) shutdown(stream.fd, SHUT_WR);
  watch(stream);
}

ssize_t Streams::sendSome(Stream& stream, iovec* pieces, size_t count) {
  if (stream.shared != nullptr || stream.awaitsMemory) return sendShared(stream, pieces, count);
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  return sendmsg(stream.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Streams::sent(Stream& stream, size_t bytes) {
  state(stream, stateUnsentBytes) -= static_cast<double>(bytes);
  while (bytes > 0) {
    iovec& first = stream.unsent.front();
    const size_t part = std::min(bytes, first.iov_len);
    first.iov_base = static_cast<char*>(first.iov_base) + part;
    first.iov_len -= part;
    bytes -= part;
    if (first.iov_len > 0) break;
    stream.unsent.pop_front();
    Take& take = stream.takes.front();
    if (--take.pieces > 0) continue;
    if (take.owner == nullptr)
      state(stream, stateUnsentTakes) -= 1;
    else
      take.owner->release(take.slot);
    stream.takes.pop_front();
  }
}

void Streams::forgetUnsent(Stream& stream) {
  for (const Take& take : stream.takes)
    if (take.owner != nullptr) take.owner->release(take.slot);
  stream.unsent.clear();
  stream.takes.clear();
}

void Streams::fail(Stream& stream, int error) {
  forgetUnsent(stream);
  stream.hasEnded = stream.hasFailed = true;
  watch(stream);
  pending_.push_back({stream.id, -error});
  // It may be known outside the turn's reading.
  hurry();
}

uint32_t Streams::takePending() {
  uv_idle_stop(hurry_);
  Napi::Int32Array window = eventsArray_.Value();
  const size_t room = window.ElementLength() / 2;
  int32_t* pairs = window.Data();
  uint32_t count = 0;
  for (; !pending_.empty() && count < room; pending_.pop_front()) {
    const Event event = pending_.front();
    Stream* stream = streams_[event.id];
    if (stream == nullptr || stream->isClosed) continue;
    if (event.what == progress)
      stream->hasProgress = false;
    else if (event.what > 0 && event.what != hasReturned)
      stream->hasBytes = false;
    pairs[2 * count] = static_cast<int32_t>(event.id);
    pairs[2 * count + 1] = event.what;
    ++count;
  }
  return count;
}

/// The environment ends: nothing is read into its memory any more.
void Streams::shutDown() {
  for (Stream* stream : streams_)
    if (stream != nullptr && !stream->isClosed) drop(*stream);
  closeBell();
  uv_close(reinterpret_cast<uv_handle_t*>(hurry_), [](uv_handle_t* hurry) { delete reinterpret_cast<uv_idle_t*>(hurry); });
}

void exportStreams(Napi::Env env, Napi::Object exports) {
  const auto verb = [&](const char* name, void (Streams::*act)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, [act](const Napi::CallbackInfo& info) {
                  (Streams::of(info.Env()).*act)(info);
                }));
  };
  exports.Set("streamAdopt",
              Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return Streams::of(info.Env()).adopt(info); }));
  exports.Set("streamReturned", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Streams::of(info.Env()).returned(info);
              }));
  exports.Set("streamAwaited", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Streams::of(info.Env()).awaited(info);
              }));
  verb("streamCarries", &Streams::carries);
  verb("streamsStart", &Streams::start);
  verb("streamShare", &Streams::share);
  verb("streamMemory", &Streams::memory);
  verb("streamSend", &Streams::send);
  verb("streamRead", &Streams::read);
  verb("streamEnd", &Streams::end);
  verb("streamClose", &Streams::close);
}
