// The addon's verbs, one group per file. Verbs only: no policy, no retry, no logging. Numbers that may exceed 2^53 do
// not occur: sizes and offsets are safe integers.
#pragma once
#include <napi.h>

/// CLOCK_BOOTTIME in milliseconds, the clock of src/io/clock.ts.
double bootTimeMs();
/// For threads of the addon's own, as they begin: they go where the process may, wherever the event loop is kept.
void leaveLoopCpus();

void exportEngine(Napi::Env env, Napi::Object exports);
void exportFiles(Napi::Env env, Napi::Object exports);
void exportHost(Napi::Env env, Napi::Object exports);
void exportNbdNetlink(Napi::Env env, Napi::Object exports);
void exportReadLane(Napi::Env env, Napi::Object exports);
void exportRelay(Napi::Env env, Napi::Object exports);
void exportSockets(Napi::Env env, Napi::Object exports);
void exportStreams(Napi::Env env, Napi::Object exports);
void exportTurn(Napi::Env env, Napi::Object exports);
void exportWriteLane(Napi::Env env, Napi::Object exports);
