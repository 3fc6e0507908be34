# Builds libavcodec and libavutil with one decoder and its parser, and the program.
$SOURCE_FFMPEG/configure --enable-cross-compile --target-os=none --arch=x86_64 --cc="$CC" --ar="$AR" --ranlib="$RANLIB" \
    --nm="$NM" --strip="$STRIP" --pkg-config=false --disable-all --disable-autodetect --disable-debug --disable-network \
    --disable-x86asm --disable-pthreads --disable-runtime-cpudetect --enable-small --enable-avcodec \
    --enable-decoder=flac --enable-parser=flac --extra-cflags="-ffunction-sections -fdata-sections"
make -j$JOBS
$CC $CFLAGS -Wl,--gc-sections -s -I. -I$SOURCE_FFMPEG $PORT/decode.c libavcodec/libavcodec.a libavutil/libavutil.a -lm -o decode
