# Builds FFmpeg with the formats that are named.
codecs=mpeg4,mjpeg,ffv1,huffyuv,flac,pcm_s16le,rawvideo
formats=avi,mov,matroska,nut,flac,wav,rawvideo,pcm_s16le
$SOURCE_FFMPEG/configure --enable-cross-compile --target-os=none --arch=x86_64 --cc="$CC" --ar="$AR" --ranlib="$RANLIB" \
    --nm="$NM" --strip="$STRIP" --pkg-config=false --disable-autodetect --enable-pthreads --enable-x86asm --disable-debug \
    --disable-doc --disable-network --disable-ffplay --disable-ffprobe --disable-avdevice --disable-everything \
    --enable-protocol=file,pipe,md5 --enable-parser=mpeg4video,mjpeg,flac --enable-encoder=$codecs \
    --enable-decoder=$codecs,pgmyuv --enable-demuxer=$formats,image2 --enable-muxer=$formats,framecrc,framemd5,crc,md5,null \
    --enable-filter=scale,format,aresample,aformat,null,anull,trim,atrim,hflip,vflip,crop \
    --target-exec="$PORT/../ffmpeg/run.sh" --target-path=/build
make -j$JOBS ffmpeg tests/checkasm/checkasm
