/* Decodes an MP3 file from standard input to samples on standard output: signed, of 16 bits, in the
   machine's order of bytes, channels interleaved. Says on standard error what it decoded. */
#include <stdio.h>
#include <stdlib.h>

#define MINIMP3_IMPLEMENTATION
#include "minimp3.h"

int main(void)
{
    unsigned char *file = NULL;
    size_t size = 0, room = 0, got;
    do {
        if (size == room) {
            room = room ? 2 * room : 1 << 16;
            file = realloc(file, room);
            if (!file) {
                perror("minimp3");
                return 1;
            }
        }
        got = fread(file + size, 1, room - size, stdin);
        size += got;
    } while (got);

    static mp3d_sample_t samples[MINIMP3_MAX_SAMPLES_PER_FRAME];
    mp3dec_frame_info_t frame;
    mp3dec_t decoder;
    long frames = 0;
    mp3dec_init(&decoder);
    for (size_t at = 0; at < size; at += frame.frame_bytes) {
        int count = mp3dec_decode_frame(&decoder, file + at, (int)(size - at), samples, &frame);
        if (!frame.frame_bytes)
            break;
        if (count) {
            frames++;
            fwrite(samples, sizeof *samples * frame.channels, count, stdout);
        }
    }
    fprintf(stderr, "%ld frames\n", frames);
    return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
