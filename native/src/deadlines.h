// Moments of bootTimeMs() that passes end at, shared with JavaScript (src/io/deadlines.ts), which moves them on.
#pragma once
#include <napi.h>

#include <cstdint>

#include "addon.h"

class Deadlines {
 public:
  void share(const Napi::Value& array) {
    array_ = Napi::Persistent(array.As<Napi::Float64Array>());
    atMs_ = array_.Value().Data();
  }
  /// Whether it is before both.
  bool areAhead(uint32_t one, uint32_t other) const {
    const double now = bootTimeMs();
    return now < atMs_[one] && now < atMs_[other];
  }

 private:
  Napi::Reference<Napi::Float64Array> array_;
  const double* atMs_ = nullptr;
};
