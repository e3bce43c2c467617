// What every fuzz target brings: its entry, and inputs to begin from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fixtures.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/// Sound inputs that the random ones are bred from.
std::vector<std::vector<uint8_t>> fuzz_seeds();
