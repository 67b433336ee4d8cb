# How shared libraries are linked, on every system.
option(G4_STATIC_CXX "Link the C++ library into each library, for machines without libstdc++" OFF)
add_compile_options(-ffunction-sections -fdata-sections)  # what is not used is left out

function(g4_shared library)
  if(APPLE)
    target_link_options(${library} PRIVATE -Wl,-dead_strip)
  elseif(WIN32)
    set_target_properties(${library} PROPERTIES PREFIX "")  # g4rt.dll
  else()
    target_link_options(${library} PRIVATE -Wl,--gc-sections)
    if(NOT G4OPS_SANITIZE)
      target_link_options(${library} PRIVATE -Wl,--no-undefined)
    endif()
  endif()
  if(ANDROID)  # whose newer devices have pages of 16 KB; Debian's linker for arm64 has segments of 64 KB as it is
    target_link_options(${library} PRIVATE -Wl,-z,max-page-size=16384 -Wl,--exclude-libs,ALL)
  elseif(G4_STATIC_CXX)
    target_link_options(${library} PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL)
  endif()
endfunction()
