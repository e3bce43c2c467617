// Sockets, framing, ordered responses: the connections of one listener set on one libuv loop.
#pragma once

#include <sys/socket.h>
#include <uv.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "event_queue.h"
#include "frame_reader.h"
#include "request.h"

namespace shardlog {

class Transport;

enum class ConnectionKind : uint8_t {
  kInbound,   // A client: frames are requests, slots their answers in order.
  kInternal,  // No peer: requests are submitted by this process.
  kOutbound,  // This process is the client: slots are requests, frames the answers.
};

enum class CloseReason : int {
  kPeer = 1,        // The other side closed or reset.
  kLocal = 2,       // Asked for by JavaScript or by the end of the process.
  kBadLength = 3,   // A length prefix that no request can have.
  kIdle = 4,        // connections.max.idle.ms passed without a byte.
  kStalled = 5,     // A frame made no progress.
  kNoMemory = 6,
  kTruncated = 7,   // A queued region was cut off its file.
  kFailedAppend = 8,  // An acks=0 request failed: closing is the only signal there is.
};

struct TransportLimits {
  size_t frame_bytes_max = 104857600;
  int32_t inflight_max = 32;
  int64_t inflight_bytes_max = 8 << 20;
  int64_t output_bytes_max = 1 << 20;
  int64_t received_bytes_max = 128 << 20;  // Of the process.
  int64_t connections_max = INT32_MAX;
  int64_t idle_ms = 600000;
  int64_t frame_stall_ms = 30000;
  int send_buffer_bytes = -1;     // -1: the system's choice.
  int receive_buffer_bytes = -1;
};

/// How another thread asks the I/O loop to look at a connection. Outlives the transport.
class AttentionList {
 public:
  explicit AttentionList(std::shared_ptr<EventQueue> events) : events_(std::move(events)) {}
  /// Any thread, without the connection's mutex.
  void add(Connection* connection);
  void take(std::vector<Connection*>& out);
  /// Nobody takes any more: what threads add from here on is dropped.
  void close();

 private:
  std::mutex mutex_;
  bool open_ = true;
  std::vector<Connection*> connections_;
  const std::shared_ptr<EventQueue> events_;
};

/// One connection. The I/O loop reads, closes and polls; any thread may complete a response and
/// send what is ready, under `mutex_`.
class Connection final : private FrameSink {
 public:
  enum class Flush { kIdle, kBlocked, kBroken, kMore };

  void ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  uint64_t id() const { return id_; }

  /// Marks a request ready to be sent, without sending. Any thread.
  void complete(Request* request);
  /// Sends what is ready. Any thread; asks for the loop's attention where that is needed.
  void flush();
  /// Asks the loop to close it. Any thread.
  void fail(CloseReason reason);

  /// A frame's memory was given back. Any thread.
  void frame_released(size_t bytes);


 private:
  friend class Transport;
  Connection(Transport* transport, uint64_t id, int fd, ConnectionKind kind);
  ~Connection();

  bool on_frame(FrameBuffer frame) override;
  Flush flush_locked();
  Flush send_parts_locked();
  size_t gather_locked(std::span<iovec> vectors, std::span<uint8_t> copies, bool* more);
  void advance_locked(int64_t sent);
  Flush send_region_locked(Request& request, int64_t* budget);
  bool should_pause_locked() const;
  void pop_sent_locked();

  // Immutable after construction.
  Transport* const transport_;  // Followed by the loop thread only.
  const std::shared_ptr<AttentionList> attention_;
  const std::shared_ptr<EventQueue> events_;
  const TransportLimits limits_;
  const uint64_t id_;
  const int fd_;  // -1: piped, fed and pulled by JavaScript.
  const ConnectionKind kind_;

  std::atomic<int32_t> references_{1};

  // Loop thread.
  uv_poll_t* poll_ = nullptr;
  int poll_mask_ = 0;
  FrameReader reader_;
  uint64_t next_sequence_ = 0;
  int64_t last_active_ms_ = 0;
  int64_t last_progress_ms_ = 0;
  bool memory_wait_ = false;       // Stopped by the limit of the process.
  bool memory_granted_ = false;    // Its unfinished frame may finish in spite of that limit.
  bool touched_ = false;           // On the list to flush at the end of the turn.
  bool closing_ = false;
  bool connecting_ = false;
  std::unordered_map<uint64_t, Request*> received_;  // Outbound: answers that JavaScript has.
  int stalled_ = 0;                // Produce requests that wait for room in a shard's queue.

  std::atomic<bool> attention_listed_{false};
  std::atomic<int64_t> inflight_bytes_{0};
  std::atomic<bool> paused_{false};
  std::atomic<bool> reading_stopped_{false};  // The transport stops: no more frames.
  std::atomic<int> failure_{0};

  std::mutex mutex_;
  // Guarded by mutex_.
  bool open_ = true;
  bool want_write_ = false;
  bool output_signalled_ = false;  // Piped: JavaScript knows that there is output.
  std::deque<Request*> slots_;
  int64_t output_bytes_ = 0;

  friend class AttentionList;
};

class Transport {
 public:
  Transport(uv_loop_t* loop, const TransportLimits& limits, std::shared_ptr<EventQueue> events);
  ~Transport();

  struct ListenResult {
    int error = 0;
    int id = 0;
    int port = 0;
  };
  ListenResult listen(const std::string& address, int port, int backlog);
  void close_listeners();

  /// A connection without a socket of ours (see `feed` and `pull`).
  uint64_t attach();
  /// A connection without a peer: its requests come in by `submit`, and their results go to
  /// JavaScript. It does not count for `stop` and is never idle.
  uint64_t open_internal();
  /// Queues a request of an internal connection; with a reference for the caller.
  Request* submit(Connection* connection, FrameBuffer frame);
  struct ConnectResult {
    int error = 0;
    uint64_t connection = 0;
  };
  /// Connects to another broker: an OPENED event with listener -1 follows, or CLOSED.
  ConnectResult connect(const std::string& address, int port);
  /// Sends a request of ours on an outbound connection.
  void send(Connection* connection, std::span<const uint8_t> bytes);
  /// Forgets an answer that came in on an outbound connection.
  void drop_received(Request* request);
  /// Bytes that came in on an attached connection. False when it is unknown.
  bool feed(uint64_t connection, std::span<const uint8_t> bytes);
  /// True when an attached connection wants no more input for now; an OUTPUT event tells when to
  /// ask again.
  bool wants_pause(uint64_t connection);
  /// Output of an attached connection: copies at most `out.size()` bytes. -1: unknown, or broken.
  int64_t pull(uint64_t connection, std::span<uint8_t> out);

  Connection* find(uint64_t connection);
  /// The request, with a reference for the caller; nullptr when it is answered or gone.
  Request* find_request(uint64_t connection, uint64_t sequence);

  /// Completes a request and flushes its connection at the end of the turn.
  void complete(Request* request);
  /// Sends what became ready, at once or at the end of the running turn.
  void touch(Connection* connection);

  /// A produce request of this connection waits for (or got) room: stops (or resumes) reading.
  void stall(Connection* connection, int change);

  void close_connection(uint64_t connection, CloseReason reason);
  std::string peer_address(uint64_t connection);

  /// Stops accepting and reading; connections close as their last response leaves. DRAINED follows.
  void stop();
  /// Closes everything at once.
  void destroy(std::function<void()> closed);

  /// Runs at the end of a turn: attention of other threads, then flushes.
  void turn();
  void begin_turn() { in_turn_ = true; }
  void end_turn();

  size_t connection_count() const { return connections_.size(); }
  int64_t queued_output_bytes();

 private:
  friend class Connection;
  struct Listener {
    int id;
    int fd;
    uv_poll_t* poll;
    bool accepting;
    Transport* transport;
  };

  void accept_from(Listener* listener);
  Connection* add_connection(int fd, int listener, ConnectionKind kind);
  void on_readable(Connection* connection);
  void after_status(Connection* connection, FrameReader::Status status);
  void look_at(Connection* connection);
  void resume_reading(Connection* connection);
  void update_poll(Connection* connection);
  void close_now(Connection* connection, CloseReason reason, int error);
  bool memory_blocks(Connection* connection);
  void relieve_memory();
  void tick();
  void handle_closed();

  uv_loop_t* const loop_;
  const TransportLimits limits_;
  const std::shared_ptr<EventQueue> events_;
  const std::shared_ptr<AttentionList> attention_;
  std::vector<uint8_t> scratch_;
  uv_timer_t* timer_ = nullptr;
  uv_timer_t* memory_timer_ = nullptr;
  bool memory_timer_runs_ = false;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<uint64_t, Connection*> connections_;
  std::vector<Connection*> touched_;
  std::vector<Connection*> attention_taken_;
  std::vector<Connection*> memory_waiters_;
  uint64_t next_connection_ = 1;
  int next_listener_ = 1;
  int open_handles_ = 0;
  size_t internal_connections_ = 0;
  bool in_turn_ = false;
  bool stopping_ = false;
  bool drained_told_ = false;
  bool destroyed_ = false;
  std::function<void()> destroyed_callback_;
};

}  // namespace shardlog
