#!/bin/sh
# Runs a program in the sandbox as CTest and commands of a build run it: `run.sh VCPU PROGRAM [ARGUMENTS]`. It is
# granted its working directory, by the path that this has for everybody else.
vcpu=$1 program=$2
shift 2
exec "$vcpu" run --dir "$PWD=.:rw" --env "PWD=$PWD" "$program" -- "$@"
