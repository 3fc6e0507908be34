/* A library in C for a host program: values of every kind, both ways. */

#include <pthread.h>
#include <string.h>
#include <vcpu/embed.h>

static const char *add(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    uint64_t a = vcpu_take(argument), b = vcpu_take(argument);
    vcpu_put(result, a + b);
    return NULL;
}

static const char *negate(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    vcpu_put_signed(result, -(uint64_t)vcpu_take_signed(argument));
    return NULL;
}

static const char *reverse(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    static char bytes[1000];
    size_t size;
    const char *text = vcpu_take_bytes(argument, &size);
    if (size > sizeof bytes)
        return "the text is too long";
    for (size_t at = 0; at < size; at++)
        bytes[at] = text[size - 1 - at];
    vcpu_put_bytes(result, bytes, size);
    return NULL;
}

/* What the host sees in place. */
static unsigned char board[4096];

static const char *paint(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    memset(board, vcpu_take(argument), sizeof board);
    vcpu_put_memory(result, board, sizeof board);
    return NULL;
}

/* Asks the host, in a thread of its own. */
static void *call(void *argument)
{
    static char problem[200];
    struct vcpu_writer *writer = vcpu_new();
    struct vcpu_reader answer;
    uint64_t *number = argument;
    vcpu_put(writer, *number);
    const char *sentence = vcpu_call("double", writer, &answer);
    if (sentence)
        strncpy(problem, sentence, sizeof problem - 1);
    else
        *number = vcpu_take(&answer);
    int is_bad = answer.is_bad || answer.left;
    vcpu_delete(writer);
    return sentence ? problem : is_bad ? "the answer is no number" : NULL;
}

static const char *ask(struct vcpu_reader *argument, struct vcpu_writer *result)
{
    pthread_t thread;
    void *problem = "no thread";
    uint64_t number = vcpu_take(argument);
    if (!pthread_create(&thread, NULL, call, &number))
        pthread_join(thread, &problem);
    vcpu_put(result, number);
    return problem;
}

VCPU_EXPORT(add)
VCPU_EXPORT(negate)
VCPU_EXPORT(reverse)
VCPU_EXPORT(paint)
VCPU_EXPORT(ask)

int main(void)
{
    static const struct vcpu_export exports[] = {
        { "add", add }, { "negate", negate }, { "reverse", reverse }, { "paint", paint }, { "ask", ask },
    };
    vcpu_serve(exports, sizeof exports / sizeof *exports);
}
