// What comes in on a stream: read once a turn, sorted into what is taken below JavaScript and what JavaScript is to have.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "streams.h"

namespace {

int errorOfSocket(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error == 0 ? ECONNRESET : error;
}

/// The chunks of requests that JavaScript is to have. What comes behind one for the same chunk is for it, too, so that it has
/// them in their order; others may overtake it.
class KeptChunks {
 public:
  void add(uint64_t chunk) {
    if (count_ < chunks_.size()) chunks_[count_] = chunk;
    ++count_;
  }
  bool has(uint64_t chunk) const {
    if (count_ > chunks_.size()) return true;
    return std::find(chunks_.begin(), chunks_.begin() + count_, chunk) != chunks_.begin() + count_;
  }

 private:
  std::array<uint64_t, 32> chunks_;
  size_t count_ = 0;
};

uint64_t chunkOf(const unsigned char* header) {
  return uint64_t{wire::word(header, wire::atVolume)} << 32 | wire::word(header, wire::atChunk);
}

}  // namespace

void Streams::receive(Stream& stream, bool isBroken) {
  const size_t from = static_cast<size_t>(state(stream, stateRoom));
  // One read a turn: JavaScript says where the next one goes.
  if (stream.hasBytes || stream.hasEnded || stream.memory == nullptr || from + stream.carried >= stream.memoryBytes) return;
  ssize_t length;
  memcpy(stream.memory + from, stream.carry, stream.carried);
  const size_t at = from + stream.carried;
  iovec parts[2] = {{nullptr, 0}, {stream.memory + at, stream.memoryBytes - at}};
  if (stream.bodyLeft > 0 && stream.bodyOwner != nullptr && stream.bodyAt != nullptr) parts[0] = {stream.bodyAt, stream.bodyLeft};
  do length = receiveSome(stream, parts, 2);
  while (length < 0 && errno == EINTR);
  if (length < 0) {
    const bool isEmpty = errno == EAGAIN || errno == EWOULDBLOCK;
    if (!isEmpty || isBroken) fail(stream, isEmpty ? errorOfSocket(stream.fd) : errno);
    return;
  }
  if (parts[0].iov_len > 0 && length > 0) {
    const size_t came = std::min(parts[0].iov_len, static_cast<size_t>(length));
    bodyCame(stream, came);
    length -= static_cast<ssize_t>(came);
    if (length == 0) return;
  }
  if (stream.carries != Carries::bytes && length > 0) {
    length = static_cast<ssize_t>(sift(stream, stream.memory + from, stream.carried + static_cast<size_t>(length)));
    if (length == 0) return;
  }
  stream.hasBytes = length > 0;
  if (length == 0) {
    stream.hasEnded = true;
    watch(stream);
  }
  pending_.push_back({stream.id, static_cast<int32_t>(length)});
}

ssize_t Streams::receiveSome(Stream& stream, iovec* parts, size_t count) {
  if (stream.shared != nullptr) return receiveShared(stream, parts, count);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  return recvmsg(stream.fd, &message, MSG_DONTWAIT);
}

/// So much of a payload that is not JavaScript's is where it belongs.
void Streams::bodyCame(Stream& stream, size_t length) {
  stream.bodyLeft -= length;
  if (stream.bodyAt != nullptr) stream.bodyAt += length;
  if (stream.bodyLeft > 0) return;
  Below* owner = stream.bodyOwner;
  stream.bodyOwner = nullptr;
  owner->bodyEnded(stream, stream.bodySlot);
}

/// Keeps of what has come what JavaScript is to have, moved to the front; returns how much that is.
size_t Streams::sift(Stream& stream, char* bytes, size_t length) {
  const bool isFrames = stream.carries == Carries::frames;
  const size_t headerBytes = isFrames ? wire::frameHeaderBytes : wire::nbdRequestBytes;
  size_t at = 0, kept = 0;
  KeptChunks keptChunks;
  if (isFrames && stream.bodyLeft > 0 && stream.bodyOwner == nullptr) keptChunks.add(stream.keptChunk);
  const auto keep = [&](size_t part) {
    if (kept != at) memmove(bytes + kept, bytes + at, part);
    kept += part;
    at += part;
  };
  stream.carried = 0;
  while (at < length) {
    if (stream.bodyLeft > 0) {
      const size_t part = static_cast<size_t>(std::min<uint64_t>(stream.bodyLeft, length - at));
      if (stream.bodyOwner == nullptr) {
        stream.bodyLeft -= part;
        keep(part);
      } else {
        if (stream.bodyAt != nullptr) memcpy(stream.bodyAt, bytes + at, part);
        at += part;
        bodyCame(stream, part);
      }
      continue;
    }
    if (length - at < headerBytes) {
      stream.carried = length - at;
      memcpy(stream.carry, bytes + at, stream.carried);
      break;
    }
    const auto* header = reinterpret_cast<const unsigned char*>(bytes + at);
    const uint32_t first = wire::word(header, 0);
    if (isFrames ? first >> 8 != wire::frameMagic : first != wire::nbdRequestMagic) {
      // JavaScript says what is wrong, and ends it.
      stream.carries = Carries::bytes;
      keep(length - at);
      break;
    }
    bool isTaken = false;
    stream.bodyOwner = nullptr;
    if (!isFrames) {
      if (wire::word(header, wire::atCommand) << 16 == wire::nbdWrite << 16)
        stream.bodyLeft = wire::word(header, wire::atNbdLength);
      // An NBD server answers in whatever order it likes, and so may take up what it is asked.
      for (size_t i = 0; !isTaken && i < belowRequests.size(); ++i) isTaken = belowRequests[i]->begin(stream, header);
    } else {
      stream.bodyLeft = wire::word(header, wire::atBodyBytes);
      const bool isAnswer = (wire::word(header, wire::atFlags) & wire::replyWord) != 0;
      if (isAnswer || !keptChunks.has(chunkOf(header)))
        for (size_t i = 0; !isTaken && i < belowFrames.size(); ++i)
          isTaken = isAnswer ? belowFrames[i]->answered(stream, header) : belowFrames[i]->begin(stream, header);
      if (!isTaken && !isAnswer) keptChunks.add(stream.keptChunk = chunkOf(header));
    }
    if (isTaken)
      at += headerBytes;
    else
      keep(headerBytes);
  }
  return kept;
}
