{
  "variables": { "werror%": "<!(node -p \"process.env.CI ? 1 : 0\")" },
  "targets": [
    {
      "target_name": "shardlog",
      "sources": [
        "native/addon.cc", "native/batch_scan.cc", "native/crc32c.cc", "native/directory_lock.cc",
        "native/event_queue.cc", "native/fetch_layout.cc", "native/frame_pool.cc", "native/frame_reader.cc",
        "native/leader_epoch_cache.cc", "native/log_cleaning.cc", "native/log_recovery.cc",
        "native/log_truncation.cc", "native/offset_map.cc", "native/partition_log.cc",
        "native/produce_layout.cc", "native/producer_state.cc", "native/record_filter.cc",
        "native/request.cc", "native/segment_file.cc",
        "native/shard.cc", "native/transport.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "conditions": [["werror==1", { "cflags_cc": ["-Werror"] }]]
    }
  ]
}
