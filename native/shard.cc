#include "shard.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>

#include "transport.h"

namespace shardlog {
namespace {

constexpr int16_t kNotLeaderOrFollower = 6;
constexpr int16_t kRequestTimedOut = 7;
constexpr int16_t kNotEnoughReplicas = 19;
constexpr int16_t kNotEnoughReplicasAfterAppend = 20;
constexpr int16_t kDuplicateSequenceNumber = 46;
constexpr int16_t kFencedLeaderEpoch = 74;
constexpr int16_t kStorageError = 56;

/// What a leader answers once the batch is committed.
SliceResult result_of(const StageResult& staged) {
  SliceResult result;
  // Producers take it as stored, at an offset that they are not told.
  if (staged.duplicate && staged.base_offset < 0) result.error = kDuplicateSequenceNumber;
  result.base_offset = staged.base_offset;
  result.append_time = staged.append_time_ms;
  result.log_start = staged.log_start;
  return result;
}

}  // namespace

// --- LogTable

LogTable& LogTable::instance() {
  static LogTable* table = new LogTable();  // Threads may outlive static destruction.
  return *table;
}

LogTable::LogTable() {
  // Reserved, not resident: a row costs memory once a log uses it.
  void* memory = ::mmap(nullptr, size_t{kRows} * kRowWords * sizeof(int64_t),
                        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  rows_ = memory == MAP_FAILED ? nullptr : static_cast<int64_t*>(memory);
}

int64_t* LogTable::rows() { return rows_; }

uint32_t LogTable::reserve_row() {
  std::lock_guard lock(mutex_);
  if (!free_rows_.empty()) {
    const uint32_t row = free_rows_.back();
    free_rows_.pop_back();
    return row;
  }
  if (rows_ == nullptr || logs_.size() == kRows) return UINT32_MAX;
  logs_.emplace_back();
  generations_.push_back(1);
  return static_cast<uint32_t>(logs_.size() - 1);
}

void LogTable::give_back_row(uint32_t row) {
  std::lock_guard lock(mutex_);
  std::fill_n(rows_ + size_t{row} * kRowWords, kRowWords, 0);
  free_rows_.push_back(row);
}

uint64_t LogTable::add(std::shared_ptr<ShardLog> log) {
  std::lock_guard lock(mutex_);
  const uint32_t row = log->row;
  log->handle = row + (uint64_t{generations_[row]} << 20);
  logs_[row] = std::move(log);
  return logs_[row]->handle;
}

std::shared_ptr<ShardLog> LogTable::find(uint64_t handle) const {
  const auto row = static_cast<uint32_t>(handle & ((1u << 20) - 1));
  std::lock_guard lock(mutex_);
  if (row >= logs_.size() || generations_[row] != handle >> 20) return nullptr;
  return logs_[row];
}

void LogTable::remove(uint64_t handle) {
  const auto row = static_cast<uint32_t>(handle & ((1u << 20) - 1));
  std::shared_ptr<ShardLog> removed;
  std::lock_guard lock(mutex_);
  if (row >= logs_.size() || generations_[row] != handle >> 20 || !logs_[row]) return;
  removed = std::move(logs_[row]);
  logs_[row] = nullptr;
  generations_[row] += 1;
}

ShardLog::~ShardLog() {
  if (row_is_free.load()) LogTable::instance().give_back_row(row);
}

// --- Shard, main thread

bool Shard::has_room(size_t records, int64_t bytes) {
  std::lock_guard lock(mutex_);
  const bool room = queue_.empty() || (queue_.size() + records <= kQueueRecordsMax &&
                                       queue_bytes_ + bytes <= kQueueBytesMax);
  if (!room) sender_waits_ = true;
  return room;
}

void Shard::post(std::vector<ShardRecord>& records) {
  {
    std::lock_guard lock(mutex_);
    if (attached_.load(std::memory_order_relaxed)) {
      for (ShardRecord& record : records) {
        queue_bytes_ += record.slice.length;
        queue_.push_back(std::move(record));
      }
      records.clear();
      return;
    }
  }
  // Nobody owns the logs now: a retriable answer, the client comes back.
  for (ShardRecord& record : records) {
    if (record.kind == ShardRecord::Kind::kSlice) fail_unposted(record.slice, *main_);
  }
  records.clear();
}

void Shard::signal() {
  if (direct_) {
    // The turn that drains it comes by itself only when sockets have something.
    std::unique_lock lock(mutex_);
    const bool waits = !queue_.empty();
    lock.unlock();
    if (waits) main_->wake();
    return;
  }
  std::lock_guard lock(mutex_);
  if (queue_.empty() || signalled_ || async_ == nullptr) return;
  signalled_ = true;
  uv_async_send(async_);
}

// --- Shard, owner thread

void Shard::attach(uv_loop_t* loop, std::shared_ptr<EventQueue> owner_events) {
  std::lock_guard lock(mutex_);
  owner_events_ = std::move(owner_events);
  direct_ = loop == nullptr;
  if (loop != nullptr) {
    async_ = new uv_async_t();
    async_->data = this;
    uv_async_init(loop, async_, [](uv_async_t* handle) {
      static_cast<Shard*>(handle->data)->drain();
    });
  }
  attached_.store(true, std::memory_order_release);
}

void Shard::detach(std::function<void()> closed) {
  std::vector<ShardRecord> left;
  uv_async_t* async = nullptr;
  {
    std::lock_guard lock(mutex_);
    attached_.store(false, std::memory_order_release);
    left.swap(queue_);
    queue_bytes_ = 0;
    signalled_ = false;
    async = async_;
    async_ = nullptr;
  }
  for (ShardRecord& record : left) {
    if (record.kind == ShardRecord::Kind::kSlice) refuse(record.slice, kNotLeaderOrFollower, -1);
  }
  std::vector<std::shared_ptr<ShardLog>> logs;
  for (const auto& [handle, log] : logs_) logs.push_back(log);
  for (const auto& log : logs) remove_log(log);
  flush_connections();
  main_->wake();
  if (async == nullptr) {
    if (closed) closed();
    return;
  }
  async->data = new std::function<void()>(std::move(closed));
  uv_close(reinterpret_cast<uv_handle_t*>(async), [](uv_handle_t* handle) {
    auto* after = static_cast<std::function<void()>*>(handle->data);
    delete reinterpret_cast<uv_async_t*>(handle);
    if (*after) (*after)();
    delete after;
  });
}

void Shard::add_log(const std::shared_ptr<ShardLog>& log) { logs_.emplace(log->handle, log); }

void Shard::remove_log(const std::shared_ptr<ShardLog>& log) {
  LogTable::instance().remove(log->handle);
  logs_.erase(log->handle);
  // Here and not when the last reference goes: the next owner may have opened the same files by
  // then, and closing gives back what lies behind this log's end.
  static_cast<void>(log->log->close(false));
  fail_parked(*log, kNotLeaderOrFollower);
  if (log->held) {
    log->held = false;
    refuse(log->slow, kNotLeaderOrFollower, -1);
  }
  std::deque<ShardRecord> waiting;
  waiting.swap(log->waiting);
  for (ShardRecord& record : waiting) {
    if (record.kind == ShardRecord::Kind::kSlice) refuse(record.slice, kNotLeaderOrFollower, -1);
  }
  flush_connections();
}

int16_t Shard::delete_records(ShardLog& log, int64_t offset) {
  drain();
  const int16_t error = log.log->delete_records_to(offset);
  if (error == 0) publish_wake(log);
  return error;
}

int Shard::truncate(ShardLog& log, int64_t offset, bool fully, int32_t leader_epoch) {
  if (log.held || !log.waiting.empty()) return EBUSY;
  commit(log);
  if (log.log->leads()) return EPERM;
  if (leader_epoch >= 0 && leader_epoch != log.following_epoch) return ESTALE;
  const int error =
      fully ? log.log->truncate_fully_and_start_at(offset) : log.log->truncate_to(offset);
  publish_wake(log);
  return error;
}

bool Shard::drain() {
  bool waits = false;
  {
    std::lock_guard lock(mutex_);
    signalled_ = false;
    batch_.swap(queue_);
    queue_bytes_ = 0;
    waits = sender_waits_;
    sender_waits_ = false;
  }
  if (waits) main_->wake();
  if (batch_.empty()) return false;
  run(batch_);
  batch_.clear();
  return true;
}

void Shard::run(std::vector<ShardRecord>& batch) {
  for (ShardRecord& record : batch) run_one(record);
  for (size_t i = 0; i < touched_.size(); ++i) commit(*touched_[i]);
  touched_.clear();
  flush_connections();
}

void Shard::run_one(ShardRecord& record) {
  ShardLog& log = *record.log;
  if (!logs_.contains(log.handle)) {
    if (record.kind == ShardRecord::Kind::kSlice) refuse(record.slice, kNotLeaderOrFollower, -1);
    return;
  }
  if (log.held) {
    log.waiting.push_back(std::move(record));
    return;
  }
  switch (record.kind) {
    case ShardRecord::Kind::kSlice:
      stage(log, record.slice);
      break;
    case ShardRecord::Kind::kLeadership:
      commit(log);
      log.following_epoch = -1;
      log.in_sync = log.in_sync_min = 1;
      log.log->set_leadership(record.epoch, static_cast<int32_t>(record.value));
      if (record.epoch < 0) fail_parked(log, kNotLeaderOrFollower);
      publish_wake(log);
      advance_parked(log);
      break;
    case ShardRecord::Kind::kHighWatermark:
      commit(log);
      if (log.following_epoch >= 0) {
        if (record.epoch == log.following_epoch) log.log->follow_high_watermark(record.value);
      } else {
        log.log->set_high_watermark(record.value, record.epoch);
      }
      publish_wake(log);
      advance_parked(log);
      break;
    case ShardRecord::Kind::kFailParked:
      commit(log);
      fail_parked(log, static_cast<int16_t>(record.value));
      break;
    case ShardRecord::Kind::kFollow:
      commit(log);
      log.following_epoch = record.epoch;
      log.log->set_leadership(-1, 0);
      fail_parked(log, kNotLeaderOrFollower);
      publish_wake(log);
      break;
    case ShardRecord::Kind::kExpireParked:
      expire_parked(log, record.value);
      break;
    case ShardRecord::Kind::kInSync:
      commit(log);
      log.in_sync = static_cast<int32_t>(record.value);
      log.in_sync_min = record.epoch;
      break;
    case ShardRecord::Kind::kConfig:
      commit(log);
      log.log->set_config(*record.config);
      break;
  }
}

void Shard::stage(ShardLog& log, Slice slice) {
  const std::span<uint8_t> records{slice.request->frame().data() + slice.position, slice.length};
  if (slice.is_follower) {
    stage_as_follower(log, slice, records);
    return;
  }
  if (slice.request->acks == -1 && log.in_sync < log.in_sync_min) {
    refuse(slice, kNotEnoughReplicas, -1);
    return;
  }
  StageOptions options;
  options.leader_epoch = slice.leader_epoch;
  options.now_ms = slice.now_ms;
  const StageResult staged = log.log->stage(records, options);
  if (staged.needs_slow_lane) {
    // What was staged before it must not wait for it.
    commit(log);
    log.held = true;
    log.slow = slice;
    owner_events_->post(EventKind::kSlowSlice, static_cast<double>(log.handle));
    return;
  }
  if (staged.error != 0) {
    refuse(slice, staged.error, staged.record_index);
    return;
  }
  log.staged.push_back({slice, result_of(staged), staged.last_offset, staged.batches});
  if (!log.touched) {
    log.touched = true;
    touched_.push_back(&log);
  }
}

void Shard::stage_as_follower(ShardLog& log, Slice slice, std::span<uint8_t> records) {
  if (slice.leader_epoch != log.following_epoch) {
    refuse(slice, kFencedLeaderEpoch, -1);
    return;
  }
  const StageResult staged = log.log->stage_as_follower(records, slice.now_ms);
  if (staged.error != 0) {
    refuse(slice, staged.error, -1);
    return;
  }
  SliceResult result;
  if (staged.batches == 0) {
    slice.request->release_frame();
    finish_slice(slice, result);
    return;
  }
  result.base_offset = staged.last_offset + 1;
  log.staged.push_back({slice, result, staged.last_offset, staged.batches});
  if (!log.touched) {
    log.touched = true;
    touched_.push_back(&log);
  }
}

void Shard::commit(ShardLog& log) {
  log.touched = false;
  if (log.staged.empty()) return;
  const CommitResult committed = log.log->commit();
  if (committed.error != 0) main_->post(EventKind::kStorageError, log.row, committed.error);
  size_t batches = 0;
  for (ShardLog::Staged& staged : log.staged) {
    batches += staged.batches;
    if (batches <= committed.committed) {
      settle(log, staged);
    } else {
      refuse(staged.slice, kStorageError, -1);
    }
  }
  log.staged.clear();
  publish_wake(log);
}

void Shard::settle(ShardLog& log, ShardLog::Staged& staged) {
  Slice& slice = staged.slice;
  slice.request->release_frame();
  if (slice.is_follower) {
    log.log->follow_high_watermark(slice.high_watermark);
    finish_slice(slice, staged.result);
    return;
  }
  const int64_t watermark = std::atomic_ref(
      LogTable::instance().rows()[size_t{log.row} * LogTable::kRowWords + kHighWatermark]).load();
  if (slice.request->acks == -1 && watermark <= staged.last_offset) {
    log.parked.push_back(staged);
    return;
  }
  if (slice.request->acks == -1) confirm(log, &staged.result);
  finish_slice(slice, staged.result);
}

/// What is committed may have too few copies by now.
void Shard::confirm(const ShardLog& log, SliceResult* result) {
  if (log.in_sync >= log.in_sync_min) return;
  result->error = kNotEnoughReplicasAfterAppend;
  result->base_offset = -1;
}

void Shard::publish_wake(ShardLog& log) {
  auto waiters = std::atomic_ref(
      LogTable::instance().rows()[size_t{log.row} * LogTable::kRowWords + kWaiters]);
  if (waiters.load() != 0 && waiters.exchange(0) != 0) main_->post(EventKind::kAdvanced, log.row);
}

void Shard::advance_parked(ShardLog& log) {
  const int64_t watermark = std::atomic_ref(
      LogTable::instance().rows()[size_t{log.row} * LogTable::kRowWords + kHighWatermark]).load();
  while (!log.parked.empty() && log.parked.front().last_offset < watermark) {
    confirm(log, &log.parked.front().result);
    finish_slice(log.parked.front().slice, log.parked.front().result);
    log.parked.pop_front();
  }
}

void Shard::fail_parked(ShardLog& log, int16_t error) {
  std::deque<ShardLog::Staged> parked;
  parked.swap(log.parked);
  for (ShardLog::Staged& staged : parked) {
    staged.result.error = error;
    staged.result.base_offset = -1;
    finish_slice(staged.slice, staged.result);
  }
}

void Shard::expire_parked(ShardLog& log, int64_t now_ms) {
  std::deque<ShardLog::Staged> kept;
  for (ShardLog::Staged& staged : log.parked) {
    if (staged.slice.deadline_ms > now_ms) {
      kept.push_back(staged);
      continue;
    }
    staged.result.error = kRequestTimedOut;
    staged.result.base_offset = -1;
    finish_slice(staged.slice, staged.result);
  }
  log.parked.swap(kept);
}

void Shard::refuse(Slice& slice, int16_t error, int32_t record_index) {
  slice.request->release_frame();
  SliceResult result;
  result.error = error;
  result.record_index = record_index;
  finish_slice(slice, result);
}

bool Shard::record_result(Slice& slice, const SliceResult& result, EventQueue& main) {
  Request* request = slice.request;
  const int32_t ordinal = request->results[slice.index].ordinal;
  request->results[slice.index] = result;
  request->results[slice.index].ordinal = ordinal;
  if (result.error != 0) request->failed.store(true, std::memory_order_relaxed);
  if (request->slices_left.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  if (!request->internal && !request->failed.load(std::memory_order_relaxed)) {
    request->fill_holes();
    return true;
  }
  Connection* connection = request->connection();
  if (request->acks == 0) {
    connection->fail(CloseReason::kFailedAppend);
  } else {
    main.post(EventKind::kResult, static_cast<double>(connection->id()),
              static_cast<double>(request->sequence()), request->api_version());
  }
  return false;
}

void Shard::finish_slice(Slice& slice, const SliceResult& result) {
  Request* request = slice.request;
  if (record_result(slice, result, *main_)) {
    Connection* connection = request->connection();
    connection->complete(request);
    connection->ref();
    flush_.push_back(connection);
  }
  slice.request = nullptr;
  request->unref();
}

void Shard::fail_unposted(Slice& slice, EventQueue& main) {
  SliceResult result;
  result.error = kNotLeaderOrFollower;
  slice.request->release_frame();
  record_result(slice, result, main);
  slice.request->unref();
}

void Shard::flush_connections() {
  if (flush_.empty()) return;
  std::sort(flush_.begin(), flush_.end());
  Connection* last = nullptr;
  for (Connection* connection : flush_) {
    if (connection != last) connection->flush();
    last = connection;
  }
  for (Connection* connection : flush_) connection->unref();
  flush_.clear();
}

void Shard::finish_slow(ShardLog& log, int16_t error, int32_t record_index,
                        std::span<uint8_t> bytes) {
  if (!log.held) return;
  Slice slice = log.slow;
  log.slow = Slice{};
  log.held = false;
  if (error != 0) {
    refuse(slice, error, record_index);
  } else {
    StageOptions options;
    options.leader_epoch = slice.leader_epoch;
    options.now_ms = slice.now_ms;
    options.validated = true;
    const StageResult staged = log.log->stage(bytes, options);
    if (staged.error != 0) {
      refuse(slice, staged.error, staged.record_index);
    } else {
      log.staged.push_back({slice, result_of(staged), staged.last_offset, staged.batches});
      commit(log);  // `bytes` live only until this call returns.
    }
  }
  run_waiting(log);
  for (size_t i = 0; i < touched_.size(); ++i) commit(*touched_[i]);
  touched_.clear();
  flush_connections();
}

void Shard::run_waiting(ShardLog& log) {
  while (!log.held && !log.waiting.empty()) {
    ShardRecord record = std::move(log.waiting.front());
    log.waiting.pop_front();
    run_one(record);
  }
}

}  // namespace shardlog
