/* A plugin of a version that is not there yet: after version and size everything may be different. */
#include <stdint.h>

static const _Alignas(void *) uint32_t table[2] = { 7, 8 };

__attribute__((visibility("default"))) const void *sochdb_plugin_v1(void)
{
    return table;
}
