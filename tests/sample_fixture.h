/* SPDX-License-Identifier: Apache-2.0
 * sample_fixture.h: sampling jobs on a tiny model of random weights: its files, how a job is run, and what is
 * compared. */
#ifndef FDIT_TESTS_SAMPLE_FIXTURE_H
#define FDIT_TESTS_SAMPLE_FIXTURE_H

#include "model_fixture.h"
#include "sample/job.h"

extern fdit_context *ctx;
extern fdit_device *dev;
extern char *folder; /* base.safetensors, delta.safetensors, older.safetensors, latent.safetensors */

enum { CLASSES = 5 };
extern const char taxonomy_tsv[];
extern const char by_genus[];
extern const char *const encoded[CLASSES];
extern const char *const names[CLASSES];

struct seen {
    size_t steps, pictures, kept;
    size_t stop_at; /* steps; 0: never */
};

/* x of a latents file by (class, seed). */
struct latents {
    float *x;
    int32_t *ids, *seeds;
    size_t n, item;
};

void make_models(void);
void remove_models(void);
const char *keep(int i, const char *name);
struct fdit_sample_options job(const char *out);
enum fdit_status run(const struct fdit_sample_options *o, struct fdit_sample_summary *summary,
                     struct seen *seen);
struct fdit_sample_summary must(const struct fdit_sample_options *o);
void must_fail(const struct fdit_sample_options *o, enum fdit_status status, const char *words);
uint8_t *bytes_of(size_t *n, const char *format, ...);
bool is_there(const char *format, ...);
void same_file(const char *a, const char *b);
void same_pictures(const char *a, const char *b, int per_class);
void check_manifest(const char *file, int per_class, size_t first, size_t stride, size_t seed);
struct latents read_latents(const char *path);
void free_latents(struct latents *l);
size_t same_rows(const struct latents *a, const struct latents *b, const char *what);

#endif
