# Builds Lua's command line. `ltests.c` is empty unless Lua tests itself.
lua=$SOURCE_LUPA/third-party/lua54
$CC $CFLAGS -std=gnu99 -DLUA_USE_POSIX -DLUA_COMPAT_5_3 $lua/onelua.c -lm -o lua
