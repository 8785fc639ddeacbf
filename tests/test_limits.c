/* SPDX-License-Identifier: Apache-2.0
 * test_limits.c: what the process may use, from made-up /proc and /sys: both versions of control groups,
 * mixed, with and without a name space, nested; numbers that are none; files that are missing. */
#include "core/limits.h"
#include "core/share.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/fdit-limits-XXXXXX";

static int remove_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s;
    (void)flag;
    (void)f;
    return remove(path);
}

/* An empty machine: 64 processors, all allowed, 64 GiB. */
static void put(const char *path, const char *text)
{
    char name[4096];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ck_assert(!mkdir(name, 0700) || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(name, "w");
    ck_assert_msg(f && fputs(text, f) >= 0 && !fclose(f), "%s", name);
}

static void machine(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    ck_assert(!mkdir(root, 0700));
    put("/sys/devices/system/cpu/online", "0-63\n");
    put("/proc/meminfo", "MemTotal:       67108864 kB\nMemFree:        1 kB\n");
    put("/proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-63\n");
}

static struct fdit_limits limits(void)
{
    struct fdit_limits l;
    ck_assert_int_eq(fdit_limits_read(NULL, &(struct fdit_limits_source){ .root = root }, &l), FDIT_OK);
    return l;
}

static const size_t MiB = 1 << 20;

#define check_limits(n, n_by, mib, mib_by)                 \
    do {                                                   \
        struct fdit_limits l_ = limits();                  \
        ck_assert_int_eq(l_.machine_processors, 64);       \
        ck_assert_uint_eq(l_.machine_memory, 65536 * MiB); \
        ck_assert_int_eq(l_.threads, n);                   \
        ck_assert_str_eq(l_.threads_by, n_by);             \
        ck_assert_uint_eq(l_.memory / MiB, mib);           \
        ck_assert_str_eq(l_.memory_by, mib_by);            \
    } while (0)

#define V2_MOUNT "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS                                                                             \
    "31 30 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n" \
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"   \
    "33 30 0:29 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"

START_TEST(no_limits)
{
    machine();
    check_limits(64, "", 65536, "");
    put("/proc/self/cgroup", "0::/user.slice\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/memory.max", "max\n");
    put("/sys/fs/cgroup/user.slice/memory.high", "max\n");
    check_limits(64, "", 65536, "");
}
END_TEST

START_TEST(version_2)
{
    machine();
    put("/proc/self/cgroup", "0::/\n"); /* a name space of its own */
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/memory.max", "536870912\n");
    check_limits(2, "cgroup cpu.max 2.0, /sys/fs/cgroup/cpu.max", 512,
                 "cgroup memory.max, /sys/fs/cgroup/memory.max");
    ck_assert(limits().quota == 2);
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    ck_assert_int_eq(limits().threads, 2); /* 1.5, rounded up */
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    check_limits(1, "cgroup cpu.max 0.5, /sys/fs/cgroup/cpu.max", 512,
                 "cgroup memory.max, /sys/fs/cgroup/memory.max");
    put("/sys/fs/cgroup/cpu.max", "30000\n"); /* the period is 100000 */
    ck_assert_int_eq(limits().threads, 1);
    put("/sys/fs/cgroup/memory.high", "104857600");
    ck_assert_uint_eq(limits().memory, 100 * MiB);
    ck_assert_str_eq(limits().memory_by, "cgroup memory.high, /sys/fs/cgroup/memory.high");
}
END_TEST

START_TEST(nested_the_smallest_wins)
{
    machine();
    put("/proc/self/cgroup", "0::/a.slice/b c.scope/d\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a.slice/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/a.slice/b c.scope/cpu.max", "800000 200000\n");
    put("/sys/fs/cgroup/a.slice/b c.scope/d/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a.slice/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/a.slice/b c.scope/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/a.slice/b c.scope/d/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/other/memory.max", "1048576000\n"); /* not on our way */
    put("/sys/fs/cgroup/other/cpu.max", "100000 100000\n");
    check_limits(3, "cgroup cpu.max 3.0, /sys/fs/cgroup/a.slice/cpu.max", 1024,
                 "cgroup memory.max, /sys/fs/cgroup/a.slice/b c.scope/memory.max");
}
END_TEST

START_TEST(version_1)
{
    machine();
    put("/proc/self/cgroup", "9:name=systemd:/x\n5:cpuacct,cpu:/jobs/7\n4:memory:/jobs/7/step\n0::/x\n");
    put("/proc/self/mountinfo", V1_MOUNTS);
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "400000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put("/sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "2147483648\n");
    put("/sys/fs/cgroup/memory/jobs/7/step/memory.limit_in_bytes", "9223372036854771712\n");
    check_limits(4, "cgroup cpu.cfs_quota_us 4.0, /sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", 2048,
                 "cgroup memory.limit_in_bytes, /sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes");
}
END_TEST

/* A container without a name space: named by the host's path, whose end is mounted. */
START_TEST(container_of_version_1)
{
    machine();
    put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n");
    put("/proc/self/mountinfo",
        "32 30 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro master:10 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 30 0:29 /docker/abc /sys/fs/cgroup/memory ro master:11 - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    check_limits(3, "cgroup cpu.cfs_quota_us 2.5, /sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", 1024,
                 "cgroup memory.limit_in_bytes, /sys/fs/cgroup/memory/memory.limit_in_bytes");
    /* A process in a group below the container's. */
    put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc/sub\n4:memory:/docker/abc/sub\n");
    put("/sys/fs/cgroup/memory/sub/memory.limit_in_bytes", "536870912\n");
    ck_assert_uint_eq(limits().memory, 512 * MiB);
    ck_assert_int_eq(limits().threads, 3);
}
END_TEST

/* Mounts with odd names, and mounts of groups that are not ours. */
START_TEST(odd_mounts)
{
    machine();
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo",
        "29 20 0:26 /other /mnt/not\\040ours rw - cgroup2 cgroup2 rw\n"
        "30 20 0:26 / /mnt/my\\040groups rw,nosuid shared:4 master:2 - cgroup2 none rw\n"
        "a line that is none\n31 20\n - \n");
    put("/mnt/my groups/job/memory.max", "1073741824");
    put("/mnt/not ours/memory.max", "2097152");
    put("/mnt/not ours/cpu.max", "100000 100000");
    check_limits(64, "", 1024, "cgroup memory.max, /mnt/my groups/job/memory.max");
    /* The mount shows a group that is not said to be ours: better than nothing. */
    put("/proc/self/cgroup", "0::/../../job\n");
    put("/proc/self/mountinfo", "30 20 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/memory.max", "536870912");
    ck_assert_uint_eq(limits().memory, 512 * MiB);
}
END_TEST

START_TEST(both_versions)
{
    machine();
    put("/proc/self/cgroup", "4:memory:/m\n3:cpu:/\n0::/u\n");
    put("/proc/self/mountinfo", "31 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                                "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/unified/u/cpu.max", "500000 100000");
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1073741824");
    check_limits(5, "cgroup cpu.max 5.0, /sys/fs/cgroup/unified/u/cpu.max", 1024,
                 "cgroup memory.limit_in_bytes, /sys/fs/cgroup/memory/m/memory.limit_in_bytes");
}
END_TEST

/* Without mountinfo, or with other files laid over the mounts. */
START_TEST(customary_places)
{
    machine();
    put("/sys/fs/cgroup/memory.max", "536870912\n");
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    check_limits(1, "cgroup cpu.max 1.0, /sys/fs/cgroup/cpu.max", 512,
                 "cgroup memory.max, /sys/fs/cgroup/memory.max");
    machine();
    put("/proc/self/cgroup", "4:memory:/gone\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_uint_eq(limits().memory, 256 * MiB);
    ck_assert_int_eq(limits().threads, 2);
}
END_TEST

START_TEST(no_sensible_numbers)
{
    static const char *const numbers[] = { "",
                                           "\n",
                                           "max",
                                           "-1",
                                           "0",
                                           "12x",
                                           "1 000 000 000",
                                           "4095",
                                           "0x10",
                                           "1e9",
                                           "4611686018427387904",
                                           "99999999999999999999999999" };
    machine();
    put("/proc/self/cgroup", "0::/\n4:memory:/\n3:cpu:/\n");
    put("/proc/self/mountinfo", V2_MOUNT V1_MOUNTS);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        put("/sys/fs/cgroup/memory.max", numbers[i]);
        put("/sys/fs/cgroup/memory/memory.limit_in_bytes", numbers[i]);
        check_limits(64, "", 65536, "");
    }
    static const char *const quotas[] = { "",
                                          "max",
                                          "100000 0",
                                          "0 100000",
                                          "-1 100000",
                                          "x y",
                                          "100000 x",
                                          "99999999999999999999 100000",
                                          "18446744073709551615 1",
                                          "max max" };
    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++) {
        put("/sys/fs/cgroup/cpu.max", quotas[i]);
        check_limits(64, "", 65536, "");
    }
    put("/sys/fs/cgroup/cpu.max", "1 1000000\n"); /* less than any processor: still one */
    ck_assert_int_eq(limits().threads, 1);
    put("/sys/fs/cgroup/cpu.max", "12800000 100000\n"); /* more than there are */
    ck_assert_int_eq(limits().threads, 64);
}
END_TEST

/* What lies in the place of a file and is not one is not there, and nobody waits for it. */
START_TEST(not_files)
{
    static const char *const paths[] = { "/proc/self/cgroup", "/proc/self/mountinfo",
                                         "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory.high" };
    for (int kind = 0; kind < 4; kind++) {
        machine();
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
            char name[4096];
            put(paths[i], "1\n"); /* the folders above it */
            snprintf(name, sizeof name, "%s%s", root, paths[i]);
            ck_assert(!unlink(name));
            ck_assert(!(kind == 0   ? mkfifo(name, 0600)
                        : kind == 1 ? mkdir(name, 0700)
                                    : symlink(kind == 2 ? "/dev/zero" : name, name)));
        }
        check_limits(64, "", 65536, "");
        /* What is beside them still holds. */
        put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
        ck_assert_uint_eq(limits().memory, 1024 * MiB);
    }
}
END_TEST

static void put_long(const char *path, const char *before, size_t n, char letter, const char *behind)
{
    char *text = malloc(strlen(before) + n + strlen(behind) + 1);
    ck_assert_ptr_nonnull(text);
    size_t at = strlen(before);
    memcpy(text, before, at);
    memset(text + at, letter, n);
    strcpy(text + at + n, behind);
    put(path, text);
    free(text);
}

/* Lines too long for any file of the system are passed over as a whole: no part of one is a number or another
 * line. The lines behind them hold. */
START_TEST(long_lines)
{
    enum { LONG = 100000 };
    machine();
    put_long("/proc/self/cgroup", "0::/", LONG, 'x', "\n0::/job\n");
    put_long("/proc/self/mountinfo", "29 20 0:25 / /", LONG, 'y',
             " 30 20 0:26 / /elsewhere rw - cgroup2 cgroup2 rw\n" V2_MOUNT);
    put("/elsewhere/job/memory.max", "2097152\n");
    put("/elsewhere/memory.max", "2097152\n");
    put("/sys/fs/cgroup/job/memory.max", "1073741824\n");
    put_long("/sys/fs/cgroup/job/cpu.max", "100000 100000", LONG, ' ', "\n");
    put_long("/sys/fs/cgroup/memory.max", "5368709", LONG, '1', "\n");
    check_limits(64, "", 1024, "cgroup memory.max, /sys/fs/cgroup/job/memory.max");
    put_long("/proc/self/status", "Groups:\t", LONG, '0', " Cpus_allowed_list:\t0\nCpus_allowed_list:\t5\n");
    check_limits(1, "affinity mask", 1024, "cgroup memory.max, /sys/fs/cgroup/job/memory.max");
    put_long("/proc/self/status", "Cpus_allowed_list:\t0-3,", LONG, '1', "\n");
    ck_assert_int_eq(limits().threads, 64);
    /* A group whose name is as long as a path may be, and one that is longer. */
    put_long("/proc/self/cgroup", "0::/job/", 4000, 'z', "\n");
    check_limits(64, "", 1024, "cgroup memory.max, /sys/fs/cgroup/job/memory.max");
    put_long("/proc/self/cgroup", "0::/job/", 4090, 'z',
             "\n"); /* it is not known which: the root of the mount */
    ck_assert_uint_eq(limits().memory, 65536 * MiB);
}
END_TEST

/* A zero byte in a file of the system: another one is damaged, not the rest. */
START_TEST(zero_bytes)
{
    char name[4096];
    machine();
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/memory.max", "");
    snprintf(name, sizeof name, "%s/sys/fs/cgroup/memory.max", root);
    FILE *f = fopen(name, "w");
    ck_assert(f && fwrite("2097152\0\n", 1, 9, f) == 9 && !fclose(f));
    check_limits(3, "cgroup cpu.max 3.0, /sys/fs/cgroup/cpu.max", 65536, "");
}
END_TEST

START_TEST(masks_and_variables)
{
    machine();
    put("/proc/self/status", "Cpus_allowed_list:\t0-3,8,10-11\n");
    check_limits(7, "affinity mask", 65536, "");
    put("/sys/fs/cgroup/cpu.max", "500000 100000\n");
    ck_assert_int_eq(limits().threads, 5);
    struct fdit_limits l;
    ck_assert_int_eq(fdit_limits_read(NULL, &(struct fdit_limits_source){ .root = root, .affinity = 3 }, &l),
                     FDIT_OK);
    ck_assert_int_eq(l.threads, 3);
    setenv("OMP_NUM_THREADS", "6,2", 1);
    check_limits(6, "OMP_NUM_THREADS", 65536, ""); /* asked for by name: more than the quota is allowed */
    ck_assert_int_eq(limits().processors, 5);
    setenv("OMP_THREAD_LIMIT", "4", 1);
    check_limits(4, "OMP_THREAD_LIMIT", 65536, "");
    static const char *const bad[] = { "", "abc", "0", "-3", "1e3", "99999999999", "4x" };
    unsetenv("OMP_THREAD_LIMIT");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("OMP_NUM_THREADS", bad[i], 1);
        ck_assert_int_eq(limits().threads, 5);
    }
    unsetenv("OMP_NUM_THREADS");
    static const char *const lists[] = { "", "x", "3-1", "0-", "0-99999999999999999999", "1;2", "-1" };
    machine();
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char line[80];
        snprintf(line, sizeof line, "Cpus_allowed_list:\t%s\n", lists[i]);
        put("/proc/self/status", line);
        ck_assert_int_eq(limits().threads, 64);
    }
}
END_TEST

START_TEST(nothing_there)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    struct fdit_limits l = limits();
    ck_assert_int_eq(l.threads, 1);
    ck_assert_uint_eq(l.memory, 0);
    ck_assert_str_eq(l.memory_by, "");
}
END_TEST

/* This machine, whatever it is. */
START_TEST(here)
{
    struct fdit_limits l, one;
    ck_assert_int_eq(fdit_limits_read(NULL, NULL, &l), FDIT_OK);
    ck_assert_int_ge(l.threads, 1);
    ck_assert_int_ge(l.machine_processors, l.processors);
    ck_assert_uint_ge(l.machine_memory, l.memory);
    ck_assert_uint_gt(l.memory, MiB);
    cpu_set_t before, set;
    ck_assert(!sched_getaffinity(0, sizeof before, &before));
    CPU_ZERO(&set);
    for (size_t i = 0; i < CPU_SETSIZE && !CPU_COUNT(&set); i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &set);
    ck_assert(!sched_setaffinity(0, sizeof set, &set));
    ck_assert_int_eq(fdit_limits_read(NULL, NULL, &one), FDIT_OK);
    ck_assert_int_eq(one.processors, 1);
    ck_assert(!sched_setaffinity(0, sizeof before, &before));
}
END_TEST

/* Out of descriptors, limits that are there could be missed: that is a failure, not "no limits". */
START_TEST(no_descriptors)
{
    machine();
    fdit_context *ctx = fdit_context_new();
    struct fdit_limits l;
    struct rlimit before, few;
    ck_assert(ctx && !getrlimit(RLIMIT_NOFILE, &before));
    const int probe = open("/", O_RDONLY); /* the lowest that is free */
    ck_assert(probe >= 0 && !close(probe));
    few = (struct rlimit){ .rlim_cur = (rlim_t)probe, .rlim_max = before.rlim_max };
    const struct fdit_limits_source sources[] = { { .root = root }, { .root = "" } };
    for (size_t i = 0; i < 2; i++) {
        ck_assert(!setrlimit(RLIMIT_NOFILE, &few));
        const enum fdit_status status = fdit_limits_read(ctx, &sources[i], &l);
        ck_assert(!setrlimit(RLIMIT_NOFILE, &before));
        ck_assert_int_eq(status, FDIT_ERROR_IO);
        ck_assert_ptr_nonnull(
            strstr(fdit_context_message(ctx), "/sys/devices/system/cpu/online: Too many open"));
        ck_assert_int_eq(fdit_limits_read(ctx, &sources[i], &l), FDIT_OK);
    }
    fdit_context_free(ctx);
}
END_TEST

/* Whose processors other programs took, and who only waited. */
START_TEST(shares)
{
    static const struct {
        struct fdit_share used;
        int threads;
        bool poor;
    } cases[] = {
        { { .wall = 10, .cpu = 3, .preempted = 700 }, 1, true },     /* three others beside it */
        { { .wall = 10, .cpu = 9, .preempted = 3000 }, 2, true },    /* one of two processors gone */
        { { .wall = 10, .cpu = 9.9, .preempted = 200 }, 1, false },  /* alone */
        { { .wall = 10, .cpu = 5.5, .preempted = 2000 }, 1, false }, /* a fair half */
        { { .wall = 10, .cpu = 3, .preempted = 60 }, 1, false },     /* waited for a disk */
        { { .wall = 10, .cpu = 12, .preempted = 240 }, 8, false },   /* work for two of eight threads */
        { { .wall = 1, .cpu = 0.2, .preempted = 100 }, 1, false },   /* too short to tell */
        { { .wall = 10, .cpu = 0, .preempted = 0 }, 1, false },      /* nothing is known */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(fdit_share_is_poor(&cases[i].used, cases[i].threads) == cases[i].poor, "case %zu", i);
    struct fdit_share begun, used;
    fdit_share_begin(&begun);
    do
        used = fdit_share_since(&begun);
    while (used.cpu < 0.05);
    ck_assert(used.wall >= 0.04 && used.preempted >= 0);
}
END_TEST

int main(void)
{
    unsetenv("OMP_NUM_THREADS");
    unsetenv("OMP_THREAD_LIMIT");
    if (!mkdtemp(root))
        return 99;
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("limits");
    tcase_add_test(tcase, no_limits);
    tcase_add_test(tcase, version_2);
    tcase_add_test(tcase, nested_the_smallest_wins);
    tcase_add_test(tcase, version_1);
    tcase_add_test(tcase, container_of_version_1);
    tcase_add_test(tcase, odd_mounts);
    tcase_add_test(tcase, both_versions);
    tcase_add_test(tcase, customary_places);
    tcase_add_test(tcase, no_sensible_numbers);
    tcase_add_test(tcase, not_files);
    tcase_add_test(tcase, long_lines);
    tcase_add_test(tcase, zero_bytes);
    tcase_add_test(tcase, masks_and_variables);
    tcase_add_test(tcase, nothing_there);
    tcase_add_test(tcase, here);
    tcase_add_test(tcase, no_descriptors);
    tcase_add_test(tcase, shares);
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return result;
}
