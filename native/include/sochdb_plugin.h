/*
 * The C interface between SochDB and a native plugin, version 1.
 *
 * A plugin is a shared library that exports one function, `sochdb_plugin_v1`, which returns a table that
 * never changes and lives as long as the process: who the plugin is, and its functions. native/README.md
 * walks through writing one; native/example/rle.c is one.
 *
 * Rules:
 *
 *  1. Memory. What the host passes in is borrowed for the call: never free it, never keep a pointer to
 *     it. A plugin writes only where an argument says `out`. Text that a plugin hands out (an error, a
 *     page) is its own; the host copies it and gives it back with `free_text`.
 *  2. Answers. A function returns SOCHDB_OK, or another status and then, if it has words, an error text
 *     of at most 4096 bytes of UTF-8. A text of length zero needs no memory and is not freed.
 *  3. Threads. Any thread may call, and several may call the same function with the same instance at
 *     the same time; only `init` and `shutdown` are alone with their instance. Before `init` returned
 *     and after `shutdown` began, nothing else is called with it.
 *  4. No exception, panic or longjmp may leave a function.
 *  5. Growth. New fields come at the end of the table, and `table_bytes` says which of them a plugin
 *     has. A change of anything else is a new version with a new symbol, beside this one.
 *
 * All integers have the machine's own byte order: both sides are the same process.
 */
#ifndef SOCHDB_PLUGIN_H
#define SOCHDB_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What `abi_version` of a table says. */
#define SOCHDB_PLUGIN_ABI_VERSION 1u

/* What a plugin is. */
#define SOCHDB_KIND_CODEC 1u
#define SOCHDB_KIND_OBSERVER 2u

/* What a function answers. The host reads an unknown status as SOCHDB_INTERNAL. */
#define SOCHDB_OK 0u
#define SOCHDB_INTERNAL 1u  /* the plugin failed */
#define SOCHDB_INVALID 2u   /* the input makes no sense */
#define SOCHDB_LIMIT 3u     /* a bound was met, such as the room for the output */
#define SOCHDB_CORRUPT 4u   /* the input is not what this plugin once wrote */

/* `len` bytes at `data`. `data` may be NULL when `len` is zero. */
typedef struct sochdb_bytes {
    const uint8_t *data;
    size_t len;
} sochdb_bytes;

/* Text in UTF-8 that a plugin hands out. The host sets it to {NULL, 0} before each call. */
typedef struct sochdb_text {
    uint8_t *data;
    size_t len;
} sochdb_text;

/* A literal as `sochdb_bytes`, in an initialiser. */
#define SOCHDB_LITERAL(text) { (const uint8_t *)(text), sizeof(text) - 1 }

/* What `sochdb_plugin_v1` points to. */
typedef struct sochdb_plugin_table {
    uint32_t abi_version; /* SOCHDB_PLUGIN_ABI_VERSION */
    uint32_t table_bytes; /* sizeof(sochdb_plugin_table) */
    uint32_t kind;        /* SOCHDB_KIND_... */
    uint32_t reserved;    /* zero */

    sochdb_bytes name;        /* a lower-case letter, then such letters, digits, '-', '_'; at most 64 */
    sochdb_bytes version;     /* such as "1.2.3"; at most 64 bytes, not empty */
    sochdb_bytes description; /* one sentence; at most 1024 bytes */
    sochdb_bytes author;      /* at most 1024 bytes */

    /* Makes an instance, one for each database that loads the plugin. What it puts into `out_instance`,
     * which may be NULL, is passed to every other function. On failure there is no instance. */
    uint32_t (*init)(void **out_instance, sochdb_text *out_error);

    /* Ends an instance and gives all its memory back, whatever it answers. */
    uint32_t (*shutdown)(void *instance, sochdb_text *out_error);

    /* Takes back the memory of a text that a function of this table handed out. */
    void (*free_text)(uint8_t *data, size_t len);

    /* SOCHDB_KIND_CODEC, otherwise NULL. Writes at most `out_capacity` bytes to `out`, and their number
     * to `out_len`. When they do not fit, the answer is SOCHDB_LIMIT; the host then stores the input as
     * it is. There is room for the input's length, an eighth of that, and 1024 bytes. */
    uint32_t (*compress)(void *instance, sochdb_bytes input, uint8_t *out, size_t out_capacity,
                         size_t *out_len, sochdb_text *out_error);

    /* SOCHDB_KIND_CODEC, otherwise NULL. The same way back: `out_capacity` is exactly what `compress` was
     * given, and so must `*out_len` be. `input` comes from a disk: check it, and answer SOCHDB_CORRUPT
     * rather than give less or more. */
    uint32_t (*decompress)(void *instance, sochdb_bytes input, uint8_t *out, size_t out_capacity,
                           size_t *out_len, sochdb_text *out_error);

    /* SOCHDB_KIND_OBSERVER, otherwise NULL. Takes one batch of metrics and log lines: `json` is one JSON
     * object in UTF-8, described in native/README.md. */
    uint32_t (*ingest)(void *instance, sochdb_bytes json, sochdb_text *out_error);

    /* SOCHDB_KIND_OBSERVER, otherwise NULL. Puts what the observer shows, at most 16 MiB, into
     * `out_page`, or an error text when it answers anything but SOCHDB_OK. */
    uint32_t (*render)(void *instance, sochdb_text *out_page);
} sochdb_plugin_table;

/* The one function that a plugin exports. */
#if defined(_WIN32)
#define SOCHDB_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define SOCHDB_EXPORT __attribute__((visibility("default")))
#else
#define SOCHDB_EXPORT
#endif

SOCHDB_EXPORT const sochdb_plugin_table *sochdb_plugin_v1(void);

#ifdef __cplusplus
}
#endif

#endif
