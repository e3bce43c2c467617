// What native code tells the main thread: small rows of numbers, delivered to JavaScript in one
// callback per loop turn.
#pragma once

#include <uv.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace shardlog {

/// What an Event reports. The numbers are shared with src/native/events.ts.
enum class EventKind : int {
  kFrame = 1,        // connection, sequence, frame bytes, api key << 16 | version, correlation id
  kOpened = 2,       // connection, listener
  kClosed = 3,       // connection, reason (CloseReason), errno
  kResult = 4,       // connection, sequence, api version: a produce answer that JavaScript must encode
  kAdvanced = 5,     // published row whose log end or high watermark moved while waited for
  kOutput = 6,       // connection (piped) that has bytes to pull
  kStorageError = 7, // published row, errno
  kDrained = 8,      // every connection is closed after a stop
  kAcceptError = 9,  // listener, errno
  kSlowSlice = 10,   // (to a shard) published row of a log whose next slice JavaScript must look at
};

struct Event {
  static constexpr size_t kWidth = 6;
  std::array<double, kWidth> fields{};
};

/// Many senders, one receiver: the loop it was opened on. Never waits; its length is bounded by
/// what the senders' own limits admit (requests in flight, partitions, connections).
class EventQueue : public std::enable_shared_from_this<EventQueue> {
 public:
  /// `deliver` runs on the loop's thread whenever rows are waiting.
  static std::shared_ptr<EventQueue> open(uv_loop_t* loop, std::function<void()> deliver);

  /// Any thread.
  void post(EventKind kind, double a = 0, double b = 0, double c = 0, double d = 0, double e = 0);

  /// Loop thread: takes everything that waits.
  void take(std::vector<Event>& out);

  /// Asks for a delivery although nothing was posted. Any thread.
  void wake();

  /// Loop thread: while true, what this thread posts needs no wake-up, because the loop delivers
  /// before it sleeps again (the check phase follows the poll phase).
  void set_in_poll(bool in_poll) { in_poll_ = in_poll; }

  /// Loop thread: something may be waiting.
  bool pending() const { return pending_.load(std::memory_order_acquire); }

  /// Loop thread: closes the handle; `closed` runs when libuv has let go of it.
  void close(std::function<void()> closed);

 private:
  void signal_locked();

  std::mutex mutex_;
  std::vector<Event> events_;
  std::atomic<bool> pending_{false};
  bool in_poll_ = false;
  std::thread::id loop_thread_;
  bool signalled_ = false;
  bool open_ = true;
  uv_async_t* async_ = nullptr;
};

}  // namespace shardlog
