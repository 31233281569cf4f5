/* Makes the file MARK as soon as it is opened, before anyone asked it anything, and is no plugin. */
#include <stdio.h>

__attribute__((constructor)) static void opened(void)
{
    FILE *mark = fopen(MARK, "w");
    if (mark != NULL) {
        fclose(mark);
    }
}
