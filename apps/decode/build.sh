# Builds libavformat and libavcodec with the decoders that are named, and the program.
$SOURCE_FFMPEG/configure --enable-cross-compile --target-os=none --arch=x86_64 --cc="$CC" --ar="$AR" --ranlib="$RANLIB" \
    --nm="$NM" --strip="$STRIP" --pkg-config=false --disable-autodetect --disable-everything --disable-debug --disable-doc \
    --disable-network --disable-programs --disable-avdevice --disable-avfilter --disable-swscale --disable-swresample \
    --enable-pthreads --enable-x86asm --enable-decoder=mpeg4,mjpeg,ffv1,huffyuv,flac,pcm_s16le,rawvideo \
    --enable-demuxer=avi,mov,matroska,nut,flac,wav --enable-parser=mpeg4video,mjpeg,flac
make -j$JOBS
$CC $CFLAGS -Wall -I. -I$SOURCE_FFMPEG $PORT/decode.c libavformat/libavformat.a libavcodec/libavcodec.a \
    libavutil/libavutil.a -lm -o decode
