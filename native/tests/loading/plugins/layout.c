/* Prints the interface as a C compiler sees it: tests/loading/layout.rs compares. */
#include "sochdb_plugin.h"

#include <stdio.h>

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define FIELD(name) printf(#name " %zu\n", offsetof(sochdb_plugin_table, name))
#define CONSTANT(name) printf(#name " %u\n", name)

int main(void)
{
    SIZE(sochdb_bytes);
    SIZE(sochdb_text);
    SIZE(sochdb_plugin_table);
    printf("bytes.len %zu\n", offsetof(sochdb_bytes, len));
    printf("text.len %zu\n", offsetof(sochdb_text, len));
    FIELD(abi_version);
    FIELD(table_bytes);
    FIELD(kind);
    FIELD(reserved);
    FIELD(name);
    FIELD(version);
    FIELD(description);
    FIELD(author);
    FIELD(init);
    FIELD(shutdown);
    FIELD(free_text);
    FIELD(compress);
    FIELD(decompress);
    FIELD(ingest);
    FIELD(render);
    CONSTANT(SOCHDB_PLUGIN_ABI_VERSION);
    CONSTANT(SOCHDB_KIND_CODEC);
    CONSTANT(SOCHDB_KIND_OBSERVER);
    CONSTANT(SOCHDB_OK);
    CONSTANT(SOCHDB_INTERNAL);
    CONSTANT(SOCHDB_INVALID);
    CONSTANT(SOCHDB_LIMIT);
    CONSTANT(SOCHDB_CORRUPT);
    return 0;
}
