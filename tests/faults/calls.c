/* SPDX-License-Identifier: Apache-2.0
 * calls.c: allocations and system calls that fail on demand, to be preloaded:
 *
 *     FDIT_FAULT=malloc:17         the 17th malloc, calloc or realloc returns NULL
 *     FDIT_FAULT=malloc:3:libpng   the third of those that the library libpng asks for
 *     FDIT_FAULT=write:3:ENOSPC    the third write fails; "short" instead of an error: half of it is done
 *     FDIT_FAULT=log:5000          the 5000th logarithm, of which noise is made, is NaN
 *     FDIT_FAULT_COUNT=FILE        how many calls of that kind there were, written when the program ends
 *     FDIT_FAULT_OWN=1             only calls from the program itself, not from libraries (drivers)
 *
 * Kinds: malloc open read pread write pwrite fsync rename linkat unlink mkdir ftruncate close mmap flock
 * opendir fdopendir readdir fopen openat stat (fstat, lstat, fstatat) realpath getcwd mkostemp mkdtemp
 * unlinkat rmdir thread (pthread_create) log.
 * Descriptors 0 to 2 are left alone. For glibc, whose malloc has a second name. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char kind[16];
static long wanted;
static int error_number = EIO;
static int halves; /* "short" */
static atomic_long calls;
static uintptr_t own_begin, own_end; /* the code whose calls count; 0: calls from anywhere */

/* The first object is the program; with `library`, the first whose name has that in it. */
static int find_own(struct dl_phdr_info *info, size_t size, void *library)
{
    (void)size;
    if (library && !strstr(info->dlpi_name, library))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
            continue;
        own_begin = info->dlpi_addr + h->p_vaddr;
        own_end = own_begin + h->p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    static const struct {
        const char *name;
        int number;
    } names[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO },       { "ENOMEM", ENOMEM },
                  { "EACCES", EACCES }, { "EMFILE", EMFILE }, { "EINTR", EINTR },
                  { "EDQUOT", EDQUOT }, { "EROFS", EROFS },   { "EAGAIN", EAGAIN } };
    const char *fault = getenv("FDIT_FAULT");
    char what[16] = "";
    if (!fault || sscanf(fault, "%15[a-z]:%ld:%15s", kind, &wanted, what) < 2)
        kind[0] = 0;
    halves = strcmp(what, "short") == 0;
    if (getenv("FDIT_FAULT_OWN") && *getenv("FDIT_FAULT_OWN"))
        dl_iterate_phdr(find_own, NULL);
    if (!strncmp(what, "lib", 3) && !dl_iterate_phdr(find_own, what))
        own_begin = own_end = 1; /* not there: no call is its own */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(what, names[i].name) == 0)
            error_number = names[i].number;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FDIT_FAULT_COUNT");
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", atomic_load(&calls)), fd;
    kind[0] = 0;
    if (!path || (fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0644)) < 0)
        return;
    if (syscall(SYS_write, fd, text, n) != n)
        _exit(99);
    syscall(SYS_close, fd);
}

/* Counts a call of the kind, and says whether it is the one. */
static int fails_from(const void *caller, const char *name)
{
    if (kind[0] != name[0] || strcmp(kind, name) != 0 ||
        (own_end && ((uintptr_t)caller < own_begin || (uintptr_t)caller >= own_end)) ||
        atomic_fetch_add(&calls, 1) + 1 != wanted)
        return 0;
    errno = error_number;
    return 1;
}

#define fails(name) fails_from(__builtin_return_address(0), name)

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    if (!fails("malloc"))
        return __libc_malloc(n);
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t n, size_t size)
{
    if (!fails("malloc"))
        return __libc_calloc(n, size);
    errno = ENOMEM;
    return NULL;
}

void *realloc(void *p, size_t n)
{
    if (!fails("malloc"))
        return __libc_realloc(p, n);
    errno = ENOMEM;
    return NULL;
}

double log(double x)
{
    static double (*real)(double);
    if (!real)
        real = (double (*)(double))(uintptr_t)dlsym(RTLD_NEXT, "log");
    return fails("log") ? NAN : real(x);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return fails("open") ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return fails("open") ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* What a transfer of n bytes becomes: n, half of it, or -1. */
static ssize_t share(const void *caller, const char *name, int fd, size_t n)
{
    if (fd <= 2 || !fails_from(caller, name))
        return (ssize_t)n;
    return halves ? (ssize_t)(n > 1 ? n / 2 : n) : -1;
}

ssize_t read(int fd, void *to, size_t n)
{
    ssize_t m = share(__builtin_return_address(0), "read", fd, n);
    return m < 0 ? -1 : syscall(SYS_read, fd, to, m);
}

ssize_t write(int fd, const void *from, size_t n)
{
    ssize_t m = share(__builtin_return_address(0), "write", fd, n);
    return m < 0 ? -1 : syscall(SYS_write, fd, from, m);
}

ssize_t pread64(int fd, void *to, size_t n, off64_t at)
{
    ssize_t m = share(__builtin_return_address(0), "pread", fd, n);
    return m < 0 ? -1 : syscall(SYS_pread64, fd, to, m, at);
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at)
{
    ssize_t m = share(__builtin_return_address(0), "pwrite", fd, n);
    return m < 0 ? -1 : syscall(SYS_pwrite64, fd, from, m, at);
}

int fsync(int fd)
{
    return fails("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    return fails("rename") ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int folder, const char *from, int to_folder, const char *to, int flags)
{
    return fails("linkat") ? -1 : (int)syscall(SYS_linkat, folder, from, to_folder, to, flags);
}

int unlink(const char *path)
{
    return fails("unlink") ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    return fails("mkdir") ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int ftruncate64(int fd, off64_t n)
{
    return fails("ftruncate") ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int close(int fd)
{
    int fault = fd > 2 && fails("close");
    int result = (int)syscall(SYS_close, fd); /* it is closed all the same, as on Linux */
    if (!fault)
        return result;
    errno = error_number;
    return -1;
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t from)
{
    if (fd >= 0 && fails("mmap"))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, from);
}

int flock(int fd, int operation)
{
    return fails("flock") ? -1 : (int)syscall(SYS_flock, fd, operation);
}

/* The function of that name behind this one, into the pointer at `out`. */
static void find_real(const char *name, void *out)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(out, &symbol, sizeof symbol);
}

#define REAL(name, type, arguments) \
    type(*real) arguments;          \
    find_real(name, &real)

DIR *opendir(const char *path)
{
    REAL("opendir", DIR *, (const char *));
    return fails("opendir") ? NULL : real(path);
}

DIR *fdopendir(int fd)
{
    REAL("fdopendir", DIR *, (int));
    return fails("fdopendir") ? NULL : real(fd);
}

struct dirent64 *readdir64(DIR *dir)
{
    REAL("readdir64", struct dirent64 *, (DIR *));
    return fails("readdir") ? NULL : real(dir);
}

struct dirent *readdir(DIR *dir)
{
    REAL("readdir", struct dirent *, (DIR *));
    return fails("readdir") ? NULL : real(dir);
}

FILE *fopen64(const char *path, const char *mode)
{
    REAL("fopen64", FILE *, (const char *, const char *));
    return fails("fopen") ? NULL : real(path, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL("fopen", FILE *, (const char *, const char *));
    return fails("fopen") ? NULL : real(path, mode);
}

static int open_at(const void *caller, int folder, const char *path, int flags, int mode)
{
    return fails_from(caller, "openat") ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return open_at(__builtin_return_address(0), folder, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return open_at(__builtin_return_address(0), folder, path, flags, mode);
}

#define STAT(function, what, type)                            \
    int function(what, struct type *out)                      \
    {                                                         \
        REAL(#function, int, (what, struct type *));          \
        return fails("stat") ? -1 : real(STAT_ARGUMENT, out); \
    }
#define STAT_ARGUMENT path
STAT(stat, const char *path, stat)
STAT(lstat, const char *path, stat)
STAT(stat64, const char *path, stat64)
STAT(lstat64, const char *path, stat64)
#undef STAT_ARGUMENT
#define STAT_ARGUMENT fd
STAT(fstat, int fd, stat)
STAT(fstat64, int fd, stat64)

int fstatat(int folder, const char *path, struct stat *out, int flags)
{
    REAL("fstatat", int, (int, const char *, struct stat *, int));
    return fails("stat") ? -1 : real(folder, path, out, flags);
}

int fstatat64(int folder, const char *path, struct stat64 *out, int flags)
{
    REAL("fstatat64", int, (int, const char *, struct stat64 *, int));
    return fails("stat") ? -1 : real(folder, path, out, flags);
}

char *realpath(const char *path, char *out)
{
    REAL("realpath", char *, (const char *, char *));
    return fails("realpath") ? NULL : real(path, out);
}

char *getcwd(char *out, size_t n)
{
    REAL("getcwd", char *, (char *, size_t));
    return fails("getcwd") ? NULL : real(out, n);
}

int mkostemp64(char *path, int flags)
{
    REAL("mkostemp64", int, (char *, int));
    return fails("mkostemp") ? -1 : real(path, flags);
}

int mkostemp(char *path, int flags)
{
    REAL("mkostemp", int, (char *, int));
    return fails("mkostemp") ? -1 : real(path, flags);
}

char *mkdtemp(char *path)
{
    REAL("mkdtemp", char *, (char *));
    return fails("mkdtemp") ? NULL : real(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    return fails("unlinkat") ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}

int rmdir(const char *path)
{
    return fails("rmdir") ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with)
{
    REAL("pthread_create", int, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *));
    return fails("thread") ? error_number : real(thread, how, run, with);
}
