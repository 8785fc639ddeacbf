/* SPDX-License-Identifier: Apache-2.0
 * loader.c: pictures per second of the training loader alone.
 *
 *     loader DATA SIZE BATCH WORKERS PICTURES
 *
 * Opens DATA as `train` does, takes PICTURES pictures in batches (shuffled, mirrored, f32, no
 * cache) and prints one line of JSON: seconds of the index, seconds of the batches, pictures, bytes
 * of the index, and the mean of all numbers, which any other loader of the same pictures must
 * reach. bench/peers/loader.py runs it against PyTorch's. `make bench/loader` builds it. */
#include "core/clock.h"
#include "data/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double processor_seconds(long *peak_kilobytes)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    *peak_kilobytes = u.ru_maxrss;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static enum fdit_status measure(fdit_context *ctx, char **argv)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = NULL;
    struct fdit_loader *l = NULL;
    struct fdit_batch b;
    int size = atoi(argv[2]);
    size_t batch = (size_t)atol(argv[3]), pictures = (size_t)atol(argv[5]), done = 0;
    double start = fdit_clock_seconds(), sum = 0;
    TRY(fdit_dataset_open(
        ctx, argv[1],
        &(struct fdit_dataset_options){ .size = size, .channels = 3, .flip = true, .allow_missing = true },
        &ds));
    long peak;
    double opened = fdit_clock_seconds(), processor = processor_seconds(&peak);
    struct fdit_dataset_info info = fdit_dataset_info(ds);
    TRY(fdit_loader_open(
        ctx, ds, NULL, 0,
        &(struct fdit_loader_options){ .batch = batch, .seed = 1, .flip = true, .workers = atoi(argv[4]) },
        &l));
    double seconds = 0;
    while (done < pictures) {
        TRY(fdit_loader_next(ctx, l, &b));
        size_t n = 3 * (size_t)size * (size_t)size;
        for (size_t i = 0; i < b.n; i++) /* one pixel in 64: what the consumer does is not measured */
            for (size_t k = 0; k < n; k += 64)
                sum += (double)b.x[i * n + k];
        done += b.n;
    }
    seconds = fdit_clock_seconds() - opened;
    processor = processor_seconds(&peak) - processor;
    printf("{\"index_seconds\":%.4f,\"seconds\":%.4f,\"processor_seconds\":%.4f,"
           "\"pictures\":%zu,\"n\":%zu,\"index_bytes\":%zu,\"peak_kilobytes\":%ld,"
           "\"mean\":%.6f}\n",
           opened - start, seconds, processor, done, info.n, info.memory_bytes, peak,
           done ? sum / ((double)done * 3.0 * size * size / 64) : 0.0);
out:
    fdit_loader_close(l);
    fdit_dataset_close(ds);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: loader DATA SIZE BATCH WORKERS PICTURES\n");
        return 2;
    }
    fdit_context *ctx = fdit_context_new();
    enum fdit_status status = ctx ? measure(ctx, argv) : FDIT_ERROR_MEMORY;
    if (status != FDIT_OK)
        fprintf(stderr, "loader: %s\n", ctx ? fdit_context_message(ctx) : "no memory");
    fdit_context_free(ctx);
    return status != FDIT_OK;
}
