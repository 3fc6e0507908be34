# Builds zlib, then FFmpeg with it: as for a machine without an operating system.
zlib=$SOURCE_ZLIB/src/zlib
for file in $zlib/*.c; do $CC $CFLAGS -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -c $file; done
$AR rc libz.a *.o
$SOURCE_FFMPEG/configure --enable-cross-compile --target-os=none --arch=x86_64 --cc="$CC" --ar="$AR" --ranlib="$RANLIB" \
    --nm="$NM" --strip="$STRIP" --pkg-config=false --extra-cflags="-I$zlib" --extra-ldflags="-L$PWD" --disable-autodetect \
    --enable-zlib --enable-pthreads --enable-x86asm --enable-gpl --enable-version3 --disable-debug --disable-doc \
    --disable-network --disable-ffplay --target-exec="$PORT/run.sh" --target-path=/build
make -j$JOBS all tests/checkasm/checkasm
