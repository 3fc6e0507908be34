# Builds the decoder, and puts a file beside it to try it on.
$CC $CFLAGS -I$SOURCE_MINIMP3/minimp3 $PORT/main.c -o minimp3
cp $SOURCE_MUSIC/test/data/test-1.mp3 music.mp3
