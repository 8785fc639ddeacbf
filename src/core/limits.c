/* SPDX-License-Identifier: Apache-2.0
 * limits.c: /proc, control groups (both versions, also mixed), the affinity mask and OMP_*.
 *
 * A limit of any group on the way from the root to ours holds for us. What a container can see of this
 * differs: with a name space of its own its group is "/" and mounted as the root; without, it is named by its
 * path in the host, and the mount shows that path's end only (mountinfo says which); or nothing matches, and
 * the files at the mount are the best there is. */
#include "core/limits.h"

#include "core/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Less than a running program has; more than any machine. */
static const unsigned long long least_memory = 1ull << 20, most_memory = 1ull << 60;
enum { MOST_PROCESSORS = 1 << 20, LINE = 8192, PATH = 4096 };

/* printf into `out`; false: it was cut. */
FDIT_PRINTF(3, 4) static bool set_text(char *out, size_t size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(out, size, format, list);
    va_end(list);
    return n >= 0 && (size_t)n < size;
}

/* ------------------------------------------------------------------------------------- files */

/* Where files are looked for, and the first that was there and could not be read. */
struct look {
    const char *root;
    int errnum; /* 0: none */
    char path[256];
};

static void note_shortage(struct look *look, const char *path, int errnum)
{
    if (look->errnum || !fdit_is_shortage(errnum))
        return;
    look->errnum = errnum;
    set_text(look->path, sizeof look->path, "%s", path);
}

static FILE *open_file(struct look *look, const char *path)
{
    char name[2 * PATH];
    if (!set_text(name, sizeof name, "%s%s", look->root, path))
        return NULL;
    const int fd = fdit_regular_open(name, O_RDONLY);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!f)
        note_shortage(look, name, errno);
    if (!f && fd >= 0)
        close(fd);
    return f;
}

/* The next line without its end; one that is longer than `size` has room for, or holds a zero byte, is ""
 * throughout, as a part of it could be taken for another line or number. false: there is none. */
static bool next_line(struct look *look, FILE *f, char *line, size_t size)
{
    size_t n = 0;
    bool whole = true;
    int c;
    errno = 0;
    while ((c = getc(f)) != EOF && c != '\n') {
        whole = whole && c && n + 1 < size;
        if (whole)
            line[n] = (char)c;
        n++;
    }
    line[whole ? n : 0] = '\0';
    if (c == EOF && ferror(f))
        note_shortage(look, "a file of /proc or /sys", errno);
    return n > 0 || c == '\n';
}

/* The first line of root + path; false: there is none. */
static bool read_line(struct look *look, const char *path, char *line, size_t size)
{
    FILE *f = open_file(look, path);
    bool found = f && next_line(look, f, line, size);
    if (f)
        fclose(f);
    return found;
}

/* A whole number that fills `text`; false for anything else, also for one too large. */
static bool number_of(const char *text, unsigned long long *out)
{
    char *end;
    while (isspace((unsigned char)*text))
        text++;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    while (isspace((unsigned char)*end))
        end++;
    return !errno && !*end;
}

/* How many numbers "0-3,8,10-11" names; 0: it is not such a list. */
static int count_list(const char *text)
{
    long n = 0;
    while (isdigit((unsigned char)*text)) {
        char *end;
        long first = strtol(text, &end, 10), last = first;
        if (*end == '-' && isdigit((unsigned char)end[1]))
            last = strtol(end + 1, &end, 10);
        if (first < 0 || last < first || last >= MOST_PROCESSORS)
            return 0;
        n += last - first + 1;
        text = *end == ',' ? end + 1 : end;
    }
    return *text || n > MOST_PROCESSORS ? 0 : (int)n;
}

/* The value of "key: value" in a file of such lines. */
static bool read_key(struct look *look, const char *path, const char *key, char *value, size_t size)
{
    char line[LINE];
    const size_t length = strlen(key);
    bool found = false;
    FILE *f = open_file(look, path);
    while (f && !found && next_line(look, f, line, sizeof line))
        if (!strncmp(line, key, length) && line[length] == ':') {
            const char *at = line + length + 1;
            at += strspn(at, " \t");
            found = set_text(value, size, "%s", at);
        }
    if (f)
        fclose(f);
    return found;
}

/* ------------------------------------------------------------------------------------- what binds */

static void bind_memory(struct fdit_limits *l, unsigned long long bytes, const char *what, const char *where)
{
    if (bytes < least_memory || bytes >= most_memory || (l->memory && bytes >= l->memory))
        return;
    l->memory = (size_t)bytes;
    set_text(l->memory_by, sizeof l->memory_by, "%s%s%s", what, *where ? ", " : "", where);
}

static void bind_quota(struct fdit_limits *l, double cpus, const char *what, const char *where)
{
    if (!(cpus > 0) || cpus >= MOST_PROCESSORS || (l->quota > 0 && cpus >= l->quota))
        return;
    l->quota = cpus;
    int whole = (int)cpus + (cpus > (int)cpus);
    if (whole >= l->processors)
        return;
    l->processors = whole;
    int digits = 1; /* 2.0, 0.25 */
    for (double rest = cpus * 10; digits < 4 && rest != (double)(long long)rest; digits++)
        rest *= 10;
    set_text(l->threads_by, sizeof l->threads_by, "%s %.*f, %s", what, digits, cpus, where);
}

/* ------------------------------------------------------------------------------------- control groups */

enum kind { UNIFIED, V1_MEMORY, V1_CPU, KINDS };

static bool read_value(struct look *look, const char *directory, const char *file, char path[PATH],
                       char *line, size_t size)
{
    return set_text(path, PATH, "%s/%s", directory, file) && read_line(look, path, line, size);
}

/* The files of one group. */
static void read_group(struct look *look, const char *directory, enum kind kind, struct fdit_limits *l)
{
    static const char *const memory_files[KINDS][3] = {
        [UNIFIED] = { "memory.max", "memory.high", NULL },
        [V1_MEMORY] = { "memory.limit_in_bytes", NULL },
        [V1_CPU] = { NULL },
    };
    char path[PATH], line[256], what[64];
    unsigned long long bytes, quota, period;
    for (const char *const *file = memory_files[kind]; *file; file++) {
        set_text(what, sizeof what, "cgroup %s", *file);
        if (read_value(look, directory, *file, path, line, sizeof line) && number_of(line, &bytes))
            bind_memory(l, bytes, what, path);
    }
    if (kind == UNIFIED && read_value(look, directory, "cpu.max", path, line, sizeof line)) {
        char *blank = strchr(line, ' ');
        const char *after = blank ? blank + 1 : "100000"; /* microseconds */
        if (blank)
            *blank = '\0';
        if (number_of(line, &quota) && number_of(after, &period) && period)
            bind_quota(l, (double)quota / (double)period, "cgroup cpu.max", path);
    }
    if (kind == V1_CPU && read_value(look, directory, "cpu.cfs_period_us", path, line, sizeof line) &&
        number_of(line, &period) && period &&
        read_value(look, directory, "cpu.cfs_quota_us", path, line, sizeof line) &&
        number_of(line, &quota)) /* -1: none */
        bind_quota(l, (double)quota / (double)period, "cgroup cpu.cfs_quota_us", path);
}

/* `top` and all groups below it on the way to top/below; "/a/b" or "". */
static void read_groups(struct look *look, const char *top, const char *below, enum kind kind,
                        struct fdit_limits *l)
{
    char path[PATH];
    size_t length = strlen(top);
    while (length > 1 && top[length - 1] == '/')
        length--;
    if (!set_text(path, sizeof path, "%.*s%s", (int)length, top, strcmp(below, "/") ? below : ""))
        set_text(path, sizeof path, "%.*s", (int)length, top);
    for (;;) {
        read_group(look, path, kind, l);
        char *slash = strrchr(path, '/');
        if (strlen(path) <= length || !slash || (size_t)(slash - path) < length)
            break;
        *slash = '\0';
    }
}

static bool has_word(const char *list, const char *word)
{
    for (size_t n = strlen(word); *list;) {
        size_t length = strcspn(list, ", \n");
        if (length == n && !strncmp(list, word, n))
            return true;
        list += length + (list[length] != '\0');
    }
    return false;
}

/* Our group of each kind, as /proc/self/cgroup names it; "": none is named. */
static void find_groups(struct look *look, char group[KINDS][PATH])
{
    char line[LINE];
    for (int i = 0; i < KINDS; i++)
        group[i][0] = '\0';
    FILE *f = open_file(look, "/proc/self/cgroup");
    while (f && next_line(look, f, line, sizeof line)) { /* number:controllers:path */
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        if (*path != '/' || strlen(path) >= PATH)
            continue;
        if (strstr(path, "/..")) /* outside our name space */
            path[1] = '\0';
        if (!*controllers)
            strcpy(group[UNIFIED], path);
        if (has_word(controllers, "memory"))
            strcpy(group[V1_MEMORY], path);
        if (has_word(controllers, "cpu"))
            strcpy(group[V1_CPU], path);
    }
    if (f)
        fclose(f);
}

/* \040 is a blank. */
static void unescape(char *text)
{
    char *to = text;
    for (; *text; to++)
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' &&
            text[3] >= '0' && text[3] <= '7') {
            *to = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
            text += 4;
        } else
            *to = *text++;
    *to = '\0';
}

/* The rest of `group` below `top`, or NULL: it is not below it. */
static const char *below(const char *group, const char *top)
{
    size_t n = strlen(top);
    if (n == 1 && *top == '/')
        return group;
    return !strncmp(group, top, n) && (group[n] == '/' || !group[n]) ? group + n : NULL;
}

/* A line of mountinfo: number parent device ROOT POINT options ... - TYPE source OPTIONS. */
static bool read_mount(char *line, char **top, char **point, bool is[KINDS])
{
    char *rest = strstr(line, " - "), *save = NULL, *field[5];
    if (!rest)
        return false;
    *rest = '\0';
    for (int i = 0; i < 5; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    char *type = strtok_r(rest + 3, " ", &save), *source = type ? strtok_r(NULL, " ", &save) : NULL;
    const char *options = source ? strtok_r(NULL, "", &save) : NULL;
    if (!options)
        return false;
    is[UNIFIED] = !strcmp(type, "cgroup2");
    is[V1_MEMORY] = !strcmp(type, "cgroup") && has_word(options, "memory");
    is[V1_CPU] = !strcmp(type, "cgroup") && has_word(options, "cpu");
    *top = field[3];
    *point = field[4];
    unescape(*top);
    unescape(*point);
    return true;
}

/* The mounts that show our groups; `elsewhere`: those that show others, as a last resort. */
static void read_mounts(struct look *look, char group[KINDS][PATH], bool elsewhere, bool found[KINDS],
                        struct fdit_limits *l)
{
    char line[LINE], *top, *point;
    bool is[KINDS];
    FILE *f = open_file(look, "/proc/self/mountinfo");
    while (f && next_line(look, f, line, sizeof line)) {
        if (!read_mount(line, &top, &point, is))
            continue;
        for (int i = 0; i < KINDS; i++) {
            const char *path = is[i] && *group[i] ? below(group[i], top) : NULL;
            if (path && !elsewhere) {
                read_groups(look, point, path, (enum kind)i, l);
                found[i] = true;
            } else if (is[i] && elsewhere && !found[i])
                read_groups(look, point, "", (enum kind)i, l);
        }
    }
    if (f)
        fclose(f);
}

static void read_cgroups(struct look *look, struct fdit_limits *l)
{
    /* Where they lie by custom: also seen when mountinfo does not tell, or files are laid over the mounts. */
    static const struct {
        const char *point;
        enum kind kind;
    } customary[] = {
        { "/sys/fs/cgroup", UNIFIED },
        { "/sys/fs/cgroup/unified", UNIFIED },
        { "/sys/fs/cgroup/memory", V1_MEMORY },
        { "/sys/fs/cgroup/cpu", V1_CPU },
        { "/sys/fs/cgroup/cpu,cpuacct", V1_CPU },
    };
    char group[KINDS][PATH];
    bool found[KINDS] = { false };
    find_groups(look, group);
    read_mounts(look, group, false, found, l);
    read_mounts(look, group, true, found, l);
    for (size_t i = 0; i < sizeof customary / sizeof *customary; i++)
        read_groups(look, customary[i].point, group[customary[i].kind], customary[i].kind, l);
}

/* ------------------------------------------------------------------------------------- the rest */

static void read_machine(struct look *look, struct fdit_limits *l)
{
    char text[LINE];
    unsigned long long kb;
    int online = read_line(look, "/sys/devices/system/cpu/online", text, sizeof text) ? count_list(text) : 0;
    if (!*look->root) {
        long asked = sysconf(_SC_NPROCESSORS_ONLN);
        online = asked > online && asked < MOST_PROCESSORS ? (int)asked : online;
        long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        l->machine_memory = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
    } else if (read_key(look, "/proc/meminfo", "MemTotal", text, sizeof text)) {
        text[strcspn(text, " ")] = '\0';
        if (number_of(text, &kb) && kb < most_memory >> 10)
            l->machine_memory = (size_t)kb << 10;
    }
    l->machine_processors = online;
    l->memory = l->machine_memory;
}

static int affinity(struct look *look)
{
    char text[LINE];
    if (!*look->root) {
        /* A mask of the kernel may be longer than cpu_set_t. */
        for (int most = 1024; most <= MOST_PROCESSORS; most *= 4) {
            cpu_set_t *set = CPU_ALLOC((size_t)most);
            size_t size = CPU_ALLOC_SIZE((size_t)most);
            int n = set && !sched_getaffinity(0, size, set) ? CPU_COUNT_S(size, set) : 0;
            bool again = set && !n && errno == EINVAL;
            if (!set)
                note_shortage(look, "the affinity mask", ENOMEM);
            else
                CPU_FREE(set);
            if (!again)
                return n;
        }
        return 0;
    }
    bool found = read_key(look, "/proc/self/status", "Cpus_allowed_list", text, sizeof text);
    return found ? count_list(text) : 0;
}

/* The first number of OMP_NUM_THREADS ("4,2" is for nested regions) or OMP_THREAD_LIMIT; 0: not set. */
static int threads_of(const char *variable)
{
    const char *text = getenv(variable);
    char first[32];
    unsigned long long n;
    if (!text)
        return 0;
    set_text(first, sizeof first, "%.*s", (int)strcspn(text, ","), text);
    return number_of(first, &n) && n > 0 && n < MOST_PROCESSORS ? (int)n : 0;
}

static void choose_threads(struct fdit_limits *l)
{
    int wanted = threads_of("OMP_NUM_THREADS"), most = threads_of("OMP_THREAD_LIMIT");
    l->threads = l->processors;
    if (wanted) {
        l->threads = wanted;
        set_text(l->threads_by, sizeof l->threads_by, "OMP_NUM_THREADS");
    }
    if (most && most < l->threads) {
        l->threads = most;
        set_text(l->threads_by, sizeof l->threads_by, "OMP_THREAD_LIMIT");
    }
}

static const struct {
    int which;
    const char *what;
} kinds[] = { { RLIMIT_AS, "RLIMIT_AS, ulimit -v" }, { RLIMIT_DATA, "RLIMIT_DATA, ulimit -d" } };

bool fdit_limits_refuse(size_t bytes, size_t *limit, const char **by)
{
    /* What the allocator asks for beyond the block. */
    const unsigned long long more = (1ull << 20) + bytes;
    unsigned long pages[2] = { 0 }; /* of all addresses, and of data and stack */
    long page = sysconf(_SC_PAGESIZE);
    char text[256] = ""; /* no stream: that would need memory */
    int fd = fdit_regular_open("/proc/self/statm", O_RDONLY);
    bool known = fd >= 0 && page > 0 && read(fd, text, sizeof text - 1) > 0 &&
                 sscanf(text, "%lu %*u %*u %*u %*u %lu", &pages[0], &pages[1]) == 2;
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; known && i < sizeof kinds / sizeof *kinds; i++) {
        struct rlimit r;
        if (getrlimit(kinds[i].which, &r) || r.rlim_cur == RLIM_INFINITY || r.rlim_cur > most_memory ||
            (unsigned long long)pages[i] * (unsigned long long)page + more <= r.rlim_cur)
            continue;
        *limit = (size_t)r.rlim_cur;
        *by = kinds[i].what;
        return true;
    }
    return false;
}

static void read_rlimits(struct fdit_limits *l)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct rlimit r;
        if (!getrlimit(kinds[i].which, &r) && r.rlim_cur != RLIM_INFINITY)
            bind_memory(l, r.rlim_cur, kinds[i].what, "");
    }
}

enum fdit_status fdit_limits_read(fdit_context *ctx, const struct fdit_limits_source *source,
                                  struct fdit_limits *out)
{
    struct look look = { .root = source && source->root ? source->root : "" };
    *out = (struct fdit_limits){ 0 };
    read_machine(&look, out);
    int mask = source && source->affinity > 0 ? source->affinity : affinity(&look);
    if (out->machine_processors < 1)
        out->machine_processors = mask > 0 ? mask : 1;
    out->processors = out->machine_processors;
    if (mask > 0 && mask < out->processors) {
        out->processors = mask;
        set_text(out->threads_by, sizeof out->threads_by, "affinity mask");
    }
    read_cgroups(&look, out);
    if (!*look.root)
        read_rlimits(out);
    choose_threads(out);
    if (!look.errnum)
        return FDIT_OK;
    return fdit_fail_errno(ctx, look.errnum == ENOMEM ? FDIT_ERROR_MEMORY : FDIT_ERROR_IO, look.errnum,
                           "what this process may use of the machine cannot be told: %s", look.path);
}
