# Builds the command line from one file, as its own comment says.
lua=$SOURCE_LUPA/third-party/lua54
$CC $CFLAGS -std=gnu99 -DLUA_USE_POSIX -DLUA_COMPAT_5_3 $lua/onelua.c -lm -o lua
