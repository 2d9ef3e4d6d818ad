// Socket pairs and bare descriptors, for the kernel's NBD driver; sockets for processes of one host.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "addon.h"
#include "async.h"

namespace {

/// socketPair(): [number, number]
Napi::Value socketPair(const Napi::CallbackInfo& info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw errorOf(info.Env(), failed("socketpair"));
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0u, Napi::Number::New(info.Env(), fds[0]));
  pair.Set(1u, Napi::Number::New(info.Env(), fds[1]));
  return pair;
}

/// fdDup(fd): number
Napi::Value fdDup(const Napi::CallbackInfo& info) {
  const int fd = fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw errorOf(info.Env(), failed("fcntl F_DUPFD_CLOEXEC"));
  return Napi::Number::New(info.Env(), fd);
}

/// fdClose(fd)
void fdClose(const Napi::CallbackInfo& info) {
  if (close(info[0].As<Napi::Number>().Int32Value()) != 0 && errno != EINTR)
    throw errorOf(info.Env(), failed("close"));
}

/// fdShutDown(fd): both directions of a socket, for every process that shares it.
void fdShutDown(const Napi::CallbackInfo& info) {
  if (shutdown(info[0].As<Napi::Number>().Int32Value(), SHUT_RDWR) != 0 && errno != ENOTCONN)
    throw errorOf(info.Env(), failed("shutdown"));
}

/// fdIsHungUp(fd): boolean; true where nobody holds the other end of a socket
Napi::Value fdIsHungUp(const Napi::CallbackInfo& info) {
  pollfd socket{info[0].As<Napi::Number>().Int32Value(), 0, 0};
  if (poll(&socket, 1, 0) < 0) throw errorOf(info.Env(), failed("poll"));
  return Napi::Boolean::New(info.Env(), (socket.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0);
}

/// An address in the abstract namespace (unix(7)), exactly as long as its name. False: the name is too long for one.
bool abstractAddress(const std::string& name, sockaddr_un& address, socklen_t& length) {
  if (name.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return true;
}

/// Closes `fd`; the errno with its sign turned.
Napi::Value gaveUp(Napi::Env env, int fd, int error) {
  if (fd >= 0) close(fd);
  return Napi::Number::New(env, -error);
}

/// localListen(name): number; a descriptor that listens by an abstract name; or an errno with its sign turned
Napi::Value localListen(const Napi::CallbackInfo& info) {
  sockaddr_un address{};
  socklen_t length = 0;
  if (!abstractAddress(info[0].As<Napi::String>(), address, length)) return gaveUp(info.Env(), -1, ENAMETOOLONG);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(fd, SOMAXCONN) != 0)
    return gaveUp(info.Env(), fd, errno);
  return Napi::Number::New(info.Env(), fd);
}

/// localConnect(name): number; a descriptor connected to who listens by an abstract name, if that was the superuser's process, or
/// one of our own user, when it began to; or an errno with its sign turned. It does not wait.
Napi::Value localConnect(const Napi::CallbackInfo& info) {
  sockaddr_un address{};
  socklen_t length = 0;
  if (!abstractAddress(info[0].As<Napi::String>(), address, length)) return gaveUp(info.Env(), -1, ENAMETOOLONG);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ucred peer{};
  socklen_t peerBytes = sizeof peer;
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peerBytes) != 0)
    return gaveUp(info.Env(), fd, errno);
  if (peer.uid != 0 && peer.uid != geteuid()) return gaveUp(info.Env(), fd, EACCES);
  return Napi::Number::New(info.Env(), fd);
}

}  // namespace

void exportSockets(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New(env, socketPair));
  exports.Set("fdDup", Napi::Function::New(env, fdDup));
  exports.Set("fdClose", Napi::Function::New(env, fdClose));
  exports.Set("fdIsHungUp", Napi::Function::New(env, fdIsHungUp));
  exports.Set("fdShutDown", Napi::Function::New(env, fdShutDown));
  exports.Set("localConnect", Napi::Function::New(env, localConnect));
  exports.Set("localListen", Napi::Function::New(env, localListen));
}
