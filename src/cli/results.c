/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/results.h"

#include <fcntl.h>
#include <unistd.h>

FILE *fdit_results;

void fdit_results_begin(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    fdit_results = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fdit_results) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        return;
    }
    if (fd >= 0)
        close(fd);
#undef stdout
    fdit_results = stdout;
}
