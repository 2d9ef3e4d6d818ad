// Streams through memory that both sides share. Who connects makes the memory and sends it by the socket, with the descriptor that
// wakes it, its bell; who accepts sends its own bell back. From then on the socket says nothing but that the other side is there.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "streams.h"

namespace {

/// What may come by the socket: the memory's maker's bell behind the memory, or one bell alone.
constexpr size_t descriptorsMax = 2;
/// Smaller answers are sent on together with others.
constexpr uint64_t sendOnBytesMin = 64 << 10;

/// Of the process that connected, or listened.
uid_t userBehind(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.uid : static_cast<uid_t>(-1);
}

}  // namespace

/// streamShare(id, isMaker): before anything is sent or read; the socket is a unix socket. Without memory the bytes go through
/// the socket.
void Streams::share(const Napi::CallbackInfo& info) {
  Stream* stream = at(info[0]);
  if (stream == nullptr) return;
  openBell();
  if (!info[1].ToBoolean()) {
    stream->awaitsMemory = true;
  } else {
    int memory = -1;
    const bool isTrusted = geteuid() == 0 || geteuid() == userBehind(stream->fd);
    if (bell_ >= 0 && isTrusted) stream->shared = SharedMemory::make(memory);
    if (stream->shared != nullptr) shared_.push_back(stream);
    const bool isSent = stream->shared == nullptr ? sendDescriptors(*stream, {}) : sendDescriptors(*stream, {memory, bell_});
    if (!isSent) fail(*stream, errno);
    if (memory >= 0) ::close(memory);
  }
  watch(*stream);
}

void Streams::openBell() {
  if (bellPoll_ != nullptr) return;
  bell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (bell_ < 0) return;
  bellPoll_ = new uv_poll_t;
  if (uv_poll_init(loop_, bellPoll_, bell_) != 0) {
    delete bellPoll_;
    bellPoll_ = nullptr;
    ::close(bell_);
    bell_ = -1;
    return;
  }
  bellPoll_->data = this;
  // Who rings it wants us to look, which we do at the end of each turn.
  uv_poll_start(bellPoll_, UV_READABLE, [](uv_poll_t* poll, int, int) {
    uint64_t rings;
    (void)!::read(static_cast<Streams*>(poll->data)->bell_, &rings, sizeof rings);
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(bellPoll_));
}

void Streams::closeBell() {
  if (bellPoll_ == nullptr) return;
  uv_poll_stop(bellPoll_);
  uv_close(reinterpret_cast<uv_handle_t*>(bellPoll_), [](uv_handle_t* poll) { delete reinterpret_cast<uv_poll_t*>(poll); });
  ::close(bell_);
  bellPoll_ = nullptr;
}

/// False: see errno.
bool Streams::sendDescriptors(Stream& stream, std::initializer_list<int> descriptors) {
  char what = static_cast<char>(descriptors.size());
  iovec piece{&what, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(descriptorsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (descriptors.size() > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    memcpy(CMSG_DATA(rights), descriptors.begin(), descriptors.size() * sizeof(int));
  }
  return sendmsg(stream.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

/// What comes by a socket whose bytes go through memory: descriptors, or the end.
void Streams::onSharedSocket(Stream& stream) {
  if (stream.socketHasEnded || stream.hasFailed) return;
  char what = 0;
  iovec part{&what, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(descriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t length = recvmsg(stream.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length <= 0) {
    if (length == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) socketEnded(stream, length == 0 ? 0 : errno);
    return;
  }
  std::vector<int> descriptors;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr; rights = CMSG_NXTHDR(&message, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    descriptors.resize((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(descriptors.data(), CMSG_DATA(rights), descriptors.size() * sizeof(int));
  }
  // A stranger could have us wait for the bell that he gives us.
  const uid_t user = descriptors.empty() ? 0 : userBehind(stream.fd);
  int error = EPROTO;
  // What this process has no descriptor for has been left out.
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    error = EMFILE;
  else if (user != 0 && user != geteuid())
    error = EACCES;
  else if (descriptors.size() == static_cast<size_t>(what))
    error = takeDescriptors(stream, descriptors);
  if (error == 0) return;
  for (const int fd : descriptors)
    if (fd != stream.bell) ::close(fd);
  socketEnded(stream, error);
}

/// What is in the memory is read before it is told.
void Streams::socketEnded(Stream& stream, int error) {
  stream.socketHasEnded = true;
  stream.socketError = error;
  if (stream.awaitsMemory) fail(stream, error == 0 ? ECONNRESET : error);
}

/// Returns an errno, where that is not what was to come; then all but the bell are to be closed.
int Streams::takeDescriptors(Stream& stream, const std::vector<int>& descriptors) {
  if (!stream.awaitsMemory) {
    if (stream.shared == nullptr || stream.bell >= 0 || descriptors.size() != 1) return EPROTO;
    stream.bell = descriptors[0];
    return 0;
  }
  if (descriptors.size() == 1) return EPROTO;
  if (descriptors.size() == 2) {
    if (bell_ < 0) return EMFILE;
    stream.shared = SharedMemory::join(descriptors[0]);
    if (stream.shared == nullptr) return errno;
    shared_.push_back(&stream);
    stream.bell = descriptors[1];
    if (!sendDescriptors(stream, {bell_})) return errno;
    ::close(descriptors[0]);
  }
  stream.awaitsMemory = false;
  // What had to wait.
  if (!stream.unsent.empty()) {
    transmit(stream);
    progressed(stream);
  }
  return 0;
}

void Streams::unshare(Stream& stream) {
  if (stream.bell >= 0) ::close(stream.bell);
  stream.bell = -1;
  stream.awaitsMemory = false;
  if (stream.shared == nullptr) return;
  shared_.erase(std::find(shared_.begin(), shared_.end(), &stream));
  stream.shared = nullptr;
}

void Streams::ringBellOf(Stream& stream) {
  // It was sent before anything was waited for, and may not have been taken yet.
  if (stream.bell < 0) onSharedSocket(stream);
  const uint64_t once = 1;
  if (stream.bell >= 0) (void)!::write(stream.bell, &once, sizeof once);
}

ssize_t Streams::receiveShared(Stream& stream, iovec* parts, size_t count) {
  // Asked first: what was there at the end is read before the end is told.
  const bool hasEnded = stream.socketHasEnded;
  const ssize_t length = stream.shared->in.read(parts, count);
  if (length < 0) {
    errno = EPROTO;
    return -1;
  }
  if (length > 0) {
    if (stream.shared->in.isAwaited()) ringBellOf(stream);
    return length;
  }
  errno = hasEnded ? stream.socketError : EAGAIN;
  return errno == 0 ? 0 : -1;
}

ssize_t Streams::sendShared(Stream& stream, iovec* pieces, size_t count) {
  errno = EAGAIN;
  if (stream.shared == nullptr) return -1;
  if (stream.socketHasEnded) {
    // Who sends no more may still read; who is gone does not.
    pollfd socket{stream.fd, 0, 0};
    if (poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLERR)) != 0) {
      errno = EPIPE;
      return -1;
    }
  }
  PipeWriter& out = stream.shared->out;
  const ssize_t length = out.write(pieces, count);
  if (length < 0) errno = EPROTO;
  if (length > 0 && out.isAwaited()) ringBellOf(stream);
  if (length != 0) return length;
  errno = EAGAIN;
  if (out.awaitRoom()) return -1;
  return sendShared(stream, pieces, count);
}

bool Streams::wantsBytes(const Stream& stream) const {
  return stream.isReading && stream.memory != nullptr && !stream.hasBytes && !stream.hasEnded && !stream.hasFailed;
}

bool Streams::hasBytesFor(const Stream& stream) const {
  return wantsBytes(stream) && (stream.shared->in.there() >= stream.awaitedBytes || stream.socketHasEnded);
}

bool Streams::hasRoomFor(const Stream& stream) const {
  return stream.awaitsRoom && !stream.hasFailed && stream.shared->out.hasRoom();
}

bool Streams::canGoOn(const Stream& stream) const { return hasBytesFor(stream) || hasRoomFor(stream); }

bool Streams::sharedCanGoOn() const {
  return std::any_of(shared_.begin(), shared_.end(), [this](const Stream* stream) { return canGoOn(*stream); });
}

void Streams::lookAtShared() {
  for (Stream* stream : shared_) {
    stream->shared->in.awaitBytes(false);
    // Who is gone makes no room: sending tells that.
    if (hasRoomFor(*stream) || (stream->awaitsRoom && stream->socketHasEnded)) {
      const size_t takes = stream->takes.size();
      transmit(*stream);
      if (stream->takes.size() < takes) progressed(*stream);
    }
    if (!hasBytesFor(*stream)) continue;
    stream->awaitedBytes = 1;
    if (!sendOn(*stream)) receive(*stream, false);
  }
}

/// Large answers for others go on from where they lie, instead of being copied here and out again. False: what is next is none.
bool Streams::sendOn(Stream& stream) {
  constexpr size_t headerBytes = wire::frameHeaderBytes;
  PipeReader& in = stream.shared->in;
  bool hasSent = false;
  while (stream.carries == Carries::frames && stream.bodyLeft == 0 && stream.carried == 0) {
    const uint64_t there = in.there();
    if (there < headerBytes || there > SharedMemory::pipeBytes) break;
    // Copied, as the other side could change it.
    unsigned char header[headerBytes];
    size_t at = 0;
    for (const iovec& part : in.look(0, headerBytes)) {
      memcpy(header + at, part.iov_base, part.iov_len);
      at += part.iov_len;
    }
    const uint64_t bodyBytes = wire::word(header, wire::atBodyBytes);
    if (wire::word(header, 0) >> 8 != wire::frameMagic || (wire::word(header, wire::atFlags) & wire::replyWord) == 0) break;
    if (bodyBytes < sendOnBytesMin) break;
    const auto below = std::find_if(belowFrames.begin(), belowFrames.end(), [&](const Below* one) { return one->sendsOn(stream, header); });
    if (below == belowFrames.end()) break;
    if (there < headerBytes + bodyBytes) {
      if (stream.socketHasEnded) break;
      stream.awaitedBytes = headerBytes + bodyBytes;
      return true;
    }
    const auto body = in.look(headerBytes, bodyBytes);
    (*below)->sendOn(stream, header, body.data(), body[1].iov_len == 0 ? 1 : 2);
    in.skip(headerBytes + bodyBytes);
    if (in.isAwaited()) ringBellOf(stream);
    hasSent = true;
  }
  return hasSent;
}

void Streams::restShared() {
  if (shared_.empty()) return;
  for (Stream* stream : shared_) {
    stream->shared->in.awaitBytes(wantsBytes(*stream));
    // Said again each time: the bell may have rung for room that was gone by then.
    if (stream->awaitsRoom) stream->shared->out.awaitRoom();
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sharedCanGoOn()) hurry();
}
