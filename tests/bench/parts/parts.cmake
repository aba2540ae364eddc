# The benchmarks of single parts, logstream-parts. They need Google Benchmark, so the ordinary build is without them:
#
#   cmake --preset release -DCMAKE_PROJECT_logstream_INCLUDE=$PWD/tests/bench/parts/parts.cmake
#   cmake --build build --target logstream-parts
function(logstream_parts)
  find_package(benchmark REQUIRED)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/bench/parts/*.cpp)
  add_executable(logstream-parts EXCLUDE_FROM_ALL ${sources})
  target_link_libraries(logstream-parts PRIVATE logstream_ring logstream_replication logstream_storage logstream_net
                        benchmark::benchmark_main)
endfunction()

# The libraries are there when the project has been read to its end.
cmake_language(DEFER CALL logstream_parts)
