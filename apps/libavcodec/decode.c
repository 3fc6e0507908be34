/* Decodes FLAC from standard input to samples on standard output: interleaved, as wide as the stream's. */

#include <libavcodec/avcodec.h>
#include <stdio.h>

/* Gives the decoder a packet, or NULL at the end, and writes what it makes of it. */
static int decode(AVCodecContext *context, AVPacket *packet, AVFrame *frame)
{
    int error = avcodec_send_packet(context, packet);
    while (!error && !(error = avcodec_receive_frame(context, frame))) {
        size_t size = av_get_bytes_per_sample(frame->format) * frame->ch_layout.nb_channels;
        if (fwrite(frame->data[0], size, frame->nb_samples, stdout) != frame->nb_samples)
            return AVERROR(EIO);
    }
    return error == AVERROR(EAGAIN) || error == AVERROR_EOF ? 0 : error;
}

int main(void)
{
    static uint8_t input[65536 + AV_INPUT_BUFFER_PADDING_SIZE];
    const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_FLAC);
    AVCodecContext *context = avcodec_alloc_context3(codec);
    AVCodecParserContext *parser = av_parser_init(codec->id);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    if (!context || !parser || !packet || !frame || avcodec_open2(context, codec, NULL))
        return fputs("decode: out of memory\n", stderr), 1;
    int error = 0;
    for (size_t size = 1; size && !error;) {
        const uint8_t *at = input;
        int left = size = fread(input, 1, 65536, stdin);
        /* At the end it is asked with nothing, for what it holds back. */
        do {
            int used = av_parser_parse2(parser, context, &packet->data, &packet->size, at, left,
                                        AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
            at += used, left -= used;
            if (packet->size)
                error = decode(context, packet, frame);
        } while (!error && (left || (!size && packet->size)));
    }
    error = error ? error : decode(context, NULL, frame);
    return error || fflush(stdout) ? fprintf(stderr, "decode: %s\n", av_err2str(error)), 1 : 0;
}
