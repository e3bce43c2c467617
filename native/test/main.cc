#include "../segment_file.h"
#include "check.h"

int main() {
  // No test pulls the plug: what a process wrote is there without being flushed.
  shardlog::file_operations().fdatasync = [](int) { return 0; };
  shardlog::file_operations().fsync = [](int) { return 0; };
  int passed = 0;
  for (auto* test = shardlog::test::first_case; test != nullptr; test = test->next) {
    std::printf("%s\n", test->name);
    std::fflush(stdout);
    test->run();
    ++passed;
  }
  std::printf("native: %d passed, 0 failed\n", passed);
  return passed > 0 ? 0 : 1;
}
