#include "event_queue.h"

namespace shardlog {
namespace {

struct AsyncData {
  std::shared_ptr<EventQueue> queue;
  std::function<void()> deliver;
  std::function<void()> closed;
};

}  // namespace

std::shared_ptr<EventQueue> EventQueue::open(uv_loop_t* loop, std::function<void()> deliver) {
  auto queue = std::make_shared<EventQueue>();
  queue->loop_thread_ = std::this_thread::get_id();
  queue->async_ = new uv_async_t();
  queue->async_->data = new AsyncData{queue, std::move(deliver), {}};
  uv_async_init(loop, queue->async_, [](uv_async_t* handle) {
    auto* data = static_cast<AsyncData*>(handle->data);
    data->deliver();
  });
  return queue;
}

void EventQueue::post(EventKind kind, double a, double b, double c, double d, double e) {
  std::lock_guard lock(mutex_);
  if (!open_) return;
  events_.push_back(Event{{static_cast<double>(kind), a, b, c, d, e}});
  signal_locked();
}

void EventQueue::wake() {
  std::lock_guard lock(mutex_);
  if (open_) signal_locked();
}

void EventQueue::signal_locked() {
  pending_.store(true, std::memory_order_release);
  if (signalled_) return;
  if (std::this_thread::get_id() == loop_thread_ && in_poll_) return;
  signalled_ = true;
  uv_async_send(async_);
}

void EventQueue::take(std::vector<Event>& out) {
  out.clear();
  std::lock_guard lock(mutex_);
  signalled_ = false;
  pending_.store(false, std::memory_order_release);
  out.swap(events_);
}

void EventQueue::close(std::function<void()> closed) {
  {
    std::lock_guard lock(mutex_);
    if (!open_) return;
    open_ = false;
    events_.clear();
  }
  static_cast<AsyncData*>(async_->data)->closed = std::move(closed);
  uv_close(reinterpret_cast<uv_handle_t*>(async_), [](uv_handle_t* handle) {
    auto* data = static_cast<AsyncData*>(handle->data);
    auto after = std::move(data->closed);
    delete data;
    delete reinterpret_cast<uv_async_t*>(handle);
    if (after) after();
  });
}

}  // namespace shardlog
