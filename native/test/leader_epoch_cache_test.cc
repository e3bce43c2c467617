// Leader epochs: what begins where, cut from both ends, Kafka's file, damaged files.
#include "../leader_epoch_cache.h"

#include <errno.h>

#include <fstream>
#include <sstream>

#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(leader_epochs_begin_once_and_in_order) {
  LeaderEpochCache cache("/nowhere/leader-epoch-checkpoint");
  CHECK(cache.latest() == -1 && cache.epoch_of(0) == -1);
  CHECK(!cache.assign(-1, 0));
  CHECK(cache.assign(0, 0));
  CHECK(!cache.assign(0, 10));
  CHECK(cache.assign(2, 10));
  CHECK(!cache.assign(1, 20));
  CHECK(cache.assign(5, 30));
  CHECK(cache.entries().size() == 3 && cache.latest() == 5);
  CHECK(cache.epoch_of(9) == 0 && cache.epoch_of(10) == 2 && cache.epoch_of(99) == 5);
  // An epoch in which nothing was written gives way to the next one.
  CHECK(cache.assign(7, 30));
  CHECK(cache.entries().size() == 3 && cache.entries().back().epoch == 7);
}

TEST(leader_epoch_ends_where_the_next_one_begins) {
  LeaderEpochCache cache("/nowhere/leader-epoch-checkpoint");
  CHECK(cache.end_offset(0, 5).epoch == -1);
  cache.assign(2, 10);
  cache.assign(4, 20);
  cache.assign(6, 30);
  const auto is = [&cache](int32_t asked, int32_t epoch, int64_t offset) {
    const auto end = cache.end_offset(asked, 40);
    return end.epoch == epoch && end.offset == offset;
  };
  CHECK(is(6, 6, 40));
  CHECK(is(4, 4, 30));
  CHECK(is(5, 4, 30));
  CHECK(is(2, 2, 20));
  CHECK(is(3, 2, 20));
  // Below all that is known: where the first known one begins.
  CHECK(is(0, 0, 10));
  CHECK(is(7, -1, -1));
  CHECK(is(-1, -1, -1));
}

TEST(leader_epochs_are_cut_from_both_ends) {
  const auto make = [] {
    LeaderEpochCache cache("/nowhere/leader-epoch-checkpoint");
    cache.assign(0, 0);
    cache.assign(1, 10);
    cache.assign(2, 20);
    return cache;
  };
  LeaderEpochCache end = make();
  CHECK(!end.truncate_from_end(21));
  CHECK(end.truncate_from_end(20) && end.latest() == 1);
  CHECK(end.truncate_from_end(0) && end.latest() == -1);
  LeaderEpochCache start = make();
  CHECK(!start.truncate_from_start(0));
  CHECK(start.truncate_from_start(5));
  CHECK(start.entries().front().epoch == 0 && start.entries().front().start_offset == 5);
  CHECK(start.truncate_from_start(10));
  CHECK(start.entries().front().epoch == 1 && start.entries().front().start_offset == 10);
  CHECK(start.truncate_from_start(100));
  CHECK(start.entries().size() == 1 && start.entries().front().epoch == 2 &&
        start.entries().front().start_offset == 100);
}

TEST(leader_epoch_file_is_kafkas) {
  test::TempDirectory folder;
  LeaderEpochCache cache(folder / "leader-epoch-checkpoint");
  CHECK(cache.load() == 0 && cache.entries().empty());
  cache.assign(0, 0);
  cache.assign(3, 4'000'000'000);
  CHECK(cache.save() == 0);
  CHECK(read_text(folder / "leader-epoch-checkpoint") == "0\n2\n0 0\n3 4000000000\n");
  LeaderEpochCache again(folder / "leader-epoch-checkpoint");
  CHECK(again.load() == 0 && again.entries().size() == 2);
  CHECK(again.latest() == 3 && again.epoch_of(4'000'000'000) == 3);
}

TEST(leader_epoch_file_that_is_none_is_refused_whole) {
  test::TempDirectory folder;
  for (const char* text : {"", "1\n0\n", "0\n-1\n", "0\n2\n0 0\n", "0\n2\n0 0\n1", "0\n1\nx y\n",
                           "0\n2000000000\n0 0\n", "rubbish"}) {
    std::ofstream(folder / "f") << text;
    LeaderEpochCache cache(folder / "f");
    CHECK(cache.load() == EBADMSG);
    CHECK(cache.entries().empty());
  }
}

}  // namespace
}  // namespace shardlog
