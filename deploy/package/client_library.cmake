# The client library as it is today: static, with the headers of the rooms that it is made of. Their interfaces are the
# project's own and may change with every version.
set(client_rooms proto protocol env ring client net)
set(archives lib/${CMAKE_LIBRARY_ARCHITECTURE})
set(headers include/logstream)

set(client_targets logstream_options)
set_target_properties(logstream_options PROPERTIES EXPORT_NAME options)
foreach(room ${client_rooms})
  set_target_properties(logstream_${room} PROPERTIES EXPORT_NAME ${room})
  list(APPEND client_targets logstream_${room})
  if(NOT room STREQUAL proto)
    install(DIRECTORY ${CMAKE_SOURCE_DIR}/internal/${room} DESTINATION ${headers}/internal COMPONENT client
            FILES_MATCHING PATTERN "*.h")
  endif()
endforeach()
install(FILES ${CMAKE_BINARY_DIR}/generated/logstream.pb.h DESTINATION ${headers} COMPONENT client)
install(TARGETS ${client_targets} EXPORT logstream-targets ARCHIVE DESTINATION ${archives} COMPONENT client)
# Of the archives, `install` itself strips none.
install(CODE "if(CMAKE_INSTALL_DO_STRIP)
  file(GLOB archives \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${archives}/liblogstream_*.a\")
  execute_process(COMMAND ${CMAKE_STRIP} --strip-debug \${archives} COMMAND_ERROR_IS_FATAL ANY)
endif()" COMPONENT client)
install(EXPORT logstream-targets NAMESPACE logstream:: DESTINATION ${archives}/cmake/logstream COMPONENT client)
install(FILES logstream-config.cmake DESTINATION ${archives}/cmake/logstream COMPONENT client)

include(CMakePackageConfigHelpers)
# What compiles against one version need not compile against another.
write_basic_package_version_file(${made}/logstream-config-version.cmake COMPATIBILITY ExactVersion)
install(FILES ${made}/logstream-config-version.cmake DESTINATION ${archives}/cmake/logstream COMPONENT client)
