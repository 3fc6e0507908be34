# Builds zlib's library and its three test programs.
zlib=$SOURCE_ZLIB/src/zlib
for file in $zlib/*.c; do
    $CC $CFLAGS -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -c $file
done
$AR rc libz.a *.o
$RANLIB libz.a
for program in minigzip example infcover; do
    $CC $CFLAGS -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -I$zlib $SOURCE_TESTS/test/$program.c libz.a -o $program
done
