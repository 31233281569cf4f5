/* An observer that remembers: how many batches it got, and the newest one, which it shows. */
#include "sochdb_plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct observer {
    pthread_mutex_t lock;
    unsigned batches;
    uint8_t *newest;
    size_t newest_len;
} observer;

static uint32_t init(void **out_instance, sochdb_text *out_error)
{
    observer *made = calloc(1, sizeof(observer));
    (void)out_error;
    if (made == NULL || pthread_mutex_init(&made->lock, NULL) != 0) {
        free(made);
        return SOCHDB_LIMIT;
    }
    *out_instance = made;
    return SOCHDB_OK;
}

static uint32_t shut_down(void *instance, sochdb_text *out_error)
{
    observer *self = instance;
    (void)out_error;
    pthread_mutex_destroy(&self->lock);
    free(self->newest);
    free(self);
    return SOCHDB_OK;
}

static void free_text(uint8_t *data, size_t len)
{
    (void)len;
    free(data);
}

static uint32_t ingest(void *instance, sochdb_bytes json, sochdb_text *out_error)
{
    observer *self = instance;
    uint8_t *copy = malloc(json.len + 1);
    (void)out_error;
    if (copy == NULL) {
        return SOCHDB_LIMIT;
    }
    memcpy(copy, json.data, json.len);
    pthread_mutex_lock(&self->lock);
    free(self->newest);
    self->newest = copy;
    self->newest_len = json.len;
    self->batches++;
    pthread_mutex_unlock(&self->lock);
    return SOCHDB_OK;
}

static uint32_t render(void *instance, sochdb_text *out_page)
{
    observer *self = instance;
    pthread_mutex_lock(&self->lock);
    out_page->data = malloc(self->newest_len + 64);
    if (out_page->data != NULL) {
        int begun = snprintf((char *)out_page->data, 64, "%u batches, the newest: ", self->batches);
        if (self->newest_len > 0) {
            memcpy(out_page->data + begun, self->newest, self->newest_len);
        }
        out_page->len = (size_t)begun + self->newest_len;
    }
    pthread_mutex_unlock(&self->lock);
    return out_page->data == NULL ? SOCHDB_LIMIT : SOCHDB_OK;
}

static const sochdb_plugin_table table = {
    SOCHDB_PLUGIN_ABI_VERSION,
    sizeof(sochdb_plugin_table),
    SOCHDB_KIND_OBSERVER,
    0,
    SOCHDB_LITERAL("counting"),
    SOCHDB_LITERAL("1.0.0"),
    SOCHDB_LITERAL("Shows the newest batch."),
    SOCHDB_LITERAL("The SochDB authors"),
    init,
    shut_down,
    free_text,
    NULL,
    NULL,
    ingest,
    render,
};

const sochdb_plugin_table *sochdb_plugin_v1(void)
{
    return &table;
}
