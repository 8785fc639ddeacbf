/* SPDX-License-Identifier: Apache-2.0
 * sigbus.c: files are used where they are mapped. One that becomes shorter meanwhile, or whose disk
 * fails, gives a SIGBUS where its bytes are touched: the program then says which file and ends,
 * instead of dying without a word. The library cannot do that, since a handler belongs to the whole
 * process. */
#include "cli/cli.h"

#include "core/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 4608 };

/* Only what may be called in a signal handler. */
static void say(const char *text, size_t n)
{
    ssize_t done = write(STDERR_FILENO, text, n);
    (void)done;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *hex(const char *c, uintptr_t *out)
{
    for (*out = 0; digit(*c) >= 0; c++)
        *out = *out << 4 | (uintptr_t)digit(*c);
    return c;
}

/* The path in a line of /proc/self/maps, "FROM-TO rw-p ... PATH", when it holds the address; NULL:
 * it does not. */
static const char *path_of(const char *line, uintptr_t address)
{
    uintptr_t from, to;
    line = hex(line, &from);
    if (*line++ != '-')
        return NULL;
    line = hex(line, &to);
    const char *path = strchr(line, '/');
    return path && address >= from && address < to ? path : NULL;
}

static void find_file(uintptr_t address)
{
    static char line[LINE];
    size_t n = 0;
    char byte;
    int maps = fdit_regular_open("/proc/self/maps", O_RDONLY);
    if (maps < 0)
        return;
    static char block[4096];
    for (ssize_t got; (got = read(maps, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < got; i++) {
            byte = block[i];
            if (byte != '\n') {
                if (n < sizeof line - 1)
                    line[n++] = (unsigned char)byte < 0x20 || byte == 0x7f ? '?' : byte;
                continue;
            }
            line[n] = 0;
            n = 0;
            const char *path = path_of(line, address);
            if (path) {
                say(path, strlen(path));
                say(": ", 2);
                return;
            }
        }
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    static const char
        first[] = "\nfinediffusion: ",
        rest[] = "the file became shorter, or cannot be read any more, while it was in use; get it whole "
                 "again and start again\n";
    /* Several workers may meet the same end: one says it, and the others wait for the end of the process. */
    static atomic_flag said = ATOMIC_FLAG_INIT;
    (void)number;
    (void)context;
    while (atomic_flag_test_and_set(&said))
        pause();
    say(first, sizeof first - 1);
    find_file((uintptr_t)info->si_addr);
    say(rest, sizeof rest - 1);
    _exit(1);
}

void fdit_sigbus_install(void)
{
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
