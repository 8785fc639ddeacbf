/* SPDX-License-Identifier: Apache-2.0
 * name.c: what the processor is called, for lists and reports. */
#include "cpu/cpu.h"

#include "core/file.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Linux says "model name" on x86 and no name on ARM, only who made it and a part's number: MIDR_EL1's fields
 * as ARM's and the makers' manuals have them. */
static const struct {
    unsigned implementer, part;
    const char *name;
} arm_parts[] = {
    { 0x41, 0xd03, "ARM Cortex-A53" },  { 0x41, 0xd05, "ARM Cortex-A55" },  { 0x41, 0xd07, "ARM Cortex-A57" },
    { 0x41, 0xd08, "ARM Cortex-A72" },  { 0x41, 0xd09, "ARM Cortex-A73" },  { 0x41, 0xd0a, "ARM Cortex-A75" },
    { 0x41, 0xd0b, "ARM Cortex-A76" },  { 0x41, 0xd0c, "ARM Neoverse-N1" }, { 0x41, 0xd0d, "ARM Cortex-A77" },
    { 0x41, 0xd40, "ARM Neoverse-V1" }, { 0x41, 0xd41, "ARM Cortex-A78" },  { 0x41, 0xd44, "ARM Cortex-X1" },
    { 0x41, 0xd49, "ARM Neoverse-N2" }, { 0x41, 0xd4f, "ARM Neoverse-V2" },
};

/* The value of a line "key : value"; NULL when it has another key. */
static char *value_of(char *line, const char *key)
{
    size_t n = strlen(key);
    char *colon = strchr(line, ':');
    if (strncmp(line, key, n) != 0 || !colon || strspn(line + n, " \t") != (size_t)(colon - line) - n)
        return NULL;
    line[strcspn(line, "\n")] = 0;
    return colon + 1 + strspn(colon + 1, " \t");
}

enum fdit_status fdit_cpu_name(fdit_context *ctx, const char *cpuinfo, char **out)
{
    enum fdit_status status = FDIT_OK;
    char line[512], buffer[4096], *name = NULL;
    unsigned implementer = 0, part = 0, best = 0;
    const int fd = fdit_regular_open(cpuinfo, O_RDONLY);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    *out = NULL;
    if (!f && errno != ENOENT && errno != EACCES)
        TRY(fdit_fail_errno(ctx, errno == ENOMEM ? FDIT_ERROR_MEMORY : FDIT_ERROR_IO, errno, "%s", cpuinfo));
    if (f)
        setvbuf(f, buffer, _IOFBF, sizeof buffer); /* else fgets asks for memory, and is silent without it */
    while (f && !name && fgets(line, sizeof line, f)) {
        const char *v;
        if ((v = value_of(line, "model name")))
            TRY(fdit_strdup(ctx, v, &name));
        else if ((v = value_of(line, "CPU implementer")))
            implementer = (unsigned)strtoul(v, NULL, 0);
        else if ((v = value_of(line, "CPU part")))
            part = (unsigned)strtoul(v, NULL, 0);
        best = part > best ? part : best; /* of small and large ones together, the large */
    }
    for (size_t i = 0; !name && i < sizeof arm_parts / sizeof *arm_parts; i++)
        if (arm_parts[i].implementer == implementer && arm_parts[i].part == best)
            TRY(fdit_strdup(ctx, arm_parts[i].name, &name));
    if (!name && implementer)
        TRY(fdit_strf(ctx, &name, "ARM CPU, implementer 0x%02x, part 0x%03x", implementer, best));
    if (!name)
        TRY(fdit_strdup(ctx, "CPU", &name));
    *out = name;
    name = NULL;
out:
    if (f)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    fdit_free(name);
    return status;
}
