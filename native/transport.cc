#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace shardlog {
namespace {

constexpr size_t kScratchBytes = 64 * 1024;
constexpr int kReadsPerEvent = 8;
constexpr int kAcceptsPerEvent = 64;
constexpr size_t kVectorsMax = 64;
constexpr size_t kCopiedBytesMax = 16 << 10;  // Of file regions, in one call.
constexpr int64_t kSendPerFlushMax = 4 << 20;  // Then the others have their turn.
constexpr uint64_t kTickMs = 1000;
constexpr uint64_t kMemoryCheckMs = 5;
constexpr int kPathProbeSeconds = 1;
constexpr int kPathTimeoutMs = 3000;

/// Gives a connection up over which nothing has come through for a while (tcp(7)). TCP itself would
/// send again after ever longer pauses, and go on waiting in one long after the network is back.
void watch_path(int fd) {
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kPathProbeSeconds, sizeof kPathProbeSeconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kPathProbeSeconds, sizeof kPathProbeSeconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kPathTimeoutMs, sizeof kPathTimeoutMs);
}

/// The socket address of an IP address; 0 when it is none, else the length.
socklen_t fill_address(const std::string& address, int port, sockaddr_storage* storage) {
  *storage = sockaddr_storage{};
  if (address.find(':') != std::string::npos) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    return ::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(static_cast<uint16_t>(port));
  return ::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1 ? sizeof *v4 : 0;
}

/// The error that a socket has met and not told yet, 0 when there is none.
int socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

template <typename Handle>
void close_handle(Handle* handle) {
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

/// What is posted while this lives is delivered by the check phase of the same turn.
class InPoll {
 public:
  explicit InPoll(EventQueue& events) : events_(events) { events_.set_in_poll(true); }
  ~InPoll() { events_.set_in_poll(false); }

 private:
  EventQueue& events_;
};

}  // namespace

// --- AttentionList

void AttentionList::add(Connection* connection) {
  if (connection->attention_listed_.exchange(true, std::memory_order_acq_rel)) return;
  {
    std::lock_guard lock(mutex_);
    if (!open_) return;
    connection->ref();
    connections_.push_back(connection);
  }
  events_->wake();
}

void AttentionList::close() {
  std::vector<Connection*> left;
  {
    std::lock_guard lock(mutex_);
    open_ = false;
    left.swap(connections_);
  }
  for (Connection* connection : left) connection->unref();
}

void AttentionList::take(std::vector<Connection*>& out) {
  out.clear();
  std::lock_guard lock(mutex_);
  out.swap(connections_);
}

// --- Connection

Connection::Connection(Transport* transport, uint64_t id, int fd, ConnectionKind kind)
    : transport_(transport),
      attention_(transport->attention_),
      events_(transport->events_),
      limits_(transport->limits_),
      id_(id),
      fd_(fd),
      kind_(kind),
      reader_(transport->limits_.frame_bytes_max) {}

Connection::~Connection() = default;

bool Connection::on_frame(FrameBuffer frame) {
  memory_granted_ = false;  // It was for this frame only.
  const uint8_t* bytes = frame.data();
  const double api = static_cast<double>(uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 |
                                         uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]});
  const auto correlation = static_cast<int32_t>(uint32_t{bytes[4]} << 24 | uint32_t{bytes[5]} << 16 |
                                                uint32_t{bytes[6]} << 8 | uint32_t{bytes[7]});
  const size_t size = frame.size();
  inflight_bytes_.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed);
  auto* request = new Request(this, next_sequence_++, std::move(frame));
  bool pause;
  if (kind_ == ConnectionKind::kOutbound) {
    request->received = request->internal = true;
    received_.emplace(request->sequence(), request);
    pause = inflight_bytes_.load() >= limits_.inflight_bytes_max;
  } else {
    std::lock_guard lock(mutex_);
    slots_.push_back(request);
    pause = should_pause_locked();
  }
  events_->post(EventKind::kFrame, static_cast<double>(id_),
                static_cast<double>(request->sequence()), static_cast<double>(size), api,
                correlation);
  return !pause;
}

bool Connection::should_pause_locked() const {
  if (kind_ == ConnectionKind::kOutbound) {
    return stalled_ > 0 || inflight_bytes_.load() >= limits_.inflight_bytes_max;
  }
  return reading_stopped_ || stalled_ > 0 ||
         static_cast<int64_t>(slots_.size()) >= limits_.inflight_max ||
         inflight_bytes_.load() >= limits_.inflight_bytes_max ||
         output_bytes_ >= limits_.output_bytes_max;
}

void Connection::frame_released(size_t bytes) {
  // Sequentially consistent against `after_status`, which sets the flag and looks again.
  const int64_t left =
      inflight_bytes_.fetch_sub(static_cast<int64_t>(bytes)) - static_cast<int64_t>(bytes);
  if (left <= limits_.inflight_bytes_max / 2 && paused_.load()) {
    attention_->add(this);
  }
}

void Connection::complete(Request* request) {
  std::lock_guard lock(mutex_);
  if (request->ready) return;
  request->ready = true;
  output_bytes_ += static_cast<int64_t>(request->head_bytes());
}

void Connection::fail(CloseReason reason) {
  int none = 0;
  failure_.compare_exchange_strong(none, static_cast<int>(reason));
  attention_->add(this);
}

void Connection::pop_sent_locked() {
  Request* request = slots_.front();
  slots_.pop_front();
  output_bytes_ -= static_cast<int64_t>(request->head_bytes());
  request->unref();
}

void Connection::flush() {
  Flush outcome;
  bool attention = false;
  {
    std::lock_guard lock(mutex_);
    if (!open_) return;
    const bool blocked_before = want_write_;
    if (blocked_before && fd_ >= 0) return;  // The loop goes on when the socket is writable.
    outcome = flush_locked();
    if (outcome == Flush::kBlocked) {
      want_write_ = true;
      attention = true;
    }
    if (outcome == Flush::kMore || outcome == Flush::kBroken) attention = true;
    if (paused_.load(std::memory_order_acquire) &&
        static_cast<int64_t>(slots_.size()) <= limits_.inflight_max / 2 &&
        output_bytes_ <= limits_.output_bytes_max / 2) {
      attention = true;
    }
    if (slots_.empty() && reading_stopped_) attention = true;
  }
  if (outcome == Flush::kBroken) {
    fail(CloseReason::kPeer);
  } else if (attention) {
    attention_->add(this);
  }
}

Connection::Flush Connection::flush_locked() {
  while (!slots_.empty() && slots_.front()->ready && !slots_.front()->answered) pop_sent_locked();
  if (slots_.empty() || !slots_.front()->ready) return Flush::kIdle;
  if (fd_ < 0) {
    if (!output_signalled_) {
      output_signalled_ = true;
      events_->post(EventKind::kOutput, static_cast<double>(id_));
    }
    return Flush::kIdle;
  }
  return send_parts_locked();
}

Connection::Flush Connection::send_parts_locked() {
  int64_t budget = kSendPerFlushMax;
  uint8_t copies[kCopiedBytesMax];
  iovec vectors[kVectorsMax];
  for (;;) {
    bool more = false;
    const size_t count = gather_locked(vectors, copies, &more);
    ssize_t n = 0;
    if (count > 0) {
      msghdr message{};
      message.msg_iov = vectors;
      message.msg_iovlen = count;
      do {
        n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
      } while (n < 0 && errno == EINTR);
      if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Flush::kBlocked : Flush::kBroken;
      budget -= n;
    }
    advance_locked(n);
    if (slots_.empty() || !slots_.front()->ready) return Flush::kIdle;
    if (count == 0) {
      const Flush outcome = send_region_locked(*slots_.front(), &budget);
      if (outcome != Flush::kIdle) return outcome;
      advance_locked(0);
    }
    if (budget <= 0) return Flush::kMore;
  }
}

/// The bytes that are to be sent next, up to a region that is left to sendfile; `more` when there
/// is something behind them. Small regions are copied: a call for each part costs more than that,
/// and wakes the receiver for each.
size_t Connection::gather_locked(std::span<iovec> vectors, std::span<uint8_t> copies, bool* more) {
  size_t count = 0;
  for (const Request* request : slots_) {
    if (!request->ready) break;
    if (!request->answered) continue;
    for (uint32_t step = request->step; step < request->steps(); ++step) {
      const int64_t sent = step == request->step ? request->step_sent : 0;
      const auto left = static_cast<size_t>(request->size_of_step(step) - sent);
      if (left == 0) continue;
      *more = count == vectors.size();
      if (*more) return count;
      if (step % 2 == 0) {
        const uint8_t* bytes = request->bytes_of_step(step).data() + sent;
        vectors[count++] = {const_cast<uint8_t*>(bytes), left};
        continue;
      }
      const FileRegion& region = request->regions[step / 2];
      *more = left > copies.size() ||
              region.file->read_cached(copies.first(left), region.position + sent) !=
                  static_cast<int64_t>(left);
      if (*more) return count;
      vectors[count++] = {copies.data(), left};
      copies = copies.subspan(left);
    }
  }
  return count;
}

/// Counts bytes as sent and lets go of what is done.
void Connection::advance_locked(int64_t sent) {
  while (!slots_.empty() && slots_.front()->ready) {
    Request* request = slots_.front();
    if (!request->answered) {
      pop_sent_locked();
      continue;
    }
    const int64_t size = request->size_of_step(request->step);
    const int64_t taken = std::min(sent, size - request->step_sent);
    request->step_sent += taken;
    sent -= taken;
    if (request->step_sent < size) return;
    if (request->step % 2 == 1) request->regions[request->step / 2].file = SegmentRef();
    request->step += 1;
    request->step_sent = 0;
    if (request->step == request->steps()) pop_sent_locked();
  }
}

/// Sends the region that the request has come to: all of it, unless the outcome says otherwise.
Connection::Flush Connection::send_region_locked(Request& request, int64_t* budget) {
  const FileRegion& region = request.regions[request.step / 2];
  while (request.step_sent < region.length) {
    if (*budget <= 0) return Flush::kMore;
    off_t position = region.position + request.step_sent;
    const auto wanted = static_cast<size_t>(std::min(region.length - request.step_sent, *budget));
    const ssize_t n = ::sendfile(fd_, region.file->fd(), &position, wanted);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN ? Flush::kBlocked : Flush::kBroken;
    if (n == 0) {
      // The file was cut under the region: the promised length cannot be kept any more.
      int none = 0;
      failure_.compare_exchange_strong(none, static_cast<int>(CloseReason::kTruncated));
      return Flush::kBroken;
    }
    request.step_sent += n;
    *budget -= n;
  }
  return Flush::kIdle;
}

// --- Transport

Transport::Transport(uv_loop_t* loop, const TransportLimits& limits,
                     std::shared_ptr<EventQueue> events)
    : loop_(loop),
      limits_(limits),
      events_(std::move(events)),
      attention_(std::make_shared<AttentionList>(events_)),
      scratch_(kScratchBytes) {
  timer_ = new uv_timer_t();
  timer_->data = this;
  uv_timer_init(loop_, timer_);
  uv_timer_start(
      timer_, [](uv_timer_t* timer) { static_cast<Transport*>(timer->data)->tick(); }, kTickMs,
      kTickMs);
  uv_unref(reinterpret_cast<uv_handle_t*>(timer_));
  memory_timer_ = new uv_timer_t();
  memory_timer_->data = this;
  uv_timer_init(loop_, memory_timer_);
}

Transport::~Transport() = default;

Transport::ListenResult Transport::listen(const std::string& address, int port, int backlog) {
  sockaddr_storage storage;
  socklen_t length = fill_address(address, port, &storage);
  if (length == 0) return {EINVAL, 0, 0};
  const bool is_v6 = storage.ss_family == AF_INET6;
  const int fd =
      ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno, 0, 0};
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // "::" takes IPv4 clients too, as a listener without a host should.
  if (is_v6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  // The receive buffer must be set before the handshake to set the window scale.
  if (limits_.receive_buffer_bytes > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &limits_.receive_buffer_bytes, sizeof(int));
  }
  if (::bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0 || ::listen(fd, backlog) != 0) {
    const int error = errno;
    ::close(fd);
    return {error, 0, 0};
  }
  length = sizeof storage;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  const int bound = ntohs(is_v6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                                : reinterpret_cast<sockaddr_in*>(&storage)->sin_port);

  auto listener = std::make_unique<Listener>();
  listener->id = next_listener_++;
  listener->fd = fd;
  listener->transport = this;
  listener->accepting = true;
  listener->poll = new uv_poll_t();
  listener->poll->data = listener.get();
  uv_poll_init_socket(loop_, listener->poll, fd);
  uv_poll_start(listener->poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
    auto* self = static_cast<Listener*>(poll->data);
    self->transport->accept_from(self);
  });
  const int id = listener->id;
  listeners_.push_back(std::move(listener));
  return {0, id, bound};
}

void Transport::close_listeners() {
  for (auto& listener : listeners_) {
    uv_poll_stop(listener->poll);
    close_handle(listener->poll);
    ::close(listener->fd);
  }
  listeners_.clear();
}

void Transport::accept_from(Listener* listener) {
  const InPoll in_poll(*events_);
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    const int fd = ::accept4(listener->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        // Out of descriptors or memory: the next tick tries again, instead of spinning here.
        events_->post(EventKind::kAcceptError, listener->id, errno);
        uv_poll_stop(listener->poll);
        listener->accepting = false;
      }
      return;
    }
    if (static_cast<int64_t>(connections_.size()) >= limits_.connections_max) {
      ::close(fd);
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (limits_.send_buffer_bytes > 0) {
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &limits_.send_buffer_bytes, sizeof(int));
    }
    add_connection(fd, listener->id, ConnectionKind::kInbound);
  }
}

Connection* Transport::add_connection(int fd, int listener, ConnectionKind kind) {
  auto* connection = new Connection(this, next_connection_++, fd, kind);
  connection->last_active_ms_ = connection->last_progress_ms_ =
      static_cast<int64_t>(uv_now(loop_));
  connections_.emplace(connection->id_, connection);
  if (kind == ConnectionKind::kInbound) {
    events_->post(EventKind::kOpened, static_cast<double>(connection->id_), listener);
  }
  if (kind == ConnectionKind::kOutbound) connection->connecting_ = connection->want_write_ = true;
  if (fd >= 0) {
    connection->poll_ = new uv_poll_t();
    connection->poll_->data = connection;
    uv_poll_init_socket(loop_, connection->poll_, fd);
    update_poll(connection);
  }
  return connection;
}

uint64_t Transport::attach() { return add_connection(-1, 0, ConnectionKind::kInbound)->id_; }

uint64_t Transport::open_internal() {
  ++internal_connections_;
  return add_connection(-1, 0, ConnectionKind::kInternal)->id_;
}

Transport::ConnectResult Transport::connect(const std::string& address, int port) {
  sockaddr_storage storage;
  const socklen_t length = fill_address(address, port, &storage);
  if (length == 0) return {EINVAL, 0};
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno, 0};
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  watch_path(fd);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0 && errno != EINPROGRESS) {
    const int error = errno;
    ::close(fd);
    return {error, 0};
  }
  return {0, add_connection(fd, 0, ConnectionKind::kOutbound)->id_};
}

void Transport::send(Connection* connection, std::span<const uint8_t> bytes) {
  auto* request = new Request(connection, 0, FrameBuffer());
  request->head.assign(bytes.begin(), bytes.end());
  {
    std::lock_guard lock(connection->mutex_);
    connection->slots_.push_back(request);
  }
  complete(request);
}

void Transport::drop_received(Request* request) {
  request->release_dispatcher();
  if (request->connection()->received_.erase(request->sequence()) > 0) request->unref();
}

Request* Transport::submit(Connection* connection, FrameBuffer frame) {
  connection->inflight_bytes_.fetch_add(static_cast<int64_t>(frame.size()),
                                        std::memory_order_relaxed);
  auto* request = new Request(connection, connection->next_sequence_++, std::move(frame));
  request->internal = true;
  request->answered = false;
  request->ref();
  std::lock_guard lock(connection->mutex_);
  connection->slots_.push_back(request);
  return request;
}

Connection* Transport::find(uint64_t connection) {
  const auto found = connections_.find(connection);
  return found == connections_.end() ? nullptr : found->second;
}

Request* Transport::find_request(uint64_t connection_id, uint64_t sequence) {
  Connection* connection = find(connection_id);
  if (connection == nullptr) return nullptr;
  if (connection->kind_ == ConnectionKind::kOutbound) {
    const auto found = connection->received_.find(sequence);
    if (found == connection->received_.end()) return nullptr;
    found->second->ref();
    return found->second;
  }
  std::lock_guard lock(connection->mutex_);
  if (connection->slots_.empty()) return nullptr;
  const uint64_t first = connection->slots_.front()->sequence();
  if (sequence < first || sequence - first >= connection->slots_.size()) return nullptr;
  Request* request = connection->slots_[sequence - first];
  if (request->ready) return nullptr;
  request->ref();
  return request;
}

void Transport::complete(Request* request) {
  request->connection()->complete(request);
  touch(request->connection());
}

void Transport::touch(Connection* connection) {
  if (connection->touched_) return;
  if (!in_turn_) {
    connection->flush();
    return;
  }
  connection->touched_ = true;
  connection->ref();
  touched_.push_back(connection);
}

void Transport::end_turn() {
  in_turn_ = false;
  for (size_t i = 0; i < touched_.size(); ++i) {
    Connection* connection = touched_[i];
    connection->touched_ = false;
    connection->flush();
    connection->unref();
  }
  touched_.clear();
}

void Transport::turn() {
  attention_->take(attention_taken_);
  for (Connection* connection : attention_taken_) {
    connection->attention_listed_.store(false, std::memory_order_release);
    if (!connection->closing_ && !destroyed_) look_at(connection);
    connection->unref();
  }
  attention_taken_.clear();
}

void Transport::look_at(Connection* connection) {
  const int failure = connection->failure_.load(std::memory_order_acquire);
  if (failure != 0) {
    close_now(connection, static_cast<CloseReason>(failure), 0);
    return;
  }
  Connection::Flush outcome = Connection::Flush::kIdle;
  bool empty = false;
  {
    std::lock_guard lock(connection->mutex_);
    if (!connection->want_write_) {
      outcome = connection->flush_locked();
      connection->want_write_ = outcome == Connection::Flush::kBlocked;
    }
    empty = connection->slots_.empty();
  }
  if (outcome == Connection::Flush::kBroken) {
    const int why = connection->failure_.load(std::memory_order_acquire);
    close_now(connection, why != 0 ? static_cast<CloseReason>(why) : CloseReason::kPeer, 0);
    return;
  }
  if (outcome == Connection::Flush::kMore) connection->attention_->add(connection);
  if (empty && connection->reading_stopped_) {
    close_now(connection, CloseReason::kLocal, 0);
    return;
  }
  resume_reading(connection);
}

void Transport::resume_reading(Connection* connection) {
  {
    std::lock_guard lock(connection->mutex_);
    if (!connection->paused_.load(std::memory_order_relaxed)) {
      // Only the wanted events may have changed.
    } else if (connection->should_pause_locked()) {
      // Still too much.
    } else if (connection->kind_ != ConnectionKind::kOutbound &&
               static_cast<int64_t>(connection->slots_.size()) > limits_.inflight_max / 2) {
      // Half-way down is where reading starts again.
    } else {
      connection->paused_.store(false, std::memory_order_release);
    }
  }
  if (!connection->paused_.load(std::memory_order_relaxed) && connection->reader_.has_kept_bytes()) {
    after_status(connection, connection->reader_.resume(*connection));
    if (connection->closing_) return;
  }
  update_poll(connection);
}

void Transport::update_poll(Connection* connection) {
  if (connection->poll_ == nullptr || connection->closing_) return;
  int mask = 0;
  if (!connection->paused_.load(std::memory_order_relaxed) && !connection->memory_wait_ &&
      !connection->reading_stopped_) {
    mask |= UV_READABLE;
  }
  {
    std::lock_guard lock(connection->mutex_);
    if (connection->want_write_) mask |= UV_WRITABLE;
  }
  // A peer that is gone must be noticed while nothing is read from it, too.
  mask |= UV_DISCONNECT;
  if (mask == connection->poll_mask_) return;
  connection->poll_mask_ = mask;
  uv_poll_start(connection->poll_, mask, [](uv_poll_t* poll, int status, int events) {
    auto* self = static_cast<Connection*>(poll->data);
    Transport* transport = self->transport_;
    const InPoll in_poll(*transport->events_);
    if (status < 0) {
      // libuv says EBADF for every error that a socket has; the socket knows which.
      const int error = socket_error(self->fd_);
      transport->close_now(self, CloseReason::kPeer, error != 0 ? error : -status);
      return;
    }
    if ((events & UV_WRITABLE) != 0 && self->connecting_) {
      const int error = socket_error(self->fd_);
      if (error != 0) {
        transport->close_now(self, CloseReason::kPeer, error);
        return;
      }
      self->connecting_ = false;
      transport->events_->post(EventKind::kOpened, static_cast<double>(self->id_), -1);
    }
    if ((events & UV_WRITABLE) != 0) {
      {
        std::lock_guard lock(self->mutex_);
        self->want_write_ = false;
      }
      self->last_active_ms_ = static_cast<int64_t>(uv_now(transport->loop_));
      transport->look_at(self);
      if (self->closing_) return;
    }
    if ((events & UV_READABLE) != 0 && (self->poll_mask_ & UV_READABLE) != 0) {
      transport->on_readable(self);
      return;
    }
    if ((events & UV_DISCONNECT) != 0 && (self->poll_mask_ & UV_READABLE) == 0) {
      transport->close_now(self, CloseReason::kPeer, 0);
    }
  });
}

bool Transport::memory_blocks(Connection* connection) {
  // What a follower fetches is bounded by its own requests, and must not wait for clients.
  if (connection->kind_ == ConnectionKind::kOutbound) return false;
  if (FramePool::instance().received_bytes() < limits_.received_bytes_max) return false;
  if (connection->memory_granted_ && connection->reader_.in_frame()) return false;
  connection->memory_granted_ = false;
  if (!connection->memory_wait_) {
    connection->memory_wait_ = true;
    connection->ref();
    memory_waiters_.push_back(connection);
  }
  if (!memory_timer_runs_) {
    memory_timer_runs_ = true;
    uv_timer_start(
        memory_timer_,
        [](uv_timer_t* timer) { static_cast<Transport*>(timer->data)->relieve_memory(); },
        kMemoryCheckMs, kMemoryCheckMs);
  }
  return true;
}

void Transport::relieve_memory() {
  const bool relieved =
      FramePool::instance().received_bytes() < limits_.received_bytes_max / 10 * 8;
  // The oldest unfinished frames may finish, as far as one request's worth of memory reaches:
  // without that, frames that each wait for memory held by the others would wait for ever.
  int64_t reserve = static_cast<int64_t>(limits_.frame_bytes_max);
  for (const auto& [id, connection] : connections_) {
    if (connection->memory_granted_) {
      reserve -= static_cast<int64_t>(connection->reader_.remaining());
    }
  }
  std::stable_sort(memory_waiters_.begin(), memory_waiters_.end(),
                   [](const Connection* a, const Connection* b) {
                     return a->last_progress_ms_ < b->last_progress_ms_;
                   });
  std::vector<Connection*> still;
  for (Connection* connection : memory_waiters_) {
    bool go = relieved || connection->closing_;
    if (!go && connection->reader_.in_frame()) {
      const auto needed = static_cast<int64_t>(connection->reader_.remaining());
      if (needed <= reserve) {
        reserve -= needed;
        connection->memory_granted_ = true;
        go = true;
      }
    }
    if (!go) {
      still.push_back(connection);
      continue;
    }
    connection->memory_wait_ = false;
    connection->last_progress_ms_ = static_cast<int64_t>(uv_now(loop_));
    update_poll(connection);
    connection->unref();
  }
  memory_waiters_.swap(still);
  if (memory_waiters_.empty()) {
    memory_timer_runs_ = false;
    uv_timer_stop(memory_timer_);
  }
}

void Transport::on_readable(Connection* connection) {
  const int64_t now = static_cast<int64_t>(uv_now(loop_));
  for (int i = 0; i < kReadsPerEvent; ++i) {
    if (memory_blocks(connection)) break;
    iovec vectors[2];
    const int count = connection->reader_.prepare(vectors, scratch_);
    if (count == 0) {
      close_now(connection, CloseReason::kNoMemory, 0);
      return;
    }
    size_t room = 0;
    for (int v = 0; v < count; ++v) room += vectors[v].iov_len;
    ssize_t n;
    do {
      n = ::readv(connection->fd_, vectors, count);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) {
      close_now(connection, CloseReason::kPeer, n < 0 ? errno : 0);
      return;
    }
    connection->last_active_ms_ = connection->last_progress_ms_ = now;
    after_status(connection,
                 connection->reader_.advance(static_cast<size_t>(n), scratch_, *connection));
    if (connection->closing_) return;
    if (connection->paused_.load(std::memory_order_relaxed)) break;
    if (static_cast<size_t>(n) < room) break;
  }
  update_poll(connection);
}

void Transport::after_status(Connection* connection, FrameReader::Status status) {
  for (;;) {
    if (status == FrameReader::Status::kBadLength) {
      close_now(connection, CloseReason::kBadLength, 0);
      return;
    }
    if (status == FrameReader::Status::kNoMemory) {
      close_now(connection, CloseReason::kNoMemory, 0);
      return;
    }
    {
      std::lock_guard lock(connection->mutex_);
      if (connection->should_pause_locked()) {
        connection->paused_.store(true);
        if (connection->should_pause_locked()) return;
        // Another thread gave memory back before it could see the flag.
        connection->paused_.store(false);
      }
    }
    // A sink that declined while the limit was reached may want more by now.
    if (!connection->reader_.has_kept_bytes()) return;
    status = connection->reader_.resume(*connection);
  }
}

bool Transport::feed(uint64_t id, std::span<const uint8_t> bytes) {
  Connection* connection = find(id);
  if (connection == nullptr || connection->closing_) return false;
  connection->last_active_ms_ = connection->last_progress_ms_ =
      static_cast<int64_t>(uv_now(loop_));
  after_status(connection, connection->reader_.consume(bytes, *connection));
  return !connection->closing_;
}

bool Transport::wants_pause(uint64_t id) {
  Connection* connection = find(id);
  return connection != nullptr && (connection->paused_.load(std::memory_order_relaxed) ||
                                   FramePool::instance().received_bytes() >=
                                       limits_.received_bytes_max);
}

int64_t Transport::pull(uint64_t id, std::span<uint8_t> out) {
  Connection* connection = find(id);
  if (connection == nullptr || connection->closing_) return -1;
  size_t copied = 0;
  bool broken = false;
  {
    std::lock_guard lock(connection->mutex_);
    auto& slots = connection->slots_;
    while (copied < out.size() && !slots.empty() && slots.front()->ready) {
      Request* request = slots.front();
      if (!request->answered || request->step == request->steps()) {
        connection->pop_sent_locked();
        continue;
      }
      int64_t size = 0;
      size_t taken = 0;
      if (request->step % 2 == 0) {
        const auto bytes = request->bytes_of_step(request->step);
        size = static_cast<int64_t>(bytes.size());
        taken = std::min(out.size() - copied, bytes.size() - static_cast<size_t>(request->step_sent));
        if (taken > 0) std::memcpy(out.data() + copied, bytes.data() + request->step_sent, taken);
      } else {
        const FileRegion& region = request->regions[request->step / 2];
        size = region.length;
        const auto wanted = std::min(out.size() - copied,
                                     static_cast<size_t>(region.length - request->step_sent));
        const ssize_t n = ::pread(region.file->fd(), out.data() + copied, wanted,
                                  region.position + request->step_sent);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 && wanted > 0) {
          broken = true;
          break;
        }
        taken = static_cast<size_t>(n);
      }
      copied += taken;
      request->step_sent += static_cast<int64_t>(taken);
      if (request->step_sent == size) {
        request->step += 1;
        request->step_sent = 0;
        if (request->step == request->steps()) connection->pop_sent_locked();
      }
    }
    connection->output_signalled_ = copied == out.size();
  }
  if (broken) {
    close_now(connection, CloseReason::kTruncated, 0);
    return -1;
  }
  connection->attention_->add(connection);
  return static_cast<int64_t>(copied);
}

void Transport::stall(Connection* connection, int change) {
  connection->stalled_ += change;
  if (connection->stalled_ > 0) {
    connection->paused_.store(true, std::memory_order_release);
    update_poll(connection);
  } else {
    connection->attention_->add(connection);
  }
}

void Transport::close_connection(uint64_t id, CloseReason reason) {
  Connection* connection = find(id);
  if (connection != nullptr) close_now(connection, reason, 0);
}

void Transport::close_now(Connection* connection, CloseReason reason, int error) {
  if (connection->closing_) return;
  connection->closing_ = true;
  std::deque<Request*> slots;
  {
    std::lock_guard lock(connection->mutex_);
    connection->open_ = false;
    slots.swap(connection->slots_);
  }
  for (Request* request : slots) request->unref();
  for (const auto& [sequence, request] : connection->received_) {
    request->release_dispatcher();
    request->unref();
  }
  connection->received_.clear();
  connections_.erase(connection->id_);
  if (connection->kind_ == ConnectionKind::kInternal) --internal_connections_;
  events_->post(EventKind::kClosed, static_cast<double>(connection->id_),
                static_cast<int>(reason), error);
  if (connection->poll_ == nullptr) {
    connection->unref();
    handle_closed();
    return;
  }
  ++open_handles_;
  uv_poll_stop(connection->poll_);
  uv_close(reinterpret_cast<uv_handle_t*>(connection->poll_), [](uv_handle_t* handle) {
    auto* self = static_cast<Connection*>(handle->data);
    Transport* transport = self->transport_;
    ::close(self->fd_);
    delete reinterpret_cast<uv_poll_t*>(handle);
    self->poll_ = nullptr;
    self->unref();
    --transport->open_handles_;
    transport->handle_closed();
  });
}

void Transport::handle_closed() {
  if (stopping_ && !drained_told_ && connections_.size() == internal_connections_ &&
      open_handles_ == 0) {
    drained_told_ = true;
    events_->post(EventKind::kDrained);
  }
  if (destroyed_ && open_handles_ == 0 && connections_.empty() && destroyed_callback_) {
    auto callback = std::move(destroyed_callback_);
    destroyed_callback_ = nullptr;
    callback();
  }
}

std::string Transport::peer_address(uint64_t id) {
  Connection* connection = find(id);
  if (connection == nullptr || connection->fd_ < 0) return {};
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getpeername(connection->fd_, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr, text, sizeof text);
  } else {
    const auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
      ::inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, sizeof text);
    } else {
      ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    }
  }
  return text;
}

void Transport::tick() {
  const int64_t now = static_cast<int64_t>(uv_now(loop_));
  for (auto& listener : listeners_) {
    if (listener->accepting) continue;
    listener->accepting = true;
    uv_poll_start(listener->poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
      auto* self = static_cast<Listener*>(poll->data);
      self->transport->accept_from(self);
    });
  }
  std::vector<std::pair<Connection*, CloseReason>> late;
  for (const auto& [id, connection] : connections_) {
    if (connection->kind_ == ConnectionKind::kInternal) continue;
    bool waiting = false;  // A slot whose answer is still being made: not the client's delay.
    {
      std::lock_guard lock(connection->mutex_);
      waiting = !connection->slots_.empty() && !connection->slots_.front()->ready;
    }
    const bool may_idle = waiting || connection->kind_ == ConnectionKind::kOutbound;
    if (now - connection->last_active_ms_ > limits_.idle_ms && !may_idle) {
      late.emplace_back(connection, CloseReason::kIdle);
    } else if (connection->reader_.in_frame() &&
               !connection->paused_.load(std::memory_order_relaxed) &&
               now - connection->last_progress_ms_ > limits_.frame_stall_ms) {
      late.emplace_back(connection, CloseReason::kStalled);
    }
  }
  for (const auto& [connection, reason] : late) close_now(connection, reason, 0);
}

void Transport::stop() {
  if (stopping_) return;
  stopping_ = true;
  close_listeners();
  std::vector<Connection*> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (Connection* connection : all) {
    if (connection->kind_ == ConnectionKind::kInternal) continue;
    if (connection->kind_ == ConnectionKind::kOutbound) {
      close_now(connection, CloseReason::kLocal, 0);
      continue;
    }
    connection->reading_stopped_ = true;
    bool empty;
    {
      std::lock_guard lock(connection->mutex_);
      empty = connection->slots_.empty();
    }
    if (empty) {
      close_now(connection, CloseReason::kLocal, 0);
    } else {
      update_poll(connection);
    }
  }
  handle_closed();
}

void Transport::destroy(std::function<void()> closed) {
  if (destroyed_) return;
  destroyed_ = true;
  destroyed_callback_ = std::move(closed);
  // Counted before any connection closes: the last of those must not be taken for the end while
  // the timers still point here.
  open_handles_ += 2;
  close_listeners();
  std::vector<Connection*> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (Connection* connection : all) close_now(connection, CloseReason::kLocal, 0);
  for (Connection* connection : memory_waiters_) connection->unref();
  memory_waiters_.clear();
  attention_->close();
  for (uv_timer_t** timer : {&timer_, &memory_timer_}) {
    (*timer)->data = this;
    uv_close(reinterpret_cast<uv_handle_t*>(*timer), [](uv_handle_t* handle) {
      auto* self = static_cast<Transport*>(handle->data);
      delete reinterpret_cast<uv_timer_t*>(handle);
      --self->open_handles_;
      self->handle_closed();
    });
    *timer = nullptr;
  }
}

}  // namespace shardlog
