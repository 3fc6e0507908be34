# Builds SQLite's library, its shell and its speed test.
sqlite=$SOURCE_SQLITE/sqlite3
flags="$CFLAGS -DSQLITE_THREADSAFE=1 -DSQLITE_OMIT_LOAD_EXTENSION -I$sqlite"
$CC $flags -c $sqlite/sqlite3.c
$CC $flags $SOURCE_TOOLS/test/speedtest1.c sqlite3.o -lpthread -lm -o speedtest1

# What the source's own mkshellc.tcl does, without Tcl: each INCLUDE becomes the file that it names.
cd $SOURCE_TOOLS/src
awk '/^INCLUDE /  { while ((getline line < $2) > 0) if (line !~ /^#include "(sqlite|test_windirent)/) print line; next }
     { print }' shell.c.in > $OLDPWD/shell.c
cd $OLDPWD
$CC $flags shell.c sqlite3.o -lpthread -lm -o sqlite3
