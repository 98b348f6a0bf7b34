# Proves that `headers_compile_alone` notices: a header that needs an include it does not have must break the target, in a
# library with sources and in one of headers only, or the library itself where its source includes it first; with the
# include in place both must build.
# cmake -DFLOOR=cmake/floor.cmake -DSCRATCH=dir -DGENERATOR=Ninja -DCOMPILER=c++ -P headers_self_test.cmake
file(REMOVE_RECURSE ${SCRATCH})

function(try_header name header sources first expected)
  set(root ${SCRATCH}/${name})
  file(WRITE ${root}/part/part.h "#pragma once\n${header}\ninline std::string Name() { return \"x\"; }\n")
  file(WRITE ${root}/part/other.h "#pragma once\n")  # there is something to verify in any case
  file(WRITE ${root}/part/part.cc "${first}#include \"part/part.h\"\nint Size() { return 1; }\n")
  file(WRITE ${root}/CMakeLists.txt
    "cmake_minimum_required(VERSION 3.25)\nproject(scratch LANGUAGES CXX)\nset(CMAKE_CXX_STANDARD 20)\n"
    "set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)\ninclude(${FLOOR})\n"
    "baton_floor(part HEADERS part/part.h part/other.h ${sources})\n")
  execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER} -S ${root} -B ${root}/build
    RESULT_VARIABLE configured OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT configured EQUAL 0)
    message(FATAL_ERROR "${name}: cannot configure the scratch project:\n${output}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${root}/build --target all all_verify_interface_header_sets
    RESULT_VARIABLE built OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(expected STREQUAL "builds" AND NOT built EQUAL 0)
    message(FATAL_ERROR "${name}: a complete header was refused:\n${output}")
  elseif(expected STREQUAL "fails" AND built EQUAL 0)
    message(FATAL_ERROR "${name}: a header without its include was not noticed:\n${output}")
  endif()
endfunction()

set(late "#include <string>\n")
try_header(complete "#include <string>" "SOURCES part/part.cc" ${late} builds)
try_header(incomplete "" "SOURCES part/part.cc" ${late} fails)
try_header(complete_included_first "#include <string>" "SOURCES part/part.cc" "" builds)
try_header(incomplete_included_first "" "SOURCES part/part.cc" "" fails)
try_header(complete_headers_only "#include <string>" "" "" builds)
try_header(incomplete_headers_only "" "" "" fails)
file(REMOVE_RECURSE ${SCRATCH})
