# baton_floor(NAME floor_name HEADERS a.h ... SOURCES a.cc ... LINK targets...)
#
# One static library per floor and folder. Its headers are a verified header set: every one must compile alone
# (target all_verify_interface_header_sets, run by ctest `headers_compile_alone`).
function(baton_floor name)
  cmake_parse_arguments(arg "" "" "HEADERS;SOURCES;LINK" ${ARGN})
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${arg_HEADERS})
    target_link_libraries(${name} PUBLIC ${arg_LINK})
  else()
    add_library(${name} INTERFACE)
    target_sources(${name} INTERFACE FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${arg_HEADERS})
    target_link_libraries(${name} INTERFACE ${arg_LINK})
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
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
endfunction()
