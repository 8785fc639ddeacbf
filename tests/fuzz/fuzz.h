/* SPDX-License-Identifier: Apache-2.0
 * fuzz.h: what a fuzzed format gives. With libFuzzer (configure --enable-fuzzers CC=clang) a program
 * looks for inputs; without, fuzz_main.c runs the stored ones and simple variations as a test. Inputs of
 * fuzz_NAME are in tests/corpus/NAME. */
#ifndef FDIT_TESTS_FUZZ_H
#define FDIT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Stays in optimised builds. */
#define FUZZ_CHECK(condition)                                                             \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

#endif
