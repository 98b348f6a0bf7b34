# baton_floor(NAME floor_name HEADERS a.h ... SOURCES a.cc ... LINK targets...)
#
# One static library per floor and folder. Every header must compile alone: one that its own source includes first does, or
# the library would not build; the others are a verified header set (target all_verify_interface_header_sets, run by ctest
# `headers_compile_alone`).
function(baton_floor name)
  cmake_parse_arguments(arg "" "" "HEADERS;SOURCES;LINK" ${ARGN})
  set(proven "")
  set(others "")
  foreach(header IN LISTS arg_HEADERS)
    baton_is_included_first(is_first ${header} "${arg_SOURCES}")
    if(is_first)
      list(APPEND proven ${header})
    else()
      list(APPEND others ${header})
    endif()
  endforeach()
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_sources(${name} ${scope} FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${others})
  target_sources(${name} ${scope}
    FILE_SET included_first TYPE HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${proven})
  set_target_properties(${name} PROPERTIES INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
  target_link_libraries(${name} ${scope} ${arg_LINK})
endfunction()

# Whether a source of the same name includes `header` before anything else, where the formatter puts it.
function(baton_is_included_first out header sources)
  set(${out} NO PARENT_SCOPE)
  string(REGEX REPLACE "\\.h$" ".cc" source ${header})
  if(NOT source IN_LIST sources)
    return()
  endif()
  file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/${source} first LIMIT_COUNT 1 REGEX "^#include")
  file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${header})
  if(first STREQUAL "#include \"${path}\"")
    set(${out} YES PARENT_SCOPE)
  endif()
endfunction()

# The tests' own code is neither optimised nor checked for undefined behaviour: it is compiled once and runs once, and
# compiling is most of what the CI does.
function(baton_test_code target)
  target_compile_options(${target} PRIVATE -O0 -fno-sanitize=undefined)
endfunction()

# baton_test(NAME name SOURCES a_test.cc ... LINK targets...)
# One GoogleTest program per floor; its tests appear in ctest one by one.
function(baton_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} GTest::gmock GTest::gtest_main)
  baton_test_code(${name})
  if(BATON_TEST_PCH)
    target_precompile_headers(${name} PRIVATE <gmock/gmock.h> <gtest/gtest.h> <chrono> <filesystem> <fstream> <functional>
                              <map> <memory> <optional> <string> <thread> <vector>)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
endfunction()
