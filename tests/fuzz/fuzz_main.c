/* SPDX-License-Identifier: Apache-2.0
 * fuzz_main.c: runs every stored input, its beginnings, and inputs with random changes: those of
 * tests/corpus/NAME when the program is fuzz_NAME. With arguments: runs these files only. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#ifndef TESTS_DIR
#define TESTS_DIR "tests"
#endif

enum { PREFIXES = 40, CHANGES = 60, MOST_BYTES = 1 << 20 };

/* Inputs that other tests have as well. */
static const struct {
    const char *name, *folder;
} shared[] = { { "safetensors", "fixtures/bad" }, { "pt", "fixtures/bad" }, { "picture", "fixtures/image" } };

static uint64_t state;

static uint64_t next_bits(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return n ? (size_t)(next_bits() % n) : 0;
}

/* A block of exactly n bytes, so that a sanitizer sees a read behind it. */
static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    FUZZ_CHECK(exact != NULL);
    if (n)
        memcpy(exact, bytes, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void change(uint8_t *bytes, size_t n)
{
    static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '9', '-', '/' };
    for (size_t k = 1 + below(4); n && k > 0; k--) {
        size_t at = below(n < 4096 || next_bits() & 1 ? n : 4096);
        uint64_t what = next_bits();
        if (what % 3 == 0)
            bytes[at] ^= (uint8_t)(1u << (what >> 8 & 7));
        else if (what % 3 == 1)
            bytes[at] = telling[(what >> 8) % sizeof telling];
        else
            memmove(bytes + at, bytes + below(n), below(n - at < 16 ? n - at : 16) % (n - at) / 2);
    }
}

static int run_file(const char *path, int vary)
{
    static uint8_t bytes[MOST_BYTES], changed[MOST_BYTES];
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    run(bytes, n);
    for (int k = 0; vary && k < PREFIXES; k++)
        run(bytes, below(n));
    for (int k = 0; vary && k < CHANGES; k++) {
        memcpy(changed, bytes, n);
        change(changed, n);
        run(changed, n);
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that a seed repeats a run. Returns the number of files. */
static int run_folder(const char *folder)
{
    enum { MOST = 4096 };
    static char *paths[MOST];
    int n = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return 0;
    for (struct dirent *e; n < MOST && (e = readdir(dir));) {
        size_t bytes = strlen(folder) + strlen(e->d_name) + 2;
        struct stat st;
        paths[n] = malloc(bytes);
        FUZZ_CHECK(paths[n] != NULL);
        snprintf(paths[n], bytes, "%s/%s", folder, e->d_name);
        if (stat(paths[n], &st) == 0 && S_ISREG(st.st_mode))
            n++;
        else
            free(paths[n]);
    }
    closedir(dir);
    qsort(paths, (size_t)n, sizeof *paths, by_name);
    int failures = 0;
    for (int i = 0; i < n; i++) {
        failures += run_file(paths[i], 1);
        free(paths[i]);
    }
    FUZZ_CHECK(failures == 0);
    return n;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        int failures = 0;
        for (int i = 1; i < argc; i++)
            failures += run_file(argv[i], 0);
        return failures ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    const char *seed = getenv("FDIT_TEST_SEED");
    state = seed && *seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) % 1000000;
    printf("FDIT_TEST_SEED=%llu\n", (unsigned long long)state);
    fflush(stdout);
    const char *slash = strrchr(argv[0], '/'), *name = strstr(slash ? slash : argv[0], "fuzz_");
    FUZZ_CHECK(name != NULL);
    name += strlen("fuzz_");
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/corpus/%s", TESTS_DIR, name);
    int n = run_folder(folder);
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (strcmp(name, shared[i].name) == 0) {
            snprintf(folder, sizeof folder, "%s/%s", TESTS_DIR, shared[i].folder);
            n += run_folder(folder);
        }
    printf("%d files, each with %d beginnings and %d changes\n", n, PREFIXES, CHANGES);
    if (n == 0)
        fprintf(stderr, "no inputs in %s\n", folder);
    return n ? EXIT_SUCCESS : EXIT_FAILURE;
}
