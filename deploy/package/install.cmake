# Run by `cmake --install`, with the prefix that it is given: the service, its configuration, the tools' short names.
set(bindir ${CMAKE_INSTALL_PREFIX}/bin)
set(sysconfdir ${CMAKE_INSTALL_PREFIX}/etc)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(sysconfdir /etc)
endif()

if(CMAKE_INSTALL_DO_STRIP)
  foreach(name ${installed_names})
    execute_process(COMMAND ${strip} $ENV{DESTDIR}${bindir}/${name} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endif()

configure_file(${source}/logstream.service.in ${made}/logstream.service @ONLY)
file(INSTALL ${made}/logstream.service DESTINATION ${CMAKE_INSTALL_PREFIX}/lib/systemd/system)

# Never over a file that somebody may have edited.
if(EXISTS $ENV{DESTDIR}${sysconfdir}/logstream/logstream.yaml)
  message(STATUS "Kept: ${sysconfdir}/logstream/logstream.yaml")
else()
  file(INSTALL ${made}/logstream.yaml DESTINATION ${sysconfdir}/logstream)
endif()

set(folder ${CMAKE_INSTALL_PREFIX}/lib/logstream/bin)
file(MAKE_DIRECTORY $ENV{DESTDIR}${folder})
foreach(name ${short_names})
  file(CREATE_LINK ../../../bin/logstream-${name} $ENV{DESTDIR}${folder}/${name} SYMBOLIC)
endforeach()
