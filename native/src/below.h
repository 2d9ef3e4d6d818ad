// Whoever takes part in streams below JavaScript: takes requests or answers out of what comes in, and lays others on what
// goes out.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

struct Stream;

class Below {
 public:
  virtual ~Below() = default;
  /// Whether the request whose header this is is taken. Its payload comes to where `Stream::takeBody` says.
  virtual bool begin(Stream&, const unsigned char*) { return false; }
  /// The same of an answer.
  virtual bool answered(Stream&, const unsigned char*) { return false; }
  /// Whether the answer can be sent on from where it lies, once all of its payload is there. Then it is, before anything else happens.
  virtual bool sendsOn(const Stream&, const unsigned char*) const { return false; }
  virtual void sendOn(Stream&, const unsigned char*, const iovec*, size_t) {}
  /// The payload of what was taken is there.
  virtual void bodyEnded(Stream&, uint32_t) {}
  /// What was laid on a stream for this slot has left, or never will.
  virtual void release(uint32_t slot) = 0;
  /// Nothing more comes from the stream, or goes to it.
  virtual void streamGone(Stream&) {}
};
