#include "check.h"

int main() {
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
