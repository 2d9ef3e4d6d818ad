{
  "targets": [
    {
      "target_name": "blockmesh",
      "sources": [
        "src/addon.cc",
        "src/engine.cc",
        "src/file-ops.cc",
        "src/files.cc",
        "src/host.cc",
        "src/nbd-netlink.cc",
        "src/open-file.cc",
        "src/read-cache.cc",
        "src/read-lane.cc",
        "src/receive.cc",
        "src/relay.cc",
        "src/ring.cc",
        "src/sockets.cc",
        "src/shared-memory.cc",
        "src/shared-streams.cc",
        "src/streams.cc",
        "src/turn.cc",
        "src/write-lane.cc"
      ],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fexceptions"],
      "defines!": ["NAPI_DISABLE_CPP_EXCEPTIONS"],
      "libraries": ["-lpthread"]
    }
  ]
}
