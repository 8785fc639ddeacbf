/* SPDX-License-Identifier: Apache-2.0
 * data_fixture.h: temporary folders of small pictures for the tests of data sets and the loader. */
#ifndef FDIT_TESTS_DATA_FIXTURE_H
#define FDIT_TESTS_DATA_FIXTURE_H

#include "core/status.h"

/* A new empty folder under $TMPDIR or /tmp; its path is freed with free. */
char *test_folder(void);
/* Removes a folder with all that is in it, and frees its path. */
void test_folder_remove(char *path);
/* path of a file in it, made with printf; good until sixteen calls later. */
const char *test_path(const char *folder, const char *format, ...) FDIT_PRINTF(2, 3);

/* A PNG of side x side pixels in colours that `number` decides (and noise inside), at folder/name;
 * the folders on the way are made. */
void test_picture(fdit_context *ctx, const char *folder, const char *name, int side, unsigned number);
/* Any bytes at folder/name. */
void test_file(fdit_context *ctx, const char *folder, const char *name, const void *bytes, size_t n);
/* n_classes folders c000, c001, ... of n_pictures pictures p00000.png, ... each; picture i of class
 * c has the number 1000 c + i. */
void test_classes(fdit_context *ctx, const char *folder, int n_classes, int n_pictures, int side);

#endif
