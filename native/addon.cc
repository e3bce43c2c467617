// The border between JavaScript and the native parts: decodes arguments, calls one function,
// turns the result into a number or a buffer. The only file that includes napi.h.
//
// The add-on is loaded once per process and initialised once per environment (the main thread and
// every shard). What belongs to one environment is in its AddonData; what threads share is in
// LogTable, FramePool and the table of shards.
#include <napi.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "crc32c.h"
#include "directory_lock.h"
#include "event_queue.h"
#include "fetch_layout.h"
#include "offset_map.h"
#include "produce_layout.h"
#include "record_filter.h"
#include "shard.h"
#include "transport.h"

namespace shardlog {
namespace {

// --- Shards of the process

class ShardTable {
 public:
  static ShardTable& instance() {
    static ShardTable* table = new ShardTable();
    return *table;
  }
  int add(std::shared_ptr<EventQueue> main) {
    std::lock_guard lock(mutex_);
    const int index = next_++;
    shards_.emplace(index, std::make_shared<Shard>(index, std::move(main)));
    return index;
  }
  std::shared_ptr<Shard> find(int index) {
    std::lock_guard lock(mutex_);
    const auto found = shards_.find(index);
    return found == shards_.end() ? nullptr : found->second;
  }
  void remove(int index) {
    std::lock_guard lock(mutex_);
    shards_.erase(index);
  }

 private:
  std::mutex mutex_;
  int next_ = 1;
  std::map<int, std::shared_ptr<Shard>> shards_;
};

// --- One environment

/// Delivers the rows of an event queue to a JavaScript callback.
class Delivery {
 public:
  Delivery(Napi::Env env, Napi::Float64Array rows, Napi::Function callback)
      : env_(env),
        rows_(Napi::Persistent(rows)),
        callback_(Napi::Persistent(callback)),
        context_(env, "shardlog") {}

  void deliver(const std::vector<Event>& events) {
    if (events.empty()) return;
    Napi::HandleScope scope(env_);
    Napi::Float64Array rows = rows_.Value();
    const size_t capacity = rows.ElementLength() / Event::kWidth;
    for (size_t first = 0; first < events.size(); first += capacity) {
      const size_t count = std::min(capacity, events.size() - first);
      std::memcpy(rows.Data(), events.data() + first, count * sizeof(Event));
      callback_.MakeCallback(env_.Global(), {Napi::Number::New(env_, static_cast<double>(count))},
                             context_);
      if (env_.IsExceptionPending()) {
        const Napi::Error error = env_.GetAndClearPendingException();
        napi_fatal_exception(env_, error.Value());
        return;
      }
    }
  }

 private:
  Napi::Env env_;
  Napi::Reference<Napi::Float64Array> rows_;
  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
};

/// A Produce request that waits at the head of its connection for room in a shard's queue.
struct StalledProduce {
  uint64_t connection;
  std::vector<ShardRecord> records;
};

/// The transport of one broker, with its events, its staged file regions and its shards.
struct BrokerTransport {
  std::shared_ptr<EventQueue> events;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Delivery> delivery;
  uv_check_t* check = nullptr;
  std::vector<Event> taken;
  std::vector<FileRegion> staged;
  std::deque<StalledProduce> stalled;
  std::vector<std::shared_ptr<Shard>> shards;
  bool closing = false;

  void turn();
  void retry_stalled();
  bool try_post(std::vector<ShardRecord>& records);
  void run_shards();
};

/// A shard that this environment owns.
struct OwnedShard {
  std::shared_ptr<Shard> shard;
  std::shared_ptr<EventQueue> events;
  std::unique_ptr<Delivery> delivery;
  std::vector<Event> taken;
};

struct AddonData {
  uv_loop_t* loop = nullptr;
  std::map<int, std::shared_ptr<BrokerTransport>> transports;
  std::map<int, std::shared_ptr<OwnedShard>> shards;
  int next_transport = 1;
  int closing = 0;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool cleaning = false;
  std::vector<uint8_t> filtered;  // Scratch of `filterRecords`.
};

AddonData& data_of(const Napi::CallbackInfo& info) { return *info.Env().GetInstanceData<AddonData>(); }

double number(const Napi::Value& value) { return value.As<Napi::Number>().DoubleValue(); }
int64_t integer(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }

std::span<uint8_t> bytes_of(const Napi::Value& value) {
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

int64_t option(const Napi::Object& options, const char* name) {
  return options.Get(name).As<Napi::Number>().Int64Value();
}

BrokerTransport* transport_of(const Napi::CallbackInfo& info) {
  AddonData& data = data_of(info);
  const auto found = data.transports.find(static_cast<int>(integer(info[0])));
  return found == data.transports.end() ? nullptr : found->second.get();
}

// --- Turns of the main loop

void BrokerTransport::turn() {
  // What a turn itself brings about (an append that wakes a fetch) is delivered in the same turn,
  // without a wake-up of the loop in between; a few rounds, so that sockets have their turn too.
  constexpr int kRounds = 4;
  transport->begin_turn();
  events->set_in_poll(true);
  for (int round = 0; round < kRounds; ++round) {
    // Taking resets the wake-up, so it comes first: whatever is added behind it signals again.
    events->take(taken);
    transport->turn();
    retry_stalled();
    delivery->deliver(taken);
    run_shards();
    if (closing || !events->pending()) break;
  }
  events->set_in_poll(false);
  if (!closing && events->pending()) events->wake();
  transport->end_turn();
}

void BrokerTransport::run_shards() {
  for (const auto& shard : shards) {
    if (shard->direct()) {
      shard->drain();
    } else {
      shard->signal();
    }
  }
}

bool BrokerTransport::try_post(std::vector<ShardRecord>& records) {
  // Whole or not at all: every shard concerned must have room before anything is posted.
  if (records.size() == 1) {
    const std::shared_ptr<Shard> shard = records[0].log->shard;
    if (!shard->has_room(1, records[0].slice.length)) return false;
    shard->post(records);
    return true;
  }
  std::stable_sort(records.begin(), records.end(), [](const ShardRecord& a, const ShardRecord& b) {
    return a.log->shard->index() < b.log->shard->index();
  });
  for (size_t i = 0; i < records.size();) {
    const std::shared_ptr<Shard> shard = records[i].log->shard;
    size_t end = i;
    int64_t bytes = 0;
    for (; end < records.size() && records[end].log->shard == shard; ++end) {
      bytes += records[end].slice.length;
    }
    if (!shard->has_room(end - i, bytes)) return false;
    i = end;
  }
  std::vector<ShardRecord> part;
  for (size_t i = 0; i < records.size();) {
    const std::shared_ptr<Shard> shard = records[i].log->shard;
    part.clear();
    for (; i < records.size() && records[i].log->shard == shard; ++i) {
      part.push_back(std::move(records[i]));
    }
    shard->post(part);
  }
  records.clear();
  return true;
}

void BrokerTransport::retry_stalled() {
  while (!stalled.empty()) {
    StalledProduce& first = stalled.front();
    if (!try_post(first.records)) return;
    Connection* connection = transport->find(first.connection);
    if (connection != nullptr) transport->stall(connection, -1);
    stalled.pop_front();
  }
}

// --- Transport functions

/// openTransport(options, rows, callback): transport id.
Napi::Value OpenTransport(const Napi::CallbackInfo& info) {
  AddonData& data = data_of(info);
  const auto options = info[0].As<Napi::Object>();
  TransportLimits limits;
  limits.frame_bytes_max = static_cast<size_t>(option(options, "frameBytesMax"));
  limits.inflight_max = static_cast<int32_t>(option(options, "inflightMax"));
  limits.inflight_bytes_max = option(options, "inflightBytesMax");
  limits.output_bytes_max = option(options, "outputBytesMax");
  limits.received_bytes_max = option(options, "receivedBytesMax");
  limits.connections_max = option(options, "connectionsMax");
  limits.idle_ms = option(options, "idleMs");
  limits.frame_stall_ms = option(options, "frameStallMs");
  limits.send_buffer_bytes = static_cast<int>(option(options, "sendBufferBytes"));
  limits.receive_buffer_bytes = static_cast<int>(option(options, "receiveBufferBytes"));

  auto broker = std::make_shared<BrokerTransport>();
  BrokerTransport* raw = broker.get();
  broker->events = EventQueue::open(data.loop, [raw] {
    if (!raw->closing) raw->turn();
  });
  broker->transport = std::make_unique<Transport>(data.loop, limits, broker->events);
  broker->delivery = std::make_unique<Delivery>(info.Env(), info[1].As<Napi::Float64Array>(),
                                                info[2].As<Napi::Function>());
  broker->check = new uv_check_t();
  broker->check->data = raw;
  uv_check_init(data.loop, broker->check);
  uv_check_start(broker->check, [](uv_check_t* check) {
    auto* self = static_cast<BrokerTransport*>(check->data);
    if (!self->closing && self->events->pending()) self->turn();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(broker->check));
  const int id = data.next_transport++;
  data.transports.emplace(id, std::move(broker));
  return Napi::Number::New(info.Env(), id);
}

void finish_cleanup(AddonData* data);

void close_transport(AddonData* data, int id, std::function<void()> closed) {
  const auto found = data->transports.find(id);
  if (found == data->transports.end()) {
    closed();
    return;
  }
  std::shared_ptr<BrokerTransport> broker = found->second;
  data->transports.erase(found);
  broker->closing = true;
  broker->staged.clear();
  for (StalledProduce& stalled : broker->stalled) {
    for (ShardRecord& record : stalled.records) {
      record.slice.request->release_frame();
      record.slice.request->unref();
    }
  }
  broker->stalled.clear();
  ++data->closing;
  auto left = std::make_shared<int>(3);
  auto part_closed = [data, broker, left, closed = std::move(closed)] {
    if (--*left > 0) return;
    --data->closing;
    closed();
    finish_cleanup(data);
  };
  broker->transport->destroy(part_closed);
  broker->events->close(part_closed);
  broker->check->data = new std::function<void()>(part_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(broker->check), [](uv_handle_t* handle) {
    auto* after = static_cast<std::function<void()>*>(handle->data);
    (*after)();
    delete after;
    delete reinterpret_cast<uv_check_t*>(handle);
  });
}

/// closeTransport(transport): closes every socket now.
Napi::Value CloseTransport(const Napi::CallbackInfo& info) {
  close_transport(&data_of(info), static_cast<int>(integer(info[0])), [] {});
  return info.Env().Undefined();
}

/// listen(transport, address, port, backlog): the bound port, or -errno.
Napi::Value Listen(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  if (broker == nullptr) return Napi::Number::New(info.Env(), -EBADF);
  const auto result =
      broker->transport->listen(info[1].As<Napi::String>().Utf8Value(),
                                static_cast<int>(integer(info[2])), static_cast<int>(integer(info[3])));
  return Napi::Number::New(info.Env(), result.error != 0 ? -result.error : result.port);
}

/// stopTransport(transport): no new frames; DRAINED follows when every answer is out.
Napi::Value StopTransport(const Napi::CallbackInfo& info) {
  if (BrokerTransport* broker = transport_of(info)) broker->transport->stop();
  return info.Env().Undefined();
}

/// connectionCount(transport)
Napi::Value ConnectionCount(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  return Napi::Number::New(info.Env(),
                           broker == nullptr ? 0
                                             : static_cast<double>(broker->transport->connection_count()));
}

/// closeConnection(transport, connection)
Napi::Value CloseConnection(const Napi::CallbackInfo& info) {
  if (BrokerTransport* broker = transport_of(info)) {
    broker->transport->close_connection(static_cast<uint64_t>(number(info[1])), CloseReason::kLocal);
  }
  return info.Env().Undefined();
}

/// peerAddress(transport, connection): the IP address, empty when it is gone.
Napi::Value PeerAddress(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  return Napi::String::New(
      info.Env(), broker == nullptr
                      ? std::string()
                      : broker->transport->peer_address(static_cast<uint64_t>(number(info[1]))));
}

/// attach(transport): a connection without a socket of ours.
Napi::Value Attach(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  return Napi::Number::New(
      info.Env(), broker == nullptr ? -1 : static_cast<double>(broker->transport->attach()));
}

/// feed(transport, connection, bytes): 1 to go on, 0 to pause the source, -1 when it is closed.
Napi::Value Feed(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  const auto connection = static_cast<uint64_t>(number(info[1]));
  if (broker == nullptr || !broker->transport->feed(connection, bytes_of(info[2]))) {
    return Napi::Number::New(info.Env(), -1);
  }
  return Napi::Number::New(info.Env(), broker->transport->wants_pause(connection) ? 0 : 1);
}

/// wantsPause(transport, connection)
Napi::Value WantsPause(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  return Napi::Boolean::New(info.Env(), broker != nullptr && broker->transport->wants_pause(
                                                                 static_cast<uint64_t>(number(info[1]))));
}

/// pull(transport, connection, out): bytes copied to `out`, -1 when the connection is closed.
Napi::Value Pull(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  const int64_t n = broker == nullptr ? -1
                                      : broker->transport->pull(static_cast<uint64_t>(number(info[1])),
                                                                bytes_of(info[2]));
  return Napi::Number::New(info.Env(), static_cast<double>(n));
}

/// The counted request that arguments 1 and 2 name.
struct RequestRef {
  Request* request = nullptr;
  RequestRef(BrokerTransport* broker, const Napi::CallbackInfo& info) {
    if (broker == nullptr) return;
    request = broker->transport->find_request(static_cast<uint64_t>(number(info[1])),
                                              static_cast<uint64_t>(number(info[2])));
  }
  ~RequestRef() {
    if (request != nullptr) request->unref();
  }
  RequestRef(const RequestRef&) = delete;
  RequestRef& operator=(const RequestRef&) = delete;
  explicit operator bool() const { return request != nullptr; }
  Request* operator->() const { return request; }
};

constexpr double kGone = -1;
constexpr double kBad = -2;
constexpr double kRoom = -3;

/// readFrame(transport, connection, sequence, out): copies the frame; bytes copied, -1 when the
/// request is gone, -3 when `out` is too small.
Napi::Value ReadFrame(const Napi::CallbackInfo& info) {
  RequestRef request(transport_of(info), info);
  if (!request) return Napi::Number::New(info.Env(), kGone);
  const std::span<uint8_t> out = bytes_of(info[3]);
  const FrameBuffer& frame = request->frame();
  if (out.size() < frame.size()) return Napi::Number::New(info.Env(), kRoom);
  std::memcpy(out.data(), frame.data(), frame.size());
  return Napi::Number::New(info.Env(), static_cast<double>(frame.size()));
}

/// readProduceHead(transport, connection, sequence, out): the frame without record payloads; -2
/// when it is malformed.
Napi::Value ReadProduceHead(const Napi::CallbackInfo& info) {
  RequestRef request(transport_of(info), info);
  if (!request) return Napi::Number::New(info.Env(), kGone);
  const FrameBuffer& frame = request->frame();
  const int64_t n = copy_produce_head({frame.data(), frame.size()}, bytes_of(info[3]));
  if (n == kTooSmall) return Napi::Number::New(info.Env(), kRoom);
  return Napi::Number::New(info.Env(), n == kMalformed ? kBad : static_cast<double>(n));
}

/// releaseFrame(transport, connection, sequence): the frame's bytes are not needed any more.
Napi::Value ReleaseFrame(const Napi::CallbackInfo& info) {
  RequestRef request(transport_of(info), info);
  if (request) request->release_dispatcher();
  return info.Env().Undefined();
}

void set_head(Request* request, const Napi::CallbackInfo& info, size_t first) {
  const std::span<uint8_t> bytes = bytes_of(info[first]);
  const auto start = static_cast<size_t>(integer(info[first + 1]));
  const auto end = static_cast<size_t>(integer(info[first + 2]));
  if (start > end || end > bytes.size()) return;
  request->head.assign(bytes.begin() + static_cast<ptrdiff_t>(start),
                       bytes.begin() + static_cast<ptrdiff_t>(end));
}

/// respond(transport, connection, sequence, bytes, start, end): false when the request is gone. An
/// empty range completes the request without an answer.
Napi::Value Respond(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (!request) return Napi::Boolean::New(info.Env(), false);
  set_head(request.request, info, 3);
  request->answered = !request->head.empty();
  broker->transport->complete(request.request);
  return Napi::Boolean::New(info.Env(), true);
}

struct WarmWork {
  uv_work_t work;
  Request* request;
  AddonData* data;
};

/// respondRegions(transport, connection, sequence, bytes, start, end, cuts, count): as respond,
/// with the staged regions inserted at the cuts (positions relative to `start`).
Napi::Value RespondRegions(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (!request) {
    if (broker != nullptr) broker->staged.clear();
    return Napi::Boolean::New(info.Env(), false);
  }
  set_head(request.request, info, 3);
  auto cuts = info[6].As<Napi::Int32Array>();
  const auto count = static_cast<size_t>(integer(info[7]));
  if (count != broker->staged.size() || count > cuts.ElementLength()) {
    broker->staged.clear();
    return Napi::Boolean::New(info.Env(), false);
  }
  request->cuts.assign(cuts.Data(), cuts.Data() + count);
  request->regions.swap(broker->staged);
  broker->staged.clear();
  bool cold = false;
  for (const FileRegion& region : request->regions) cold = cold || region.cold;
  if (!cold) {
    broker->transport->complete(request.request);
    return Napi::Boolean::New(info.Env(), true);
  }
  // Reading from the disk must not stop the loop: a thread of the pool brings the pages in first.
  request->ref();
  AddonData* data = &data_of(info);
  ++data->closing;
  auto* warm = new WarmWork{{}, request.request, data};
  warm->work.data = warm;
  uv_queue_work(
      data->loop, &warm->work,
      [](uv_work_t* work) {
        for (const FileRegion& region : static_cast<WarmWork*>(work->data)->request->regions) {
          if (region.cold) PartitionLog::warm(region.file, region.position, region.length);
        }
      },
      [](uv_work_t* work, int) {
        auto* done = static_cast<WarmWork*>(work->data);
        done->request->connection()->complete(done->request);
        done->request->connection()->flush();
        done->request->unref();
        AddonData* owner = done->data;
        delete done;
        --owner->closing;
        finish_cleanup(owner);
      });
  return Napi::Boolean::New(info.Env(), true);
}

/// produce(transport, connection, sequence, acks, template, start, end, slices, count): posts the
/// slices (rows of 11: log, position, length, leader epoch, wall clock ms, ordinal, holes of error,
/// base offset, append time, log start, and the deadline in ms of the clock that `expireParked` is
/// told) to their shards, all or none. False when the request is gone or a row is out of the frame.
Napi::Value Produce(const Napi::CallbackInfo& info) {
  constexpr size_t kRow = 11;
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (!request || !request->results.empty()) return Napi::Boolean::New(info.Env(), false);
  set_head(request.request, info, 4);
  auto slices = info[7].As<Napi::Float64Array>();
  const auto count = static_cast<size_t>(integer(info[8]));
  if (count == 0 || count * kRow > slices.ElementLength()) {
    return Napi::Boolean::New(info.Env(), false);
  }
  const double* row = slices.Data();
  const size_t frame_bytes = request->frame().size();
  for (size_t i = 0; i < count; ++i) {
    const double position = row[i * kRow + 1];
    const double length = row[i * kRow + 2];
    if (position < 0 || length < 0 || position + length > static_cast<double>(frame_bytes)) {
      return Napi::Boolean::New(info.Env(), false);
    }
  }
  Request* raw = request.request;
  raw->acks = static_cast<int16_t>(integer(info[3]));
  raw->answered = raw->acks != 0;
  raw->results.assign(count, SliceResult{});
  raw->holes.assign(count, SliceHoles{});
  raw->slices_left.store(static_cast<int32_t>(count), std::memory_order_relaxed);
  raw->hold_frame(static_cast<int>(count));
  std::vector<ShardRecord> records;
  records.reserve(count);
  std::vector<Slice> lost;
  for (size_t i = 0; i < count; ++i, row += kRow) {
    raw->results[i].ordinal = static_cast<int32_t>(row[5]);
    raw->holes[i] = {static_cast<int32_t>(row[6]), static_cast<int32_t>(row[7]),
                     static_cast<int32_t>(row[8]), static_cast<int32_t>(row[9])};
    raw->ref();
    ShardRecord record;
    record.log = LogTable::instance().find(static_cast<uint64_t>(row[0]));
    record.slice = Slice{raw,
                         static_cast<uint32_t>(i),
                         static_cast<uint32_t>(row[1]),
                         static_cast<uint32_t>(row[2]),
                         static_cast<int32_t>(row[3]),
                         static_cast<int64_t>(row[4]),
                         static_cast<int64_t>(row[10])};
    if (record.log) {
      records.push_back(std::move(record));
    } else {
      lost.push_back(record.slice);
    }
  }
  raw->release_dispatcher();
  for (Slice& slice : lost) Shard::fail_unposted(slice, *broker->events);
  if (records.empty()) return Napi::Boolean::New(info.Env(), true);
  Connection* connection = raw->connection();
  if (!broker->stalled.empty() || !broker->try_post(records)) {
    broker->transport->stall(connection, 1);
    broker->stalled.push_back({connection->id(), std::move(records)});
  }
  return Napi::Boolean::New(info.Env(), true);
}

/// connect(transport, address, port): a connection to another broker, or -errno. OPENED with
/// listener -1 or CLOSED follows.
Napi::Value Connect(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  if (broker == nullptr || broker->closing) return Napi::Number::New(info.Env(), -EBADF);
  const Transport::ConnectResult connected = broker->transport->connect(
      info[1].As<Napi::String>().Utf8Value(), static_cast<int>(integer(info[2])));
  return Napi::Number::New(info.Env(), connected.error != 0
                                           ? -connected.error
                                           : static_cast<double>(connected.connection));
}

/// send(transport, connection, bytes, start, end): a request on an outbound connection; false when
/// that is gone.
Napi::Value Send(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  Connection* connection =
      broker == nullptr ? nullptr
                        : broker->transport->find(static_cast<uint64_t>(number(info[1])));
  const std::span<uint8_t> bytes = bytes_of(info[2]);
  const auto start = static_cast<size_t>(integer(info[3]));
  const auto end = static_cast<size_t>(integer(info[4]));
  if (connection == nullptr || start > end || end > bytes.size()) {
    return Napi::Boolean::New(info.Env(), false);
  }
  broker->transport->send(connection, bytes.subspan(start, end - start));
  return Napi::Boolean::New(info.Env(), true);
}

/// readFetchHead(transport, connection, sequence, out, version): an answer to a Fetch of ours
/// without record payloads; as readProduceHead.
Napi::Value ReadFetchHead(const Napi::CallbackInfo& info) {
  RequestRef request(transport_of(info), info);
  if (!request) return Napi::Number::New(info.Env(), kGone);
  const FrameBuffer& frame = request->frame();
  const int64_t n = copy_fetch_head({frame.data(), frame.size()},
                                    static_cast<int>(integer(info[4])), bytes_of(info[3]));
  if (n == kTooSmall) return Napi::Number::New(info.Env(), kRoom);
  return Napi::Number::New(info.Env(), n == kMalformed ? kBad : static_cast<double>(n));
}

/// dropFrame(transport, connection, sequence): an answer on an outbound connection is read.
Napi::Value DropFrame(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (request && request->received) broker->transport->drop_received(request.request);
  return info.Env().Undefined();
}

/// appendFetched(transport, connection, sequence, slices, count): appends the records of a Fetch
/// answer as a follower; a RESULT event follows. `slices` are rows of 6: log, position and length
/// of the records in the frame, leader epoch, wall clock (ms), the leader's high watermark.
Napi::Value AppendFetched(const Napi::CallbackInfo& info) {
  constexpr size_t kRow = 6;
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (!request || !request->received || !request->results.empty()) {
    return Napi::Boolean::New(info.Env(), false);
  }
  auto slices = info[3].As<Napi::Float64Array>();
  const auto count = static_cast<size_t>(integer(info[4]));
  if (count == 0 || count * kRow > slices.ElementLength()) {
    return Napi::Boolean::New(info.Env(), false);
  }
  const double* row = slices.Data();
  const auto frame_bytes = static_cast<double>(request->frame().size());
  for (size_t i = 0; i < count; ++i) {
    const double position = row[i * kRow + 1];
    const double length = row[i * kRow + 2];
    if (position < 0 || length < 0 || position + length > frame_bytes) {
      return Napi::Boolean::New(info.Env(), false);
    }
  }
  Request* raw = request.request;
  raw->acks = 1;
  raw->results.assign(count, SliceResult{});
  raw->holes.assign(count, SliceHoles{});
  raw->slices_left.store(static_cast<int32_t>(count), std::memory_order_relaxed);
  raw->hold_frame(static_cast<int>(count));
  std::vector<ShardRecord> records;
  std::vector<Slice> lost;
  for (size_t i = 0; i < count; ++i, row += kRow) {
    raw->results[i].ordinal = static_cast<int32_t>(i);
    raw->ref();
    ShardRecord record;
    record.log = LogTable::instance().find(static_cast<uint64_t>(row[0]));
    record.slice = Slice{raw,
                         static_cast<uint32_t>(i),
                         static_cast<uint32_t>(row[1]),
                         static_cast<uint32_t>(row[2]),
                         static_cast<int32_t>(row[3]),
                         static_cast<int64_t>(row[4])};
    record.slice.is_follower = true;
    record.slice.high_watermark = static_cast<int64_t>(row[5]);
    if (record.log) {
      records.push_back(std::move(record));
    } else {
      lost.push_back(record.slice);
    }
  }
  raw->release_dispatcher();
  for (Slice& slice : lost) Shard::fail_unposted(slice, *broker->events);
  if (!records.empty() && (!broker->stalled.empty() || !broker->try_post(records))) {
    broker->transport->stall(raw->connection(), 1);
    broker->stalled.push_back({raw->connection()->id(), std::move(records)});
  }
  broker->events->wake();
  return Napi::Boolean::New(info.Env(), true);
}

/// openInternal(transport): a connection of this process itself, for `appendInternal`.
Napi::Value OpenInternal(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  if (broker == nullptr || broker->closing) return Napi::Number::New(info.Env(), kGone);
  return Napi::Number::New(info.Env(), static_cast<double>(broker->transport->open_internal()));
}

/// appendInternal(transport, connection, log, bytes, leaderEpoch, acks, nowMs): the sequence under
/// which a RESULT event comes, -1 when the connection is gone, -12 without memory.
Napi::Value AppendInternal(const Napi::CallbackInfo& info) {
  // What a client's request would begin with: the slow lane asks for the version.
  constexpr uint8_t kHead[8] = {0, 0, 0, 11, 0, 0, 0, 0};
  BrokerTransport* broker = transport_of(info);
  Connection* connection =
      broker == nullptr ? nullptr
                        : broker->transport->find(static_cast<uint64_t>(number(info[1])));
  if (connection == nullptr) return Napi::Number::New(info.Env(), kGone);
  const std::span<uint8_t> bytes = bytes_of(info[3]);
  FrameBuffer frame = FramePool::instance().take(sizeof kHead + bytes.size());
  if (frame.empty()) return Napi::Number::New(info.Env(), -ENOMEM);
  std::memcpy(frame.data(), kHead, sizeof kHead);
  std::memcpy(frame.data() + sizeof kHead, bytes.data(), bytes.size());
  frame.grow_size(sizeof kHead + bytes.size());
  Request* request = broker->transport->submit(connection, std::move(frame));
  const auto sequence = static_cast<double>(request->sequence());
  request->acks = static_cast<int16_t>(integer(info[5]));
  request->results.assign(1, SliceResult{});
  request->holes.assign(1, SliceHoles{});
  request->slices_left.store(1, std::memory_order_relaxed);
  request->hold_frame(1);
  request->release_dispatcher();
  std::vector<ShardRecord> records(1);
  records[0].log = LogTable::instance().find(static_cast<uint64_t>(number(info[2])));
  records[0].slice = Slice{request,
                           0,
                           static_cast<uint32_t>(sizeof kHead),
                           static_cast<uint32_t>(bytes.size()),
                           static_cast<int32_t>(integer(info[4])),
                           integer(info[6])};
  if (!records[0].log) {
    Shard::fail_unposted(records[0].slice, *broker->events);
  } else if (!broker->stalled.empty() || !broker->try_post(records)) {
    broker->transport->stall(connection, 1);
    broker->stalled.push_back({connection->id(), std::move(records)});
  }
  // Outside a turn nobody would look at the queue.
  broker->events->wake();
  return Napi::Number::New(info.Env(), sequence);
}

/// requestHead(transport, connection, sequence, out): the answer template of a produce request;
/// bytes copied, -1 gone, -3 too small.
Napi::Value RequestHead(const Napi::CallbackInfo& info) {
  RequestRef request(transport_of(info), info);
  if (!request) return Napi::Number::New(info.Env(), kGone);
  const std::span<uint8_t> out = bytes_of(info[3]);
  if (out.size() < request->head.size()) return Napi::Number::New(info.Env(), kRoom);
  std::memcpy(out.data(), request->head.data(), request->head.size());
  return Napi::Number::New(info.Env(), static_cast<double>(request->head.size()));
}

/// requestResults(transport, connection, sequence, rows): writes rows of 6 (ordinal, error, base
/// offset, append time, log start, record index); how many, -1 gone, -3 too small.
Napi::Value RequestResults(const Napi::CallbackInfo& info) {
  constexpr size_t kRow = 6;
  RequestRef request(transport_of(info), info);
  if (!request) return Napi::Number::New(info.Env(), kGone);
  auto rows = info[3].As<Napi::Float64Array>();
  if (rows.ElementLength() < request->results.size() * kRow) {
    return Napi::Number::New(info.Env(), kRoom);
  }
  double* row = rows.Data();
  for (const SliceResult& result : request->results) {
    row[0] = result.ordinal;
    row[1] = result.error;
    row[2] = static_cast<double>(result.base_offset);
    row[3] = static_cast<double>(result.append_time);
    row[4] = static_cast<double>(result.log_start);
    row[5] = result.record_index;
    row += kRow;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(request->results.size()));
}

/// takeResults(transport, connection, sequence, rows): the results of an internal request, as
/// requestResults gives them, and the end of that request.
Napi::Value TakeResults(const Napi::CallbackInfo& info) {
  const Napi::Value count = RequestResults(info);
  BrokerTransport* broker = transport_of(info);
  RequestRef request(broker, info);
  if (request && request->received) {
    broker->transport->drop_received(request.request);
  } else if (request) {
    broker->transport->complete(request.request);
  }
  return count;
}

/// locate(transport, log, offset, maxBytes, limitOffset, minOneBatch): stages the region for the
/// answer being built; its bytes (0: nothing there, nothing staged), or -(1000 + error code).
Napi::Value Locate(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[1])));
  if (broker == nullptr || !log) return Napi::Number::New(info.Env(), -1006);
  LocateResult located = log->log->locate(integer(info[2]), integer(info[3]), integer(info[4]),
                                          info[5].As<Napi::Boolean>().Value());
  if (located.error != 0) return Napi::Number::New(info.Env(), -1000 - located.error);
  if (located.length > 0) {
    broker->staged.push_back(
        {std::move(located.file), located.position, located.length, located.cold});
  }
  return Napi::Number::New(info.Env(), static_cast<double>(located.length));
}

/// readStaged(transport, out): copies the bytes of the last staged region and unstages it, for
/// answers that must be converted; bytes copied, or -errno.
Napi::Value ReadStaged(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  if (broker == nullptr || broker->staged.empty()) return Napi::Number::New(info.Env(), -EINVAL);
  const FileRegion region = std::move(broker->staged.back());
  broker->staged.pop_back();
  const std::span<uint8_t> out = bytes_of(info[1]);
  const auto wanted = std::min(out.size(), static_cast<size_t>(region.length));
  size_t copied = 0;
  while (copied < wanted) {
    const ssize_t n = ::pread(region.file->fd(), out.data() + copied, wanted - copied,
                              region.position + static_cast<int64_t>(copied));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Napi::Number::New(info.Env(), -errno);
    if (n == 0) break;
    copied += static_cast<size_t>(n);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(copied));
}

/// clearStaged(transport): forgets the staged regions.
Napi::Value ClearStaged(const Napi::CallbackInfo& info) {
  if (BrokerTransport* broker = transport_of(info)) broker->staged.clear();
  return info.Env().Undefined();
}

/// publishedRows(): the rows of all logs as an ArrayBuffer of 64-bit words.
Napi::Value PublishedRows(const Napi::CallbackInfo& info) {
  return Napi::ArrayBuffer::New(info.Env(), LogTable::instance().rows(),
                                size_t{LogTable::kRows} * LogTable::kRowWords * sizeof(int64_t),
                                [](Napi::Env, void*) {});
}

/// heldFrameBytes(): bytes received into frames that are still held, in the process.
Napi::Value HeldFrameBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(FramePool::instance().received_bytes()));
}

// --- Shards

/// createShard(transport): a shard that reports to this transport's events.
Napi::Value CreateShard(const Napi::CallbackInfo& info) {
  BrokerTransport* broker = transport_of(info);
  if (broker == nullptr) return Napi::Number::New(info.Env(), -EBADF);
  const int index = ShardTable::instance().add(broker->events);
  broker->shards.push_back(ShardTable::instance().find(index));
  return Napi::Number::New(info.Env(), index);
}

/// attachShard(shard, direct, rows, callback): this environment owns the shard from now on. With
/// `direct` the transport's turn drains it; otherwise this thread's loop does.
Napi::Value AttachShard(const Napi::CallbackInfo& info) {
  AddonData& data = data_of(info);
  const int index = static_cast<int>(integer(info[0]));
  const std::shared_ptr<Shard> shard = ShardTable::instance().find(index);
  if (!shard || shard->attached()) return Napi::Boolean::New(info.Env(), false);
  auto owned = std::make_shared<OwnedShard>();
  OwnedShard* raw = owned.get();
  owned->shard = shard;
  owned->delivery = std::make_unique<Delivery>(info.Env(), info[2].As<Napi::Float64Array>(),
                                               info[3].As<Napi::Function>());
  owned->events = EventQueue::open(data.loop, [raw] {
    raw->events->take(raw->taken);
    raw->delivery->deliver(raw->taken);
  });
  shard->attach(info[1].As<Napi::Boolean>().Value() ? nullptr : data.loop, owned->events);
  data.shards.emplace(index, std::move(owned));
  return Napi::Boolean::New(info.Env(), true);
}

void detach_shard(AddonData* data, int index) {
  const auto found = data->shards.find(index);
  if (found == data->shards.end()) return;
  const std::shared_ptr<OwnedShard> owned = found->second;
  data->shards.erase(found);
  ++data->closing;
  auto left = std::make_shared<int>(2);
  auto part_closed = [data, owned, left] {
    if (--*left > 0) return;
    --data->closing;
    finish_cleanup(data);
  };
  owned->shard->detach(part_closed);
  owned->events->close(part_closed);
}

/// detachShard(shard): the owner leaves; what is queued is refused with a retriable error.
Napi::Value DetachShard(const Napi::CallbackInfo& info) {
  detach_shard(&data_of(info), static_cast<int>(integer(info[0])));
  return info.Env().Undefined();
}

/// removeShard(shard): forgets a detached shard.
Napi::Value RemoveShard(const Napi::CallbackInfo& info) {
  const int index = static_cast<int>(integer(info[0]));
  for (auto& [id, broker] : data_of(info).transports) {
    std::erase_if(broker->shards, [index](const auto& shard) { return shard->index() == index; });
  }
  ShardTable::instance().remove(index);
  return info.Env().Undefined();
}

/// drainShard(shard): works off what is queued, before a control task that must come after it.
Napi::Value DrainShard(const Napi::CallbackInfo& info) {
  const auto& shards = data_of(info).shards;
  const auto found = shards.find(static_cast<int>(integer(info[0])));
  if (found != shards.end()) found->second->shard->drain();
  return info.Env().Undefined();
}

/// postToLog(log, kind, value, epoch): a record behind what is queued (main thread). Kinds: 1
/// leadership (value: followers), 2 high watermark, 3 fail parked (value: error code), 5 follow, 6
/// expire parked (value: the wall clock, ms), 7 in sync (value: replicas in sync, epoch: how many
/// acks=-1 asks for).
Napi::Value PostToLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
  if (!log) return Napi::Boolean::New(info.Env(), false);
  ShardRecord record;
  record.log = log;
  record.kind = static_cast<ShardRecord::Kind>(integer(info[1]));
  record.value = integer(info[2]);
  record.epoch = static_cast<int32_t>(integer(info[3]));
  std::vector<ShardRecord> records;
  records.push_back(std::move(record));
  const std::shared_ptr<Shard> shard = log->shard;
  shard->post(records);
  shard->signal();
  return Napi::Boolean::New(info.Env(), true);
}

/// slowSliceBytes(log): a copy of the records in the slow lane of this log.
Napi::Value SlowSliceBytes(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
  if (!log || !log->held) return info.Env().Null();
  const Slice& slice = log->slow;
  return Napi::Buffer<uint8_t>::Copy(info.Env(), slice.request->frame().data() + slice.position,
                                     slice.length);
}

/// slowSliceVersion(log): api version of the Produce request of the slice in the slow lane.
Napi::Value SlowSliceVersion(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
  if (!log || !log->held) return Napi::Number::New(info.Env(), -1);
  const uint8_t* frame = log->slow.request->frame().data();
  return Napi::Number::New(info.Env(), frame[2] << 8 | frame[3]);
}

/// slowSliceNow(log): the wall clock that main gave the slice, ms.
Napi::Value SlowSliceNow(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
  return Napi::Number::New(info.Env(),
                           log && log->held ? static_cast<double>(log->slow.now_ms) : -1);
}

/// finishSlow(log, error, recordIndex, bytes or null): null appends the original bytes.
Napi::Value FinishSlow(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log =
      LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
  if (!log || !log->held) return Napi::Boolean::New(info.Env(), false);
  std::span<uint8_t> bytes;
  if (info[3].IsTypedArray()) {
    bytes = bytes_of(info[3]);
  } else {
    bytes = {log->slow.request->frame().data() + log->slow.position, log->slow.length};
  }
  log->shard->finish_slow(*log, static_cast<int16_t>(integer(info[1])),
                          static_cast<int32_t>(integer(info[2])), bytes);
  return Napi::Boolean::New(info.Env(), true);
}

// --- Checksums and locks

/// crc32c(bytes, seed): the CRC as an unsigned number.
Napi::Value Crc32c(const Napi::CallbackInfo& info) {
  const uint32_t seed = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), crc32c(seed, bytes_of(info[0])));
}

/// crc32cImplementation(): which form the CPU got.
Napi::Value Crc32cImplementation(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), crc32c_implementation());
}

/// lockDirectory(path of the lock file): a descriptor that holds the lock, or -errno (-EAGAIN when
/// another holder has it).
Napi::Value LockDirectory(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), lock_directory(info[0].As<Napi::String>().Utf8Value()));
}

/// unlockDirectory(descriptor)
Napi::Value UnlockDirectory(const Napi::CallbackInfo& info) {
  unlock_directory(static_cast<int>(integer(info[0])));
  return info.Env().Undefined();
}

// --- The end of an environment

void finish_cleanup(AddonData* data) {
  if (!data->cleaning || data->closing > 0 || data->hook == nullptr) return;
  napi_async_cleanup_hook_handle hook = data->hook;
  data->hook = nullptr;
  napi_remove_async_cleanup_hook(hook);
}

/// Without this a worker that ends with open handles aborts the whole process.
void clean_up(napi_async_cleanup_hook_handle, void* argument) {
  auto* data = static_cast<AddonData*>(argument);
  data->cleaning = true;
  ++data->closing;
  while (!data->shards.empty()) detach_shard(data, data->shards.begin()->first);
  while (!data->transports.empty()) close_transport(data, data->transports.begin()->first, [] {});
  --data->closing;
  finish_cleanup(data);
}


// --- Logs (on the thread that owns their shard)

LogConfig config_of(const Napi::Object& options) {
  LogConfig config;
  config.segment_bytes = option(options, "segmentBytes");
  config.segment_ms = option(options, "segmentMs");
  config.segment_jitter_ms = option(options, "segmentJitterMs");
  config.segment_index_bytes = option(options, "segmentIndexBytes");
  config.index_interval_bytes = option(options, "indexIntervalBytes");
  config.message_max_bytes = option(options, "messageMaxBytes");
  config.log_append_time = options.Get("logAppendTime").ToBoolean();
  config.timestamp_before_max_ms = option(options, "timestampBeforeMaxMs");
  config.timestamp_after_max_ms = option(options, "timestampAfterMaxMs");
  // Numbers of JavaScript end at 2^53: what is at that end means no limit.
  constexpr int64_t kUnlimited = (int64_t{1} << 53) - 1;
  if (config.timestamp_before_max_ms >= kUnlimited) config.timestamp_before_max_ms = INT64_MAX;
  if (config.timestamp_after_max_ms >= kUnlimited) config.timestamp_after_max_ms = INT64_MAX;
  config.compression = static_cast<int>(option(options, "compression"));
  config.retention_ms = option(options, "retentionMs");
  config.retention_bytes = option(options, "retentionBytes");
  config.compacted = options.Get("compacted").ToBoolean();
  config.deletes = options.Get("deletes").ToBoolean();
  config.producer_expiration_ms = option(options, "producerExpirationMs");
  return config;
}

std::shared_ptr<ShardLog> log_of(const Napi::CallbackInfo& info) {
  return LogTable::instance().find(static_cast<uint64_t>(number(info[0])));
}

/// openLog(shard, options): { error, what, handle, row, bytesTruncated, reason, segmentsScanned }.
Napi::Value OpenLog(const Napi::CallbackInfo& info) {
  const auto& shards = data_of(info).shards;
  const auto found = shards.find(static_cast<int>(integer(info[0])));
  const auto options = info[1].As<Napi::Object>();
  Napi::Object result = Napi::Object::New(info.Env());
  const auto fail = [&](int error, const std::string& what) {
    result.Set("error", error);
    result.Set("what", what);
    return result;
  };
  if (found == shards.end()) return fail(EBADF, "shard");
  const uint32_t row = LogTable::instance().reserve_row();
  if (row == UINT32_MAX) return fail(EMFILE, "too many partitions");
  LogOpenOptions open;
  open.directory = options.Get("directory").ToString().Utf8Value();
  open.config = config_of(options);
  open.row = LogTable::instance().rows() + size_t{row} * LogTable::kRowWords;
  open.clean_shutdown = options.Get("cleanShutdown").ToBoolean();
  open.recovery_point = option(options, "recoveryPoint");
  open.log_start = option(options, "logStart");
  open.high_watermark = option(options, "highWatermark");
  open.now_ms = option(options, "nowMs");
  PartitionLog::OpenResult opened = PartitionLog::open(open);
  result.Set("bytesTruncated", static_cast<double>(opened.report.bytes_truncated));
  result.Set("reason", opened.report.reason);
  result.Set("segmentsScanned", opened.report.segments_scanned);
  if (opened.error != 0) {
    LogTable::instance().give_back_row(row);
    return fail(opened.error, opened.what);
  }
  auto log = std::make_shared<ShardLog>();
  log->shard = found->second->shard;
  log->row = row;
  log->log = std::move(opened.log);
  log->log->set_leadership(static_cast<int32_t>(option(options, "leaderEpoch")),
                           static_cast<int32_t>(option(options, "followers")));
  const uint64_t handle = LogTable::instance().add(log);
  found->second->shard->add_log(log);
  result.Set("handle", static_cast<double>(handle));
  result.Set("row", row);
  return fail(0, "");
}

/// closeLog(log, clean): 0 or an errno. Its queued slices are refused; its row is free again.
Napi::Value CloseLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Number::New(info.Env(), 0);
  log->shard->drain();
  const int error = log->log->close(info[1].As<Napi::Boolean>().Value());
  log->shard->remove_log(log);
  log->row_is_free = true;
  return Napi::Number::New(info.Env(), error);
}

/// configureLog(log, options)
Napi::Value ConfigureLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Boolean::New(info.Env(), false);
  log->shard->drain();
  log->log->set_config(config_of(info[1].As<Napi::Object>()));
  return Napi::Boolean::New(info.Env(), true);
}

/// deleteOldSegments(log, nowMs): [errno, segments, bytes].
Napi::Value DeleteOldSegments(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  PartitionLog::DeleteResult deleted;
  if (log) {
    log->log->expire_producers(integer(info[1]));
    deleted = log->log->delete_old_segments(integer(info[1]));
  }
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  result.Set(0u, deleted.error);
  result.Set(1u, deleted.segments);
  result.Set(2u, static_cast<double>(deleted.bytes));
  return result;
}

/// deleteRecords(log, offset): a protocol error code.
Napi::Value DeleteRecords(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Number::New(info.Env(), 6);
  return Napi::Number::New(info.Env(), log->shard->delete_records(*log, integer(info[1])));
}

/// truncateLog(log, offset, fully, leaderEpoch): cuts a log that does not lead, or empties it to
/// begin at the offset. 0 or an errno: EPERM (1) for one that leads, ESTALE (116) for one that does
/// not follow that epoch (-1: any), EBUSY (16) while the slow lane holds it.
Napi::Value TruncateLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Number::New(info.Env(), EBADF);
  const bool fully = info[2].As<Napi::Boolean>().Value();
  const auto leader_epoch = static_cast<int32_t>(integer(info[3]));
  return Napi::Number::New(info.Env(),
                           log->shard->truncate(*log, integer(info[1]), fully, leader_epoch));
}

/// logRecoveryPoint(log)
Napi::Value LogRecoveryPoint(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  return Napi::Number::New(info.Env(),
                           log ? static_cast<double>(log->log->recovery_point()) : -1);
}

/// offsetForTimestamp(log, timestamp, limitOffset): [errno, found, offset, timestamp, leader epoch,
/// batch or null]; a timestamp of -3 asks for the record with the largest one.
Napi::Value OffsetForTimestamp(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  TimestampResult found;
  if (log) {
    const int64_t timestamp = integer(info[1]);
    found = timestamp == -3 ? log->log->max_timestamp()
                            : log->log->offset_for_timestamp(timestamp, integer(info[2]));
  } else {
    found.error = EBADF;
  }
  Napi::Array result = Napi::Array::New(info.Env(), 6);
  result.Set(0u, found.error);
  result.Set(1u, found.found);
  result.Set(2u, static_cast<double>(found.offset));
  result.Set(3u, static_cast<double>(found.timestamp));
  result.Set(4u, found.leader_epoch);
  if (found.compressed) {
    result.Set(5u, Napi::Buffer<uint8_t>::Copy(info.Env(), found.batch.data(), found.batch.size()));
  } else {
    result.Set(5u, info.Env().Null());
  }
  return result;
}

/// epochEndOffset(log, epoch): [epoch, end offset]. Any thread.
Napi::Value EpochEndOffset(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  LeaderEpochCache::EndOffset end;
  if (log) end = log->log->epoch_end(static_cast<int32_t>(integer(info[1])));
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, end.epoch);
  result.Set(1u, static_cast<double>(end.offset));
  return result;
}

/// epochOfOffset(log, offset): leader epoch, or -1.
Napi::Value EpochOfOffset(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  return Napi::Number::New(info.Env(),
                           log ? log->log->leader_epochs().epoch_of(integer(info[1])) : -1);
}

/// flushLog(log, callback): fdatasync off this thread, then callback(errno).
struct FlushWork {
  uv_work_t work;
  std::shared_ptr<ShardLog> log;
  PartitionLog::FlushJob job;
  int error = 0;
  Napi::FunctionReference callback;
  AddonData* data;
};

Napi::Value FlushLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Boolean::New(info.Env(), false);
  AddonData* data = &data_of(info);
  auto* flush = new FlushWork{{}, log, log->log->begin_flush(), 0,
                              Napi::Persistent(info[1].As<Napi::Function>()), data};
  flush->work.data = flush;
  ++data->closing;
  uv_queue_work(
      data->loop, &flush->work,
      [](uv_work_t* work) {
        auto* self = static_cast<FlushWork*>(work->data);
        self->error = PartitionLog::run_flush(self->job);
      },
      [](uv_work_t* work, int) {
        auto* self = static_cast<FlushWork*>(work->data);
        AddonData* owner = self->data;
        self->log->log->finish_flush(self->job, self->error);
        if (!owner->cleaning) {
          Napi::Env env = self->callback.Env();
          Napi::HandleScope scope(env);
          self->callback.MakeCallback(env.Global(), {Napi::Number::New(env, self->error)});
        }
        delete self;
        --owner->closing;
        finish_cleanup(owner);
      });
  return Napi::Boolean::New(info.Env(), true);
}

/// readLog(log, offset, maxBytes, limitOffset, callback): reads whole batches from `offset` on (at
/// least one, below `limitOffset`) off this thread, then callback(error, bytes): a protocol error
/// code, and the bytes or null. False when the log is gone.
struct ReadWork {
  uv_work_t work;
  std::shared_ptr<ShardLog> log;
  int64_t offset;
  int64_t max_bytes;
  int64_t limit_offset;
  int16_t error = 0;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  Napi::FunctionReference callback;
  AddonData* data;

  void run() {
    constexpr int16_t kStorageError = 56;
    const LocateResult located = log->log->locate(offset, max_bytes, limit_offset, true);
    error = located.error;
    if (error != 0 || located.length == 0) return;
    bytes = static_cast<uint8_t*>(std::malloc(static_cast<size_t>(located.length)));
    if (bytes == nullptr) {
      error = kStorageError;
      return;
    }
    while (size < static_cast<size_t>(located.length)) {
      const ssize_t n = ::pread(located.file->fd(), bytes + size,
                                static_cast<size_t>(located.length) - size,
                                located.position + static_cast<int64_t>(size));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        error = kStorageError;
        return;
      }
      size += static_cast<size_t>(n);
    }
  }
};

Napi::Value ReadLog(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Boolean::New(info.Env(), false);
  AddonData* data = &data_of(info);
  auto* read = new ReadWork{{}, log, integer(info[1]), integer(info[2]), integer(info[3]), 0, nullptr,
                            0, Napi::Persistent(info[4].As<Napi::Function>()), data};
  read->work.data = read;
  ++data->closing;
  uv_queue_work(
      data->loop, &read->work, [](uv_work_t* work) { static_cast<ReadWork*>(work->data)->run(); },
      [](uv_work_t* work, int) {
        auto* self = static_cast<ReadWork*>(work->data);
        AddonData* owner = self->data;
        if (owner->cleaning || self->error != 0) {
          std::free(self->bytes);
          self->bytes = nullptr;
        }
        if (!owner->cleaning) {
          Napi::Env env = self->callback.Env();
          Napi::HandleScope scope(env);
          Napi::Value bytes = env.Null();
          if (self->bytes != nullptr) {
            bytes = Napi::Buffer<uint8_t>::New(env, self->bytes, self->size,
                                               [](Napi::Env, uint8_t* memory) { std::free(memory); });
          }
          self->callback.MakeCallback(env.Global(), {Napi::Number::New(env, self->error), bytes});
        }
        delete self;
        --owner->closing;
        finish_cleanup(owner);
      });
  return Napi::Boolean::New(info.Env(), true);
}

// --- Cleaning

/// cleaningState(log, times): [errno, truncations, rows of 4 per segment: base offset, bytes,
/// largest timestamp, first timestamp], or null when the log is gone.
Napi::Value LogCleaningState(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return info.Env().Null();
  const CleaningState state = log->log->cleaning_state(info[1].As<Napi::Boolean>().Value());
  auto rows = Napi::Float64Array::New(info.Env(), state.segments.size() * 4);
  double* row = rows.Data();
  for (const CleaningState::Segment& segment : state.segments) {
    *row++ = static_cast<double>(segment.base_offset);
    *row++ = static_cast<double>(segment.size);
    *row++ = static_cast<double>(segment.largest_timestamp);
    *row++ = static_cast<double>(segment.first_timestamp);
  }
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  result.Set(0u, state.error);
  result.Set(1u, static_cast<double>(state.truncations));
  result.Set(2u, rows);
  return result;
}

/// lastBatchesOfProducers(log): rows of 3: producer id, offset of its last record (-1: none), epoch.
Napi::Value LastBatchesOfProducers(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Float64Array::New(info.Env(), 0);
  const auto& producers = log->log->producers().producers();
  auto rows = Napi::Float64Array::New(info.Env(), producers.size() * 3);
  double* row = rows.Data();
  for (const auto& [id, entry] : producers) {
    *row++ = static_cast<double>(id);
    *row++ = entry.count > 0 ? static_cast<double>(entry.batches[entry.count - 1].last_offset) : -1;
    *row++ = entry.epoch;
  }
  return rows;
}

/// replaceSegments(log, base offsets, truncations, callback): 0 and, when what was replaced is gone,
/// callback(errno); or at once an errno, or -1 when the log is gone.
struct DiscardWork {
  uv_work_t work;
  ReplacedSegments replaced;
  int error = 0;
  Napi::FunctionReference callback;
  AddonData* data;
};

Napi::Value ReplaceSegments(const Napi::CallbackInfo& info) {
  const std::shared_ptr<ShardLog> log = log_of(info);
  if (!log) return Napi::Number::New(info.Env(), kGone);
  auto rows = info[1].As<Napi::Float64Array>();
  std::vector<int64_t> bases;
  for (size_t i = 0; i < rows.ElementLength(); ++i) bases.push_back(static_cast<int64_t>(rows[i]));
  ReplacedSegments replaced;
  const int error =
      log->log->replace_segments(bases, static_cast<uint64_t>(integer(info[2])), &replaced);
  if (error != 0) return Napi::Number::New(info.Env(), error);
  AddonData* data = &data_of(info);
  auto* discard = new DiscardWork{
      {}, std::move(replaced), 0, Napi::Persistent(info[3].As<Napi::Function>()), data};
  discard->work.data = discard;
  ++data->closing;
  uv_queue_work(
      data->loop, &discard->work,
      [](uv_work_t* work) {
        auto* self = static_cast<DiscardWork*>(work->data);
        self->error = PartitionLog::discard(self->replaced);
        // The last reference frees the blocks, which takes a while.
        self->replaced.files.clear();
      },
      [](uv_work_t* work, int) {
        auto* self = static_cast<DiscardWork*>(work->data);
        AddonData* owner = self->data;
        if (!owner->cleaning) {
          Napi::Env env = self->callback.Env();
          Napi::HandleScope scope(env);
          self->callback.MakeCallback(env.Global(), {Napi::Number::New(env, self->error)});
        }
        delete self;
        --owner->closing;
        finish_cleanup(owner);
      });
  return Napi::Number::New(info.Env(), 0);
}

/// createOffsetMap(bytesMax, loadFactor, secret of 16 bytes): a map of keys to offsets.
Napi::Value CreateOffsetMap(const Napi::CallbackInfo& info) {
  std::array<uint64_t, 2> secret{};
  const std::span<uint8_t> bytes = bytes_of(info[2]);
  std::memcpy(secret.data(), bytes.data(), std::min(bytes.size(), sizeof secret));
  auto* map = new OffsetMap(static_cast<size_t>(integer(info[0])), number(info[1]), secret);
  return Napi::External<OffsetMap>::New(info.Env(), map,
                                        [](Napi::Env, OffsetMap* gone) { delete gone; });
}

OffsetMap& map_of(const Napi::CallbackInfo& info) {
  return *info[0].As<Napi::External<OffsetMap>>().Data();
}

/// clearOffsetMap(map): forgets the keys and gives the memory back.
Napi::Value ClearOffsetMap(const Napi::CallbackInfo& info) {
  map_of(info).clear();
  data_of(info).filtered = {};
  return info.Env().Undefined();
}

/// offsetMapSize(map): [keys, bytes].
Napi::Value OffsetMapSize(const Napi::CallbackInfo& info) {
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, static_cast<double>(map_of(info).size()));
  result.Set(1u, static_cast<double>(map_of(info).bytes()));
  return result;
}

/// putOffset(map, key, offset): false when the map is full.
Napi::Value PutOffset(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), map_of(info).put(bytes_of(info[1]), integer(info[2])));
}

/// getOffset(map, key): -1 for a key that was never put.
Napi::Value GetOffset(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(map_of(info).get(bytes_of(info[1]))));
}

/// indexRecords(map, batch, records or null, first offset, state): notes the keys of a batch, whose
/// records are in `batch` or decompressed in `records`. 0, 1 when the map is full, -1 when they are
/// malformed; state[0]: the last offset noted, -1 for none.
Napi::Value IndexRecords(const Napi::CallbackInfo& info) {
  const std::span<const uint8_t> batch = bytes_of(info[1]);
  if (batch.size() < static_cast<size_t>(kBatchHeaderBytes)) {
    return Napi::Number::New(info.Env(), -1);
  }
  const BatchHeader header = read_batch_header(batch.data());
  const std::span<const uint8_t> records = info[2].IsTypedArray()
                                               ? std::span<const uint8_t>(bytes_of(info[2]))
                                               : batch.subspan(kBatchHeaderBytes);
  const IndexResult result = index_records(header, records, integer(info[3]), &map_of(info));
  info[4].As<Napi::Float64Array>().Data()[0] = static_cast<double>(result.last_offset);
  const int code = result.kind == IndexResult::Kind::kOk     ? 0
                   : result.kind == IndexResult::Kind::kFull ? 1
                                                             : -1;
  return Napi::Number::New(info.Env(), code);
}

/// filterRecords(map, batch, records or null, latest offset, flags, delete horizon, state): decides
/// about the records of a batch. The new batch, not compressed, or null when the original stands or
/// nothing is left; state: [malformed, records kept, records without a key]. Flags: 1 drop all, 2
/// keep all, 4 keep tombstones, 8 wants a horizon.
Napi::Value FilterRecords(const Napi::CallbackInfo& info) {
  const std::span<const uint8_t> batch = bytes_of(info[1]);
  double* state = info[6].As<Napi::Float64Array>().Data();
  if (batch.size() < static_cast<size_t>(kBatchHeaderBytes)) {
    state[0] = 1;
    return info.Env().Null();
  }
  const int64_t flags = integer(info[4]);
  const FilterRules rules{.latest_offset = integer(info[3]),
                          .drop_all = (flags & 1) != 0,
                          .keep_all = (flags & 2) != 0,
                          .keep_tombstones = (flags & 4) != 0,
                          .wants_horizon = (flags & 8) != 0,
                          .delete_horizon_ms = integer(info[5])};
  const BatchHeader header = read_batch_header(batch.data());
  const std::span<const uint8_t> records = info[2].IsTypedArray()
                                               ? std::span<const uint8_t>(bytes_of(info[2]))
                                               : batch.subspan(kBatchHeaderBytes);
  std::vector<uint8_t>& changed = data_of(info).filtered;
  const FilterResult result =
      filter_records(header, batch, records, rules, map_of(info), &changed);
  state[0] = result.malformed ? 1 : 0;
  state[1] = result.kept;
  state[2] = result.without_key;
  if (!result.changed) return info.Env().Null();
  return Napi::Buffer<uint8_t>::Copy(info.Env(), changed.data(), changed.size());
}

template <typename Add>
void add_cleaning_functions(const Add& add) {
  add("cleaningState", LogCleaningState);
  add("lastBatchesOfProducers", LastBatchesOfProducers);
  add("replaceSegments", ReplaceSegments);
  add("createOffsetMap", CreateOffsetMap);
  add("clearOffsetMap", ClearOffsetMap);
  add("offsetMapSize", OffsetMapSize);
  add("putOffset", PutOffset);
  add("getOffset", GetOffset);
  add("indexRecords", IndexRecords);
  add("filterRecords", FilterRecords);
}

template <typename Add>
void add_log_functions(const Add& add) {
  add("openLog", OpenLog);
  add("closeLog", CloseLog);
  add("configureLog", ConfigureLog);
  add("deleteOldSegments", DeleteOldSegments);
  add("deleteRecords", DeleteRecords);
  add("truncateLog", TruncateLog);
  add("logRecoveryPoint", LogRecoveryPoint);
  add("offsetForTimestamp", OffsetForTimestamp);
  add("epochEndOffset", EpochEndOffset);
  add("epochOfOffset", EpochOfOffset);
  add("flushLog", FlushLog);
  add("readLog", ReadLog);
}

void keep_data(Napi::Env, AddonData*) {}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  napi_get_uv_event_loop(env, &data->loop);
  // The hook may outlive the environment's own finalizers: the data is freed with the process.
  env.SetInstanceData<AddonData, keep_data>(data);
  napi_add_async_cleanup_hook(env, clean_up, data, &data->hook);

  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("crc32c", Crc32c);
  add("crc32cImplementation", Crc32cImplementation);
  add("lockDirectory", LockDirectory);
  add("unlockDirectory", UnlockDirectory);
  add("openTransport", OpenTransport);
  add("closeTransport", CloseTransport);
  add("listen", Listen);
  add("stopTransport", StopTransport);
  add("connectionCount", ConnectionCount);
  add("closeConnection", CloseConnection);
  add("peerAddress", PeerAddress);
  add("attach", Attach);
  add("feed", Feed);
  add("wantsPause", WantsPause);
  add("pull", Pull);
  add("readFrame", ReadFrame);
  add("readProduceHead", ReadProduceHead);
  add("releaseFrame", ReleaseFrame);
  add("respond", Respond);
  add("respondRegions", RespondRegions);
  add("produce", Produce);
  add("requestHead", RequestHead);
  add("requestResults", RequestResults);
  add("connect", Connect);
  add("send", Send);
  add("readFetchHead", ReadFetchHead);
  add("dropFrame", DropFrame);
  add("appendFetched", AppendFetched);
  add("openInternal", OpenInternal);
  add("appendInternal", AppendInternal);
  add("takeResults", TakeResults);
  add("locate", Locate);
  add("readStaged", ReadStaged);
  add("clearStaged", ClearStaged);
  add("publishedRows", PublishedRows);
  add("heldFrameBytes", HeldFrameBytes);
  add("createShard", CreateShard);
  add("attachShard", AttachShard);
  add("detachShard", DetachShard);
  add("removeShard", RemoveShard);
  add("drainShard", DrainShard);
  add("postToLog", PostToLog);
  add("slowSliceBytes", SlowSliceBytes);
  add("slowSliceVersion", SlowSliceVersion);
  add("slowSliceNow", SlowSliceNow);
  add("finishSlow", FinishSlow);
  add_log_functions(add);
  add_cleaning_functions(add);
  return exports;
}

}  // namespace
}  // namespace shardlog

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  return shardlog::Init(env, exports);
}

NODE_API_MODULE(shardlog, InitAddon)
