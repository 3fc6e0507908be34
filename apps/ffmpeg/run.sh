#!/bin/sh
# Runs one of FFmpeg's programs in the sandbox for its test suite, which names it /build/PATH: `configure --target-exec`.
program=${1#/build/}
shift
exec ${VCPU:-vcpu} run --memory 2G --entropy --dir build=.:rw "./$program" -- "$@"
