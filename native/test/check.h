#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the test program with the failed condition and its place.
#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

/// Registers and runs the native tests: every `TEST` of the linked files, in link order.
namespace shardlog::test {
struct Case {
  const char* name;
  void (*run)();
  Case* next;
};
inline Case* first_case = nullptr;
struct Registration {
  Case entry;
  Registration(const char* name, void (*run)()) : entry{name, run, first_case} {
    first_case = &entry;
  }
};
}  // namespace shardlog::test

#define TEST(name)                                                       \
  static void name();                                                    \
  static shardlog::test::Registration registration_##name{#name, &name}; \
  static void name()
