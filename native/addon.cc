// The border between JavaScript and the native parts: decodes arguments, calls one function,
// turns the result into a number or a buffer. The only file that includes napi.h.
#include <napi.h>

#include "crc32c.h"

namespace shardlog {
namespace {

std::span<const uint8_t> bytes_of(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

/// crc32c(bytes, seed): the CRC as an unsigned number.
Napi::Value Crc32c(const Napi::CallbackInfo& info) {
  const uint32_t seed = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), crc32c(seed, bytes_of(info[0])));
}

/// crc32cImplementation(): which form the CPU got.
Napi::Value Crc32cImplementation(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), crc32c_implementation());
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("crc32c", Napi::Function::New(env, Crc32c, "crc32c"));
  exports.Set("crc32cImplementation",
              Napi::Function::New(env, Crc32cImplementation, "crc32cImplementation"));
  return exports;
}

}  // namespace
}  // namespace shardlog

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  return shardlog::Init(env, exports);
}

NODE_API_MODULE(shardlog, InitAddon)
