// The generic netlink family "nbd": requests as the kernel defines them, one per socket, on a worker thread, since
// some of them wait for I/O that this very process answers.
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "addon.h"
#include "async.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace {

// Of newer kernel headers than some systems have.
constexpr uint16_t attributeBackendIdentifier = 10;

/// A request under construction: header, generic header, attributes.
class Request {
 public:
  Request(uint16_t family, uint8_t command, uint8_t version) : bytes_(NLMSG_LENGTH(GENL_HDRLEN)) {
    nlmsghdr* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
    header->nlmsg_type = family;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = 1;
    auto* generic = static_cast<genlmsghdr*>(NLMSG_DATA(header));
    generic->cmd = command;
    generic->version = version;
  }
  void put(uint16_t type, const void* value, size_t length) {
    nlattr attribute{static_cast<uint16_t>(NLA_HDRLEN + length), type};
    append(&attribute, sizeof attribute);
    append(value, length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void put32(uint16_t type, uint32_t value) { put(type, &value, sizeof value); }
  void put64(uint16_t type, uint64_t value) { put(type, &value, sizeof value); }
  void putText(uint16_t type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }
  /// What is put until `end` lies inside.
  size_t begin(uint16_t type) {
    const size_t at = bytes_.size();
    put(type | NLA_F_NESTED, nullptr, 0);
    return at;
  }
  void end(size_t at) {
    reinterpret_cast<nlattr*>(bytes_.data() + at)->nla_len = static_cast<uint16_t>(bytes_.size() - at);
  }
  const std::vector<char>& finished() {
    reinterpret_cast<nlmsghdr*>(bytes_.data())->nlmsg_len = static_cast<uint32_t>(bytes_.size());
    return bytes_;
  }

 private:
  void append(const void* from, size_t length) {
    const size_t at = bytes_.size();
    bytes_.resize(at + length);
    if (length > 0) memcpy(bytes_.data() + at, from, length);
  }
  std::vector<char> bytes_;
};

/// Calls `visit(type, value, length)` for each attribute.
template <typename Visit>
void eachAttribute(const char* at, size_t left, Visit visit) {
  while (left >= NLA_HDRLEN) {
    nlattr attribute;
    memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > left) return;
    visit(static_cast<uint16_t>(attribute.nla_type & NLA_TYPE_MASK), at + NLA_HDRLEN,
          static_cast<size_t>(attribute.nla_len - NLA_HDRLEN));
    const size_t step = NLA_ALIGN(attribute.nla_len);
    if (step >= left) return;
    at += step, left -= step;
  }
}

class Socket {
 public:
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Outcome open() {
    fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (fd_ < 0) return failed("socket AF_NETLINK");
    const int on = 1;
    (void)setsockopt(fd_, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);  // the kernel's own words, where it has any
    sockaddr_nl self{};
    self.nl_family = AF_NETLINK;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&self), sizeof self) != 0) return failed("bind AF_NETLINK");
    return {};
  }
  /// Sends and collects the answers' attributes until the acknowledgement; its error is the kernel's verdict.
  Outcome ask(Request& request, std::string& attributes) {
    const std::vector<char>& bytes = request.finished();
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t sent;
    do {
      sent = sendto(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return failed("send to netlink");
    for (;;) {
      alignas(nlmsghdr) char buffer[32768];
      const ssize_t received = recv(fd_, buffer, sizeof buffer, 0);
      if (received < 0 && errno == EINTR) continue;
      if (received < 0) return failed("receive from netlink");
      int left = static_cast<int>(received);
      for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left);
           message = NLMSG_NEXT(message, left)) {
        if (message->nlmsg_type == NLMSG_ERROR) return verdict(message);
        const size_t head = NLMSG_LENGTH(GENL_HDRLEN);
        if (message->nlmsg_len > head)
          attributes.append(reinterpret_cast<char*>(message) + head, message->nlmsg_len - head);
      }
    }
  }

 private:
  static Outcome verdict(nlmsghdr* message) {
    auto* answer = static_cast<nlmsgerr*>(NLMSG_DATA(message));
    if (answer->error == 0) return {};
    Outcome outcome = failed("netlink request", -answer->error);
    if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return outcome;
    size_t skip = sizeof *answer;
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) skip += answer->msg.nlmsg_len - sizeof(nlmsghdr);
    const char* at = static_cast<char*>(NLMSG_DATA(message)) + NLMSG_ALIGN(skip);
    const char* end = reinterpret_cast<char*>(message) + message->nlmsg_len;
    if (at < end)
      eachAttribute(at, end - at, [&outcome](uint16_t type, const char* value, size_t length) {
        if (type == NLMSGERR_ATTR_MSG) outcome.words.assign(value, strnlen(value, length));
      });
    return outcome;
  }
  int fd_ = -1;
};

/// ENOENT where the module is not loaded.
Outcome resolveFamily(Socket& socket, uint16_t& family) {
  Request request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
  request.putText(CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
  std::string attributes;
  if (Outcome outcome = socket.ask(request, attributes); outcome.error != 0) return outcome;
  eachAttribute(attributes.data(), attributes.size(), [&family](uint16_t type, const char* value, size_t length) {
    if (type == CTRL_ATTR_FAMILY_ID && length >= sizeof family) memcpy(&family, value, sizeof family);
  });
  return family == 0 ? failed("netlink family nbd", ENOENT) : Outcome{};
}

/// What a request may carry; what is negative or empty is left out.
struct Settings {
  uint8_t command = 0;
  double index = -1, sizeBytes = -1, blockBytes = -1, timeoutSec = -1, deadConnectionTimeoutSec = -1;
  double serverFlags = -1, clientFlags = -1;
  std::vector<int> socketFds;
  std::string identifier;
};

void putSettings(Request& request, const Settings& settings) {
  if (settings.index >= 0) request.put32(NBD_ATTR_INDEX, static_cast<uint32_t>(settings.index));
  const auto maybe64 = [&request](uint16_t type, double value) {
    if (value >= 0) request.put64(type, static_cast<uint64_t>(value));
  };
  maybe64(NBD_ATTR_SIZE_BYTES, settings.sizeBytes);
  maybe64(NBD_ATTR_BLOCK_SIZE_BYTES, settings.blockBytes);
  maybe64(NBD_ATTR_TIMEOUT, settings.timeoutSec);
  maybe64(NBD_ATTR_DEAD_CONN_TIMEOUT, settings.deadConnectionTimeoutSec);
  maybe64(NBD_ATTR_SERVER_FLAGS, settings.serverFlags);
  maybe64(NBD_ATTR_CLIENT_FLAGS, settings.clientFlags);
  if (!settings.identifier.empty()) request.putText(attributeBackendIdentifier, settings.identifier);
  if (settings.socketFds.empty()) return;
  const size_t list = request.begin(NBD_ATTR_SOCKETS);
  for (const int fd : settings.socketFds) {
    const size_t item = request.begin(NBD_SOCK_ITEM);
    request.put32(NBD_SOCK_FD, static_cast<uint32_t>(fd));
    request.end(item);
  }
  request.end(list);
}

/// The index in the answer to CONNECT, -1 where there is none.
Outcome askNbd(const Settings& settings, int& index) {
  Socket socket;
  uint16_t family = 0;
  if (Outcome outcome = socket.open(); outcome.error != 0) return outcome;
  if (Outcome outcome = resolveFamily(socket, family); outcome.error != 0) return outcome;
  Request request(family, settings.command, NBD_GENL_VERSION);
  putSettings(request, settings);
  std::string attributes;
  if (Outcome outcome = socket.ask(request, attributes); outcome.error != 0) return outcome;
  index = -1;
  eachAttribute(attributes.data(), attributes.size(), [&index](uint16_t type, const char* value, size_t length) {
    if (type == NBD_ATTR_INDEX && length >= sizeof index) memcpy(&index, value, sizeof index);
  });
  return {};
}

double numberIn(Napi::Object options, const char* key) {
  Napi::Value value = options.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
}

/// nbdRequest({ command, index?, sizeBytes?, … , socketFds?, identifier? }): Promise<number>
Napi::Value nbdRequest(const Napi::CallbackInfo& info) {
  Napi::Object options = info[0].As<Napi::Object>();
  Settings settings;
  settings.command = static_cast<uint8_t>(numberIn(options, "command"));
  settings.index = numberIn(options, "index");
  settings.sizeBytes = numberIn(options, "sizeBytes");
  settings.blockBytes = numberIn(options, "blockBytes");
  settings.timeoutSec = numberIn(options, "timeoutSec");
  settings.deadConnectionTimeoutSec = numberIn(options, "deadConnectionTimeoutSec");
  settings.serverFlags = numberIn(options, "serverFlags");
  settings.clientFlags = numberIn(options, "clientFlags");
  if (Napi::Value fds = options.Get("socketFds"); fds.IsArray())
    for (uint32_t i = 0; i < fds.As<Napi::Array>().Length(); ++i)
      settings.socketFds.push_back(fds.As<Napi::Array>().Get(i).As<Napi::Number>().Int32Value());
  if (Napi::Value text = options.Get("identifier"); text.IsString()) settings.identifier = text.As<Napi::String>();
  return AsyncVerb<int>::start(
      info.Env(), [settings](int& index) { return askNbd(settings, index); },
      [](Napi::Env env, int& index) { return Napi::Number::New(env, index); });
}

/// nbdFamily(): throws where the kernel has no NBD netlink family now. It asks nothing that can wait.
void nbdFamily(const Napi::CallbackInfo& info) {
  Socket socket;
  uint16_t family = 0;
  Outcome outcome = socket.open();
  if (outcome.error == 0) outcome = resolveFamily(socket, family);
  if (outcome.error != 0) throw errorOf(info.Env(), outcome);
}

}  // namespace

void exportNbdNetlink(Napi::Env env, Napi::Object exports) {
  exports.Set("nbdRequest", Napi::Function::New(env, nbdRequest));
  exports.Set("nbdFamily", Napi::Function::New(env, nbdFamily));
}
