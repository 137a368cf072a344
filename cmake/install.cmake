# cmake --install: a tree that runs wherever it is put.
#
#   bin/                          the four programs
#   lib/diptych/                  the shared libraries that they need, all but glibc and libstdc++
#   share/diptych/models/demo/    the bundled model
#   share/{bash-completion,zsh,fish}/, share/man/
#
# Components: programs (with the model), shell, libraries, torch. A wheel leaves the last one out and uses the torch beside
# it; where the system's own libraries serve, `programs` alone is enough.

include(GNUInstallDirs)
set(programs gateway vision_service language_service diptych)
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/diptych")
foreach(program IN LISTS programs)
  # An old-style rpath is also looked at for the libraries of the libraries, and before LD_LIBRARY_PATH.
  target_link_options(${program} PRIVATE "-Wl,--disable-new-dtags")
endforeach()
install(TARGETS ${programs} RUNTIME_DEPENDENCY_SET diptych_libraries RUNTIME DESTINATION bin COMPONENT programs)
install(DIRECTORY models/demo DESTINATION share/diptych/models COMPONENT programs)
install(FILES LICENSE DESTINATION share/doc/diptych COMPONENT programs)

# glibc and the compiler's libraries belong to the system, and libtorch expects them there, too.
set(system_libraries "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|util|anl|mvec|nsl|crypt|stdc\\+\\+|gcc_s)\\.so")
set(torch_libraries "/(torch/lib|nvidia/[^/]+/lib)/[^/]+$")
install(RUNTIME_DEPENDENCY_SET diptych_libraries COMPONENT libraries
        PRE_EXCLUDE_REGEXES ${system_libraries} POST_EXCLUDE_REGEXES ${torch_libraries}
        LIBRARY DESTINATION lib/diptych)
install(RUNTIME_DEPENDENCY_SET diptych_libraries COMPONENT torch
        PRE_EXCLUDE_REGEXES ${system_libraries} POST_INCLUDE_REGEXES ${torch_libraries} POST_EXCLUDE_REGEXES ".*"
        LIBRARY DESTINATION lib/diptych)

# The command line prints what shells and man read.
function(install_output file)
  string(REPLACE ";" "\" \"" arguments "\"${ARGN}\"")
  install(CODE "
    set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share/${file}\")
    message(STATUS \"Installing: \${file}\")
    cmake_path(GET file PARENT_PATH folder)
    file(MAKE_DIRECTORY \"\${folder}\")
    execute_process(COMMAND \"$<TARGET_FILE:diptych>\" ${arguments} OUTPUT_FILE \"\${file}\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT shell)
endfunction()
install_output(bash-completion/completions/diptych completion bash)
install_output(zsh/site-functions/_diptych completion zsh)
install_output(fish/vendor_completions.d/diptych.fish completion fish)
install_output(man/man1/diptych.1 man)
