# Debian packages by CPack: logstream, and liblogstream-dev.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME logstream)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The LogStream authors <maintainers@logstream.example>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_INSTALL_PREFIX /usr)
# With this the files of /etc are laid beside those of the prefix.
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL broker client)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)

set(debian ${CMAKE_CURRENT_SOURCE_DIR}/debian)
set(CPACK_DEBIAN_BROKER_PACKAGE_NAME logstream)
set(CPACK_DEBIAN_BROKER_PACKAGE_SECTION net)
set(CPACK_DEBIAN_BROKER_PACKAGE_DEPENDS
    "init-system-helpers (>= 1.54~), systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_BROKER_PACKAGE_CONTROL_EXTRA
    "${debian}/postinst;${debian}/prerm;${debian}/postrm;${debian}/conffiles")
set(CPACK_COMPONENT_BROKER_DESCRIPTION "log streaming broker that needs no configuration
Brokers on one network find each other, elect a leader, and keep every
topic on all of them; what was acknowledged is still there, in the same
order, whichever machine fails. A record is sent once, by UDP multicast,
however many replicas there are.

This package has the broker with its systemd service, and the tools:
logstream-producer, logstream-consumer, logstreamctl, netdiag and
logstream-bench.")

set(CPACK_DEBIAN_CLIENT_PACKAGE_NAME liblogstream-dev)
set(CPACK_DEBIAN_CLIENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_CLIENT_PACKAGE_DEPENDS
    "libprotobuf-dev, libuv1-dev, libspdlog-dev, libfmt-dev, libisal-dev, libxxhash-dev, liblz4-dev, libzstd-dev, \
libsnappy-dev, zlib1g-dev, libc6-dev, libstdc++-12-dev | libstdc++-dev")
set(CPACK_DEBIAN_CLIENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_CLIENT_DESCRIPTION "log streaming broker (client library)
Static libraries and headers of LogStream's producer and consumer, for
programs in C++23 that find them by CMake's find_package(logstream).

The interfaces are those that LogStream's own tools use, and may change
with every version.")

# Each package has its copyright and its changelog.
add_custom_command(
  OUTPUT ${made}/changelog.gz
  COMMAND gzip -9nc ${debian}/changelog > ${made}/changelog.gz
  DEPENDS ${debian}/changelog
  VERBATIM)
add_custom_target(changelog ALL DEPENDS ${made}/changelog.gz)
foreach(package broker:logstream client:liblogstream-dev)
  string(REPLACE ":" ";" package ${package})
  list(GET package 0 component)
  list(GET package 1 name)
  install(FILES ${debian}/copyright ${made}/changelog.gz DESTINATION ${doc}/${name} COMPONENT ${component})
endforeach()

include(CPack)
