// Socket pairs and bare descriptors: for the kernel's NBD driver, and for who is at the other end.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

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

/// fdPeerUser(fd): number; the user that a unix socket's other end belonged to when it was connected or began to listen
Napi::Value fdPeerUser(const Napi::CallbackInfo& info) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(info[0].As<Napi::Number>().Int32Value(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    throw errorOf(info.Env(), failed("getsockopt SO_PEERCRED"));
  return Napi::Number::New(info.Env(), peer.uid);
}

}  // namespace

void exportSockets(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New(env, socketPair));
  exports.Set("fdDup", Napi::Function::New(env, fdDup));
  exports.Set("fdClose", Napi::Function::New(env, fdClose));
  exports.Set("fdIsHungUp", Napi::Function::New(env, fdIsHungUp));
  exports.Set("fdPeerUser", Napi::Function::New(env, fdPeerUser));
  exports.Set("fdShutDown", Napi::Function::New(env, fdShutDown));
}
