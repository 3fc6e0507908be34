# CMake's toolchain file for programs on virtual CPUs:
#
#     cmake -B build -DCMAKE_TOOLCHAIN_FILE=.../cmake/vcpu.cmake && cmake --build build
#     vcpu run build/program
#
# It wants the command `vcpu` in PATH, or -DVCPU=/path/of/vcpu. Libraries that were built for virtual CPUs are
# found in the directories of CMAKE_FIND_ROOT_PATH.

set(CMAKE_SYSTEM_NAME vCPU)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
# What CMake shall know of that name is in `Platform`.
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")

# CMake reads this file again in each project by which it tries the compiler.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES VCPU)
find_program(VCPU vcpu)
if(NOT VCPU)
    message(FATAL_ERROR "there is no vcpu in PATH; install it, or say -DVCPU=/path/of/vcpu")
endif()

# The first argument stands behind the program.
set(CMAKE_C_COMPILER "${VCPU};cc")
set(CMAKE_CXX_COMPILER "${VCPU};c++")
set(CMAKE_ASM_COMPILER "${VCPU};cc")

# Headers and libraries are ours, never the machine's; programs that run during the build are the machine's.
execute_process(COMMAND "${VCPU}" cc --print-flags OUTPUT_VARIABLE vcpu_flags COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "-isystem ([^\n]*)/include -isystem" vcpu_flags "${vcpu_flags}")
list(APPEND CMAKE_FIND_ROOT_PATH "${CMAKE_MATCH_1}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# By which CTest and custom commands start what was built.
set(CMAKE_CROSSCOMPILING_EMULATOR "sh;${CMAKE_CURRENT_LIST_DIR}/run.sh;${VCPU}")
