# Writes the commit that is being built to OUT, as a header; touches it only when it changes.
# Arguments: SOURCE, the tree; OUT. "unknown" where the tree is not a checkout of its own.
cmake_minimum_required(VERSION 3.20)
set(HY_COMMIT unknown)
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-toplevel
  OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed)
  file(REAL_PATH "${top}" top)
  file(REAL_PATH "${SOURCE}" here)
  if(top STREQUAL here)
    execute_process(COMMAND git -C ${SOURCE} describe --always --exclude=* --abbrev=12 --dirty
      OUTPUT_VARIABLE HY_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define HY_COMMIT \"@HY_COMMIT@\"\n" @ONLY)
