// The headers that the lanes read and write: data frames (src/wire/data.ts says the same) and NBD's, of the transmission
// phase (proto.md of NBD; src/sdc/nbd/protocol.ts).
#pragma once
#include <endian.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wire {

constexpr uint32_t chunkBytes = 1 << 20;

constexpr size_t frameHeaderBytes = 64;
constexpr uint32_t frameMagic = 0xb10c01;          // magic and version
constexpr uint32_t readWord = frameMagic << 8 | 0x10;  // and the opcode
constexpr uint32_t writeWord = frameMagic << 8 | 0x11;
constexpr uint32_t copyWriteWord = frameMagic << 8 | 0x21;
enum FrameAt {
  atFlags = 4,
  atRequestId = 8,
  atBodyBytes = 12,
  atSlice = 16,
  atEpoch = 20,
  atMapping = 24,
  atVolume = 28,
  atChunk = 32,
  atOffset = 36,
  atLength = 40,
  atPool = 44,
  atMapVersion = 48
};
/// Of the word at `atFlags`, whose lower half is the status.
constexpr uint32_t replyWord = 1u << 16;

constexpr size_t nbdRequestBytes = 28, nbdSimpleBytes = 16, nbdChunkBytes = 28;
constexpr uint32_t nbdRequestMagic = 0x25609513, nbdSimpleMagic = 0x67446698, nbdChunkMagic = 0x668e33ef;
constexpr uint32_t nbdRead = 0, nbdWrite = 1;      // with no flags before it
constexpr uint32_t nbdChunkDoneData = 1u << 16 | 1;  // NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_OFFSET_DATA
enum NbdAt { atCommand = 4, atCookie = 8, atNbdOffset = 16, atNbdLength = 24 };

inline uint32_t word(const unsigned char* header, size_t at) {
  uint32_t value;
  memcpy(&value, header + at, sizeof value);
  return be32toh(value);
}

inline void setWord(unsigned char* header, size_t at, uint32_t value) {
  value = htobe32(value);
  memcpy(header + at, &value, sizeof value);
}

/// Of which chunk a request speaks, as of which map.
struct Place {
  uint32_t slice = 0, epoch = 0, mapping = 0, volume = 0, chunk = 0, pool = 0;
  uint64_t mapVersion = 0;
};

/// A request that fills `header`; what comes with it is as long as what it is about, but for a read.
inline void setRequest(unsigned char* header, uint32_t what, uint32_t requestId, const Place& place, uint32_t offset, uint32_t length) {
  memset(header, 0, frameHeaderBytes);
  setWord(header, 0, what);
  setWord(header, atRequestId, requestId);
  setWord(header, atBodyBytes, what == readWord ? 0 : length);
  setWord(header, atSlice, place.slice);
  setWord(header, atEpoch, place.epoch);
  setWord(header, atMapping, place.mapping);
  setWord(header, atVolume, place.volume);
  setWord(header, atChunk, place.chunk);
  setWord(header, atOffset, offset);
  setWord(header, atLength, length);
  setWord(header, atPool, place.pool);
  setWord(header, atMapVersion, static_cast<uint32_t>(place.mapVersion >> 32));
  setWord(header, atMapVersion + 4, static_cast<uint32_t>(place.mapVersion));
}

}  // namespace wire
