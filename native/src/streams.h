// Connected stream sockets, driven from the event loop without a stream or a request object for each: what comes in during
// one turn of the loop is told in one call to JavaScript, and what goes out on a socket is one system call.
#pragma once
#include <napi.h>
#include <sys/uio.h>
#include <uv.h>

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "below.h"
#include "shared-memory.h"
#include "slots.h"
#include "wire.h"

class Streams;

/// Pieces that were given together.
struct Take {
  size_t pieces;
  /// null: JavaScript's.
  Below* owner;
  /// The owner's number for it.
  uint32_t slot;
};

/// What JavaScript says that a stream carries: anything, data frames, or an NBD client's requests.
enum class Carries : uint8_t { bytes, frames, requests };

/// One socket. It belongs to the event loop's thread; JavaScript knows it by its number.
struct Stream {
  Streams* owner = nullptr;
  uint32_t id = 0;
  /// Unlike the number never anybody else's; from 1.
  uint64_t serial = 0;
  int fd = -1;
  uv_poll_t poll{};
  /// The events that libuv is asked to watch.
  int watched = 0;
  /// What its bytes go through, where both sides are processes of this host; the socket tells of its end alone then. null: the socket.
  std::unique_ptr<SharedMemory> shared;
  /// Wakes the other side; -1: we have not heard of it yet.
  int bell = -1;
  /// What its bytes are to go through comes by the socket first.
  bool awaitsMemory = false;
  /// Nothing is added to the shared memory any more, as the socket says; and why, an errno, or 0: the other side has ended it.
  bool socketHasEnded = false;
  int socketError = 0;
  /// Where the next read goes: memory of JavaScript's, which keeps it alive.
  char* memory = nullptr;
  size_t memoryBytes = 0;
  /// Not sent yet, and what it consists of: each `send`, and answers of the read lane, in order.
  std::deque<iovec> unsent;
  std::deque<Take> takes;
  Carries carries = Carries::bytes;
  /// The beginning of a header, to be read on behind it.
  unsigned char carry[wire::frameHeaderBytes];
  size_t carried = 0;
  /// Of the payload behind the last header; who takes it, null: JavaScript; and to where, null: nobody wants it any more.
  uint64_t bodyLeft = 0;
  Below* bodyOwner = nullptr;
  uint32_t bodySlot = 0;
  char* bodyAt = nullptr;
  /// Of the last frame that JavaScript is to have.
  uint64_t keptChunk = 0;
  /// Answers that are awaited from it below JavaScript.
  uint32_t awaited = 0;
  /// Of the pool of an NBD client's volume; 0: not known yet.
  uint32_t sliceCount = 0;
  /// How an NBD client wants its answers.
  bool isStructured = false;
  /// Requests that are given back, each header with its payload.
  std::string returned;
  bool isReading = true;
  bool hasEnded = false;   // the other side sends no more
  bool isEnding = false;   // we do not, after what is unsent
  bool hasFailed = false;
  bool isClosed = false;
  bool hasBytes = false;   // JavaScript has not been told of the last read yet
  bool hasProgress = false;
  bool awaitsRoom = false; // for what is unsent
  /// Of what is in shared memory, so much has to be there before it is looked at.
  uint64_t awaitedBytes = 1;

  /// For whoever takes a header: its payload goes to that memory.
  void takeBody(Below& owner, uint32_t slot, char* memory) {
    bodyOwner = &owner;
    bodySlot = slot;
    bodyAt = memory;
  }
  /// Nobody wants what is still to come of it, if it is for that slot.
  void dropBody(const Below& owner, uint32_t slot) {
    if (bodyOwner == &owner && bodySlot == slot) bodyAt = nullptr;
  }
};

/// Headers of frames on their way out.
class Headers : public Below {
 public:
  uint32_t keep(const unsigned char* header, size_t bytes);
  void* at(uint32_t slot) { return headers_[slot].data(); }
  void release(uint32_t slot) override { headers_.free(slot); }

 private:
  Slots<std::array<unsigned char, wire::frameHeaderBytes>> headers_;
};

class Streams {
 public:
  static Streams& of(Napi::Env env);
  explicit Streams(Napi::Env env) : env_(env) {}

  void start(const Napi::CallbackInfo& info);
  Napi::Value adopt(const Napi::CallbackInfo& info);
  void share(const Napi::CallbackInfo& info);
  void memory(const Napi::CallbackInfo& info);
  void send(const Napi::CallbackInfo& info);
  void read(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  void carries(const Napi::CallbackInfo& info);
  Napi::Value awaited(const Napi::CallbackInfo& info);
  Napi::Value returned(const Napi::CallbackInfo& info);

  // For the lanes.
  /// null: there is none of that number, or it is closed.
  Stream* find(uint32_t id) const;
  /// Whether more may be laid on what is unsent.
  bool takesMore(const Stream& stream) const;
  /// Adds to what is unsent; it leaves with `sendAppended`.
  void append(Stream& stream, const iovec* pieces, size_t count, Take take);
  void append(Stream& stream, std::initializer_list<iovec> pieces, Take take) {
    append(stream, pieces.begin(), pieces.size(), take);
  }
  /// A header of a frame or a reply, which is copied.
  void appendHeader(Stream& stream, const unsigned char* header, size_t bytes);
  void sendAppended();
  /// Sends what there is room for. What is left unsent of `pieces`, which lie behind one another in `rest`, is copied there.
  void sendFrom(Stream& stream, const iovec* pieces, size_t count, char* rest);
  /// JavaScript is to have this request.
  void giveBack(Stream& stream, const unsigned char* header, size_t bytes);
  /// Who looks at frames, and at requests of NBD clients.
  std::vector<Below*> belowFrames, belowRequests;
  /// Something is to be told that no socket brings: the loop is not to sleep over it.
  void hurry();
  /// There is nothing to tell.
  void calm();

  /// For the turn: whether there is something to tell, and as much of it as fits into the array.
  bool hasPending() const { return !pending_.empty(); }
  uint32_t takePending();

  // For the turn, of streams through shared memory.
  /// Moves what can be moved.
  void lookAtShared();
  /// Something can be moved.
  bool sharedCanGoOn() const;
  /// Before the loop sleeps: the others are to wake us, or it does not sleep.
  void restShared();

 private:
  struct Event {
    uint32_t id;
    int32_t what;
  };
  // What is shared with JavaScript about each stream; src/io/byte-stream.ts says the same.
  enum State { stateRoom, stateUnsentBytes, stateUnsentTakes, stateCount };
  /// An event that is neither bytes (more than 0), the end (0) nor an errno (less than 0): something has been sent.
  static constexpr int32_t progress = INT32_MAX;
  /// Nor this: requests have been given back.
  static constexpr int32_t hasReturned = INT32_MAX - 1;

  Stream* at(const Napi::Value& id);
  double& state(const Stream& stream, State which) { return states_[stream.id * stateCount + which]; }
  void onPoll(Stream& stream, int status, int events);
  void receive(Stream& stream, bool isBroken);
  size_t sift(Stream& stream, char* bytes, size_t length);
  void bodyCame(Stream& stream, size_t length);
  /// What is there, and what there is room for; they answer as recvmsg(2) and sendmsg(2) do.
  ssize_t receiveSome(Stream& stream, iovec* parts, size_t count);
  ssize_t sendSome(Stream& stream, iovec* pieces, size_t count);
  ssize_t receiveShared(Stream& stream, iovec* parts, size_t count);
  ssize_t sendShared(Stream& stream, iovec* pieces, size_t count);
  void openBell();
  void closeBell();
  void ringBellOf(Stream& stream);
  bool sendDescriptors(Stream& stream, std::initializer_list<int> descriptors);
  void onSharedSocket(Stream& stream);
  void socketEnded(Stream& stream, int error);
  int takeDescriptors(Stream& stream, const std::vector<int>& descriptors);
  void unshare(Stream& stream);
  bool hasBytesFor(const Stream& stream) const;
  bool hasRoomFor(const Stream& stream) const;
  bool wantsBytes(const Stream& stream) const;
  bool sendOn(Stream& stream);
  bool canGoOn(const Stream& stream) const;
  void transmit(Stream& stream);
  /// Takes `bytes` off the front of what is unsent.
  void sent(Stream& stream, size_t bytes);
  void forgetUnsent(Stream& stream);
  void progressed(Stream& stream);
  void fail(Stream& stream, int error);
  void watch(Stream& stream);
  void drop(Stream& stream);
  void shutDown();

  Napi::Env env_;
  uv_loop_t* loop_ = nullptr;
  uv_idle_t* hurry_ = nullptr;
  Napi::Reference<Napi::Float64Array> statesArray_;
  double* states_ = nullptr;
  size_t streamsMax_ = 0;
  Napi::Reference<Napi::Int32Array> eventsArray_;
  std::vector<Stream*> streams_;
  std::vector<uint32_t> free_;
  std::deque<Event> pending_;
  uint64_t serials_ = 0;
  Headers headers_;
  /// Streams on which something has been laid since `sendAppended`.
  std::vector<std::pair<uint32_t, uint64_t>> toSend_;
  /// Those through shared memory, and what wakes us for them: an eventfd, whose copies the other sides have.
  std::vector<Stream*> shared_;
  int bell_ = -1;
  uv_poll_t* bellPoll_ = nullptr;
};
