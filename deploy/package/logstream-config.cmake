# find_package(logstream): the targets logstream::client, a producer and a consumer on an Env, and logstream::net, the
# Env of this machine.
include(CMakeFindDependencyMacro)
foreach(needed Protobuf fmt spdlog ZLIB Threads PkgConfig)
  find_dependency(${needed})
endforeach()
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
include(${CMAKE_CURRENT_LIST_DIR}/logstream-targets.cmake)
