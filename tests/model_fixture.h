/* SPDX-License-Identifier: Apache-2.0
 * model_fixture.h: fixtures of whole models: files, tolerances, devices. */
#ifndef FDIT_TESTS_MODEL_FIXTURE_H
#define FDIT_TESTS_MODEL_FIXTURE_H

#include "device/device.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "harness.h"
#include "model/checkpoint.h"

/* The devices of FDIT_TEST_DEVICE (a comma list), default "ref,cpu" and, where the processor has such
 * products, "cpu+bf16" and "cpu+int8": behind the plus a precision; "cpu+int8@ISA" for each of its lesser
 * instruction sets that has int8 but not bf16. Returns how many names were set. */
int test_devices(const char *names[8]);
/* Those, and the first OpenCL device where there is one. */
int test_all_devices(fdit_context *ctx, const char *names[8]);
fdit_device *test_open_device(fdit_context *ctx, const char *name, int threads);

struct fdit_safetensors *test_open(fdit_context *ctx, const char *file);
/* A JSON file of the fixtures; freed with json_decref. */
json_t *test_json(fdit_context *ctx, const char *file);
/* A tensor of the file as floats or int32, freed with fdit_free; the test fails when it is absent. */
float *test_floats(fdit_context *ctx, const struct fdit_safetensors *st, const char *name, size_t *n);
int32_t *test_ints(fdit_context *ctx, const struct fdit_safetensors *st, const char *name, size_t *n);

/* Noise as fixtures of drawing hold it, for struct fdit_noise: x_T, then [steps, pictures, item]. */
struct test_noise {
    const float *start, *noise;
    size_t pictures, steps; /* steps 0: as many as are asked for */
};
void test_fill_noise(void *noise, int picture, int step, float *out, size_t n);

/* A model of the fixture's weights, loaded and allocated. `file` e.g. "dit.safetensors". */
struct fdit_model *test_load_model(fdit_context *ctx, fdit_device *dev, const char *file,
                                   const struct fdit_model_options *options);

/* bf16 is allowed a normalised mean square error for each kind of tensor: 1e-4 in outputs, 4e-3 in trained
 * gradients; f32 what tolerances.json says. */
enum fdit_dtype test_precision(void); /* of the device opened last */

/* Fails unless got agrees with wanted within the row `key` of tolerances.json (both columns);
 * up to `exceptions` elements may be off by at most `exception_size`. */
void test_agree_except(const char *key, const char *what, const float *got, const float *wanted, size_t n,
                       size_t exceptions, double exception_size);
void test_agree(const char *key, const char *what, const float *got, const float *wanted, size_t n);
bool test_has_tolerance(const char *key);

#endif
