/*
 * Decodes films for a host program, which sees the frames where they are.
 *
 *     the host's read --> demuxer --> packets --> video decoder --> frames --> next
 *                             `-----> packets --> audio decoder --> frames ---^
 *
 * Demuxer and decoders are threads; what goes from one to the next goes through a queue that has an end. The host
 * calls `next`, in the main thread; a frame is its to see until it calls again.
 */

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <vcpu/embed.h>

/* How many packets and frames wait at most. */
enum { PACKETS = 32, FRAMES = 4 };

/* Bytes that are read of the host at a time. */
enum { READ = 64 << 10 };

/* Pixels of a picture and of its sides, channels, samples of a frame and in a second, at most. */
enum { PIXELS = 64 << 20, SIDE = 16384, CHANNELS = 64, SAMPLES = 1 << 20 };

/* What a frame is for the host: variants of its type. */
enum { END, VIDEO, AUDIO };

/* Samples for the host: variants of its type. */
enum { S16, S32, FLOAT };

struct queue {
    void *items[PACKETS];
    unsigned first, count, room;
    /* Nothing comes behind what is there. */
    int is_over;
};

struct stream {
    /* Its number in the film, or -1. */
    int index;
    AVRational time_base;
    AVCodecContext *codec;
    struct queue packets, frames;
    pthread_t decoder;
    /* Packets that were damaged. */
    uint64_t damaged;
    /* Processor time of its decoder, in nanoseconds. */
    uint64_t time;
};

static struct stream video, audio, *const streams[] = { &video, &audio };

static AVFormatContext *film;
static AVIOContext *io;
static struct vcpu_writer *asked;
static uint64_t position, size;
static pthread_t demuxer;
static uint64_t demuxer_time, demuxer_damaged;

/* What the host sees. */
static AVFrame *given;

/* All queues are one lock's, and whoever changes one tells all: there are three threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int stops;

/* Puts an item behind the others, as soon as there is room; false if nobody wants it any more. */
static int put(struct queue *queue, void *item)
{
    pthread_mutex_lock(&lock);
    while (queue->count == queue->room && !stops)
        pthread_cond_wait(&changed, &lock);
    int is_wanted = !stops;
    if (is_wanted)
        queue->items[(queue->first + queue->count++) % PACKETS] = item;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return is_wanted;
}

/* The first item, without waiting: there is one, and the lock is held. */
static void *first(struct queue *queue)
{
    void *item = queue->items[queue->first];
    queue->first = (queue->first + 1) % PACKETS;
    queue->count--;
    pthread_cond_broadcast(&changed);
    return item;
}

/* The first item, as soon as there is one; NULL at the end. */
static void *take(struct queue *queue)
{
    pthread_mutex_lock(&lock);
    while (!queue->count && !queue->is_over && !stops)
        pthread_cond_wait(&changed, &lock);
    void *item = queue->count && !stops ? first(queue) : NULL;
    pthread_mutex_unlock(&lock);
    return item;
}

/* Says that nothing more comes. */
static void end(struct queue *queue)
{
    pthread_mutex_lock(&lock);
    queue->is_over = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Processor time of the calling thread. */
static uint64_t thread_time(void)
{
    struct timespec time;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) ? 0 : time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Reads of the file, which the host has. */
static int read_host(void *opaque, uint8_t *to, int count)
{
    struct vcpu_reader result;
    vcpu_put(asked, position);
    vcpu_put_memory(asked, to, count);
    if (vcpu_call("read", asked, &result))
        return AVERROR(EIO);
    uint64_t done = vcpu_take(&result);
    if (result.is_bad || done > count)
        return AVERROR(EIO);
    position += done;
    return done ? done : AVERROR_EOF;
}

static int64_t seek_host(void *opaque, int64_t offset, int whence)
{
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return size;
    case SEEK_CUR:
        offset += position;
        break;
    case SEEK_END:
        offset += size;
        break;
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    return position = offset;
}

/* Parts the film into packets. */
static void *demux(void *argument)
{
    int error = 0;
    while (!error) {
        AVPacket *packet = av_packet_alloc();
        error = packet ? av_read_frame(film, packet) : AVERROR(ENOMEM);
        int is_put = 0;
        for (int at = 0; at < 2 && !error; at++)
            if (packet->stream_index == streams[at]->index) {
                is_put = put(&streams[at]->packets, packet);
                if (!is_put)
                    error = AVERROR_EXIT;
            }
        if (!is_put)
            av_packet_free(&packet);
    }
    demuxer_damaged = error != AVERROR_EOF;
    demuxer_time = thread_time();
    end(&video.packets);
    end(&audio.packets);
    return NULL;
}

/* Hands over all frames that the decoder has; false if nobody wants them any more. */
static int hand_over(struct stream *stream)
{
    for (;;) {
        AVFrame *frame = av_frame_alloc();
        int error = frame ? avcodec_receive_frame(stream->codec, frame) : AVERROR(ENOMEM);
        if (error || !put(&stream->frames, frame)) {
            av_frame_free(&frame);
            stream->damaged += error && error != AVERROR(EAGAIN) && error != AVERROR_EOF;
            return error;
        }
    }
}

/* Decodes packets. What is damaged is left out. */
static void *decode(void *argument)
{
    struct stream *stream = argument;
    for (int is_end = 0; !is_end;) {
        /* At the end the decoder is asked with nothing, for what it holds back. */
        AVPacket *packet = take(&stream->packets);
        is_end = !packet;
        int error = avcodec_send_packet(stream->codec, packet);
        stream->damaged += error && error != AVERROR_EOF;
        av_packet_free(&packet);
        if (!hand_over(stream))
            break;
    }
    stream->time = thread_time();
    end(&stream->frames);
    return NULL;
}

/* Ends the threads and frees everything. */
static void close_film(void)
{
    pthread_mutex_lock(&lock);
    stops = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (demuxer)
        pthread_join(demuxer, NULL);
    demuxer = 0;
    for (int at = 0; at < 2; at++) {
        struct stream *stream = streams[at];
        if (stream->decoder)
            pthread_join(stream->decoder, NULL);
        while (stream->packets.count) {
            AVPacket *packet = first(&stream->packets);
            av_packet_free(&packet);
        }
        while (stream->frames.count) {
            AVFrame *frame = first(&stream->frames);
            av_frame_free(&frame);
        }
        avcodec_free_context(&stream->codec);
        *stream = (struct stream){ .index = -1, .packets.room = PACKETS, .frames.room = FRAMES };
    }
    av_frame_free(&given);
    avformat_close_input(&film);
    if (io)
        av_freep(&io->buffer);
    avio_context_free(&io);
    stops = 0;
}

/* Finds a stream of a kind and its decoder. */
static int find(struct stream *stream, enum AVMediaType type)
{
    const AVCodec *decoder;
    int index = av_find_best_stream(film, type, -1, -1, &decoder, 0);
    if (index == AVERROR_STREAM_NOT_FOUND) {
        stream->packets.is_over = stream->frames.is_over = 1;
        return 0;
    }
    if (index < 0)
        return index;
    stream->codec = avcodec_alloc_context3(decoder);
    if (!stream->codec)
        return AVERROR(ENOMEM);
    int error = avcodec_parameters_to_context(stream->codec, film->streams[index]->codecpar);
    if (error < 0)
        return error;
    stream->time_base = stream->codec->pkt_timebase = film->streams[index]->time_base;
    stream->codec->thread_count = 1;
    stream->codec->max_pixels = PIXELS;
    error = avcodec_open2(stream->codec, decoder, NULL);
    if (!error)
        stream->index = index;
    return error;
}

static int open_film(void)
{
    uint8_t *buffer = av_malloc(READ);
    film = avformat_alloc_context();
    io = avio_alloc_context(buffer, READ, 0, NULL, read_host, NULL, seek_host);
    if (!asked)
        asked = vcpu_new();
    if (!film || !io) {
        av_free(io ? NULL : buffer);
        return AVERROR(ENOMEM);
    }
    film->pb = io;
    film->max_analyze_duration = 5 * AV_TIME_BASE;
    int error = avformat_open_input(&film, NULL, NULL, NULL);
    if (error || (error = avformat_find_stream_info(film, NULL)) < 0)
        return error;
    if ((error = find(&video, AVMEDIA_TYPE_VIDEO)) || (error = find(&audio, AVMEDIA_TYPE_AUDIO)))
        return error;
    if (video.index < 0 && audio.index < 0)
        return AVERROR_STREAM_NOT_FOUND;
    if (pthread_create(&demuxer, NULL, demux, NULL))
        return AVERROR(EAGAIN);
    for (int at = 0; at < 2; at++)
        if (streams[at]->index >= 0 && pthread_create(&streams[at]->decoder, NULL, decode, streams[at]))
            return AVERROR(EAGAIN);
    return 0;
}

/* Opens the film of so many bytes that the host's function `read` reads; one that was open is closed. Gives the
 * frame rate of its pictures, if it has any, whether it has sound, and its length in microseconds, or 0. */
static const char *film_open(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    static char problem[AV_ERROR_MAX_STRING_SIZE];
    size = vcpu_take(argument);
    if (argument->is_bad)
        return NULL;
    close_film();
    position = 0;
    int error = open_film();
    if (error) {
        close_film();
        av_strerror(error, problem, sizeof problem);
        return problem;
    }
    vcpu_put(result, video.index >= 0);
    if (video.index >= 0) {
        AVRational rate = av_guess_frame_rate(film, film->streams[video.index], NULL);
        int is_known = rate.num > 0 && rate.den > 0;
        vcpu_put(result, is_known ? rate.num : 25);
        vcpu_put(result, is_known ? rate.den : 1);
    }
    vcpu_put(result, audio.index >= 0);
    vcpu_put(result, film->duration > 0 ? film->duration : 0);
    return NULL;
}

/* When a frame is shown, in microseconds. */
static int64_t moment(const struct stream *stream, const AVFrame *frame)
{
    int64_t stamp = frame->best_effort_timestamp;
    if (stamp == AV_NOPTS_VALUE || stamp < 0)
        return 0;
    return av_rescale_q(stamp, stream->time_base, AV_TIME_BASE_Q);
}

/* The frame that comes first of those that are there, as soon as there is one; NULL at the end. */
static struct stream *choose(void)
{
    struct stream *stream = NULL;
    pthread_mutex_lock(&lock);
    while (!video.frames.count && !audio.frames.count && !(video.frames.is_over && audio.frames.is_over))
        pthread_cond_wait(&changed, &lock);
    for (int at = 0; at < 2; at++)
        if (streams[at]->frames.count) {
            const AVFrame *frame = streams[at]->frames.items[streams[at]->frames.first];
            if (!stream || moment(streams[at], frame) <
                    moment(stream, stream->frames.items[stream->frames.first]))
                stream = streams[at];
        }
    if (stream)
        given = first(&stream->frames);
    pthread_mutex_unlock(&lock);
    return stream;
}

/* A picture of one or three planes of bytes. */
static const char *give_picture(struct vcpu_writer *result)
{
    static char problem[128];
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(given->format);
    int is_plain = format && (format->nb_components == 1 || format->nb_components == 3) &&
        !(format->flags & ~(uint64_t)AV_PIX_FMT_FLAG_PLANAR);
    for (int at = 0; is_plain && at < format->nb_components; at++) {
        const AVComponentDescriptor *part = &format->comp[at];
        is_plain = part->plane == at && part->step == 1 && part->depth == 8 && given->linesize[at] > 0;
    }
    if (!is_plain) {
        snprintf(problem, sizeof problem, "the pictures' pixels are %s; only planes of bytes are given",
            format ? format->name : "unknown");
        return problem;
    }
    if (given->width > SIDE || given->height > SIDE) {
        snprintf(problem, sizeof problem, "the pictures have %d x %d pixels; no side may have more than %d",
            given->width, given->height, SIDE);
        return problem;
    }
    int across = format->nb_components == 3 ? format->log2_chroma_w : 0;
    int down = format->nb_components == 3 ? format->log2_chroma_h : 0;
    vcpu_put(result, given->width);
    vcpu_put(result, given->height);
    vcpu_put(result, across);
    vcpu_put(result, down);
    vcpu_put(result, given->color_range == AVCOL_RANGE_JPEG || !strncmp(format->name, "yuvj", 4));
    vcpu_put(result, format->nb_components);
    for (int at = 0; at < format->nb_components; at++) {
        size_t width = AV_CEIL_RSHIFT(given->width, at ? across : 0);
        size_t height = AV_CEIL_RSHIFT(given->height, at ? down : 0);
        vcpu_put_memory(result, given->data[at], given->linesize[at] * (height - 1) + width);
        vcpu_put(result, given->linesize[at]);
    }
    return NULL;
}

/* Samples, all channels in one plane or each in its own. */
static const char *give_sound(struct vcpu_writer *result)
{
    static char problem[128];
    int kind;
    switch (av_get_packed_sample_fmt(given->format)) {
    case AV_SAMPLE_FMT_S16:
        kind = S16;
        break;
    case AV_SAMPLE_FMT_S32:
        kind = S32;
        break;
    case AV_SAMPLE_FMT_FLT:
        kind = FLOAT;
        break;
    default:
        snprintf(problem, sizeof problem, "the samples are %s; only s16, s32 and flt are given",
            av_get_sample_fmt_name(given->format));
        return problem;
    }
    int channels = given->ch_layout.nb_channels;
    int is_planar = av_sample_fmt_is_planar(given->format);
    if (channels > CHANNELS || given->nb_samples > SAMPLES || given->sample_rate > SAMPLES || given->sample_rate < 1) {
        snprintf(problem, sizeof problem, "%d samples of %d channels, %d a second, are more than is given",
            given->nb_samples, channels, given->sample_rate);
        return problem;
    }
    size_t bytes = (size_t)given->nb_samples * av_get_bytes_per_sample(given->format);
    vcpu_put(result, given->sample_rate);
    vcpu_put(result, channels);
    vcpu_put(result, kind);
    vcpu_put(result, given->nb_samples);
    vcpu_put(result, is_planar ? channels : 1);
    for (int at = 0; at < (is_planar ? channels : 1); at++)
        vcpu_put_memory(result, given->extended_data[at], is_planar ? bytes : bytes * channels);
    return NULL;
}

/* The next frame, or how it all went. */
static const char *film_next(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    av_frame_free(&given);
    if (!film)
        return "no film is open";
    struct stream *stream = choose();
    if (!stream) {
        vcpu_put(result, END);
        vcpu_put(result, demuxer_damaged + video.damaged + audio.damaged);
        vcpu_put(result, demuxer_time);
        vcpu_put(result, video.time);
        vcpu_put(result, audio.time);
        return NULL;
    }
    vcpu_put(result, stream == &video ? VIDEO : AUDIO);
    vcpu_put(result, moment(stream, given));
    return stream == &video ? give_picture(result) : give_sound(result);
}

static const char *film_close(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    close_film();
    return NULL;
}

VCPU_EXPORT(open)
VCPU_EXPORT(next)
VCPU_EXPORT(close)

int main(void)
{
    static const struct vcpu_export exports[] = {
        { "open", film_open }, { "next", film_next }, { "close", film_close },
    };
    av_log_set_level(AV_LOG_QUIET);
    close_film();
    vcpu_serve(exports, 3);
}
