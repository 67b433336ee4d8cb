# libg4rt, the C runtime. It loads ONNX Runtime when a bundle is opened, and links with nothing but the system.
set(rt_core bundle.cc c_api_media.cc c_api_model.cc c_api_session.cc c_api_text.cc graph.cc kv_cache.cc library.cc
  model.cc ort.cc prepacked.cc process_memory.cc sampling.cc session.cc session_options.cc)
set(rt_files consistency.cc field.cc files.cc files_posix.cc files_windows.cc manifest.cc sha256.cc state_file.cc)
set(rt_media feeds.cc fft.cc mel.cc patches.cc placeholders.cc resize.cc sound.cc wave.cc)
set(rt_text merges.cc pieces.cc splitter.cc stream.cc table.cc token_tree.cc tokenizer.cc)
set(rt_chat chat.cc chat_cases.cc chat_control.cc chat_filters.cc chat_items.cc chat_json.cc chat_machine.cc
  chat_methods.cc chat_operators.cc chat_table.cc chat_text.cc chat_value.cc)
list(TRANSFORM rt_core PREPEND src/rt/)
list(TRANSFORM rt_files PREPEND src/rt/)
list(TRANSFORM rt_chat PREPEND src/rt/text/)
list(APPEND rt_chat src/rt/decimal.cc src/rt/json.cc)
list(TRANSFORM rt_media PREPEND src/rt/media/)
list(TRANSFORM rt_text PREPEND src/rt/text/)

# Parts that tests and fuzzers call alone.
foreach(part chat files media text)
  add_library(g4rt_${part} OBJECT ${rt_${part}})
  target_include_directories(g4rt_${part} PUBLIC include src src/rt)
endforeach()

add_library(g4rt SHARED ${rt_core} $<TARGET_OBJECTS:g4rt_chat> $<TARGET_OBJECTS:g4rt_files>
  $<TARGET_OBJECTS:g4rt_media> $<TARGET_OBJECTS:g4rt_text>)
target_include_directories(g4rt PUBLIC include PRIVATE src src/rt)
target_link_libraries(g4rt PRIVATE ${CMAKE_DL_LIBS} Threads::Threads)
g4_shared(g4rt)

# Small rather than fast, but for loops over logits, pixels, samples, text and files.
foreach(target g4rt g4rt_chat)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-Os>)
endforeach()
set_source_files_properties(src/rt/sampling.cc src/rt/sha256.cc PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)
# Where a platform has no shared libraries of its own: the ops are in libg4rt, and nothing is loaded for them.
option(G4RT_LINKED_OPS "Put the ops of libg4ops into libg4rt" OFF)
if(G4RT_LINKED_OPS)
  target_compile_definitions(g4rt PRIVATE G4RT_LINKED_OPS)
  target_sources(g4rt PRIVATE ${g4ops_sources} $<TARGET_OBJECTS:g4kernels>)
endif()

if(G4OPS_TESTS)
  foreach(part chat files media text)
    add_library(g4rt_${part}_parts SHARED tests/rt_${part}_parts.cc)
    target_link_libraries(g4rt_${part}_parts PRIVATE g4rt_${part})
  endforeach()
  target_link_libraries(g4rt_files_parts PRIVATE g4rt_chat)  # where JSON is
  add_executable(rt_driver tests/rt_driver.cc tests/rt_driver_files.cc tests/rt_driver_refusals.cc tests/rt_driver_threads.cc
    src/rt/sha256.cc)
  target_include_directories(rt_driver PRIVATE src)
  target_link_libraries(rt_driver PRIVATE g4rt Threads::Threads)
endif()

# Of what reads files. `fuzz_NAME FOLDER`, a copy of fuzz/corpus/NAME, runs until it finds something; `replay_NAME FILE...`
# runs the files once, and needs no libFuzzer.
set(rt_manifest ${rt_files} ${rt_media} src/rt/decimal.cc src/rt/json.cc)
set(rt_state ${rt_files} src/rt/decimal.cc src/rt/json.cc)
set(rt_tokenizer ${rt_text})
set(manifest_parts g4rt_files g4rt_media g4rt_chat)
set(state_parts g4rt_files g4rt_chat)
set(tokenizer_parts g4rt_text)
set(chat_parts g4rt_chat)
foreach(name chat manifest state tokenizer)
  if(G4OPS_TESTS)
    add_executable(replay_${name} fuzz/${name}.cc fuzz/replay.cc)
    target_link_libraries(replay_${name} PRIVATE ${${name}_parts})
  endif()
  if(G4RT_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      message(FATAL_ERROR "G4RT_FUZZ needs clang, whose libFuzzer it uses: -DCMAKE_CXX_COMPILER=clang++")
    endif()
    add_executable(fuzz_${name} fuzz/${name}.cc ${rt_${name}})
    target_include_directories(fuzz_${name} PRIVATE include src src/rt)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  endif()
endforeach()
