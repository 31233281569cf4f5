/*
 * A native plugin of SochDB in C: the run-length codec of src/rle.rs, with the same blocks.
 *
 *     cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -I native/include -o librle.so native/example/rle.c
 *
 * It remembers nothing, so its instance is a null pointer, and any number of threads may call it. Its
 * error texts are literals, so there is nothing to free.
 */
#include "sochdb_plugin.h"

#include <string.h>

static uint32_t refuse(uint32_t status, const char *words, sochdb_text *out_error)
{
    /* The host only reads a text; free_text below leaves it where it is. */
    out_error->data = (uint8_t *)(uintptr_t)words;
    out_error->len = strlen(words);
    return status;
}

static uint32_t init(void **out_instance, sochdb_text *out_error)
{
    (void)out_error;
    *out_instance = NULL;
    return SOCHDB_OK;
}

static uint32_t shut_down(void *instance, sochdb_text *out_error)
{
    (void)instance;
    (void)out_error;
    return SOCHDB_OK;
}

static void free_text(uint8_t *data, size_t len)
{
    (void)data;
    (void)len;
}

static uint32_t compress(void *instance, sochdb_bytes input, uint8_t *out, size_t out_capacity,
                         size_t *out_len, sochdb_text *out_error)
{
    size_t at = 0, len = 0;
    (void)instance;
    while (at < input.len) {
        size_t run = 1;
        while (run < 255 && at + run < input.len && input.data[at + run] == input.data[at]) {
            run++;
        }
        if (out_capacity - len < 2) {
            return refuse(SOCHDB_LIMIT, "the block does not get smaller", out_error);
        }
        out[len++] = (uint8_t)run;
        out[len++] = input.data[at];
        at += run;
    }
    *out_len = len;
    return SOCHDB_OK;
}

static uint32_t decompress(void *instance, sochdb_bytes input, uint8_t *out, size_t out_capacity,
                           size_t *out_len, sochdb_text *out_error)
{
    size_t at, len = 0;
    (void)instance;
    if (input.len % 2 != 0) {
        return refuse(SOCHDB_CORRUPT, "the block ends in the middle of a pair", out_error);
    }
    for (at = 0; at < input.len; at += 2) {
        size_t run = input.data[at];
        if (run == 0) {
            return refuse(SOCHDB_CORRUPT, "a run of no bytes", out_error);
        }
        if (out_capacity - len < run) {
            return refuse(SOCHDB_CORRUPT, "the block is longer than it was", out_error);
        }
        memset(out + len, input.data[at + 1], run);
        len += run;
    }
    if (len < out_capacity) {
        return refuse(SOCHDB_CORRUPT, "the block is shorter than it was", out_error);
    }
    *out_len = len;
    return SOCHDB_OK;
}

static const sochdb_plugin_table table = {
    SOCHDB_PLUGIN_ABI_VERSION,
    sizeof(sochdb_plugin_table),
    SOCHDB_KIND_CODEC,
    0,
    SOCHDB_LITERAL("rle-c"),
    SOCHDB_LITERAL("0.1.0"),
    SOCHDB_LITERAL("Run-length coding in C: pairs of a count and a byte."),
    SOCHDB_LITERAL("The SochDB authors"),
    init,
    shut_down,
    free_text,
    compress,
    decompress,
    NULL,
    NULL,
};

const sochdb_plugin_table *sochdb_plugin_v1(void)
{
    return &table;
}
