/* SPDX-License-Identifier: Apache-2.0
 * contact_sheet.h: the contact sheet of a job: a row for each class, its pictures k = 0, 1, ... beside
 * each other, and before them, if asked, a real picture of the class. Classes of one group stand
 * under its name. More than FDIT_CONTACT_SHEET_ROWS classes make several pages: sheet-1.png, sheet-2.png,
 * ... Of very long requests the beginning is shown. */
#ifndef FDIT_SAMPLE_CONTACT_SHEET_H
#define FDIT_SAMPLE_CONTACT_SHEET_H

#include "data/dataset.h"
#include "picture/picture.h"
#include "sample/request.h"

enum { FDIT_CONTACT_SHEET_ROWS = 100 /* of a page */, FDIT_CONTACT_SHEET_COLUMNS = 16 };

struct fdit_contact_sheet;

/* The data set at `path`, whose classes are all in the taxonomy, for real pictures read by `rules`; and for
 * the plan what reading one of them takes. Close *out with fdit_dataset_close, also after a failure. */
enum fdit_status fdit_contact_sheet_real(fdit_context *ctx, const char *path,
                                         const struct fdit_taxonomy *taxonomy, int size, int channels,
                                         const struct fdit_picture_rules *rules, struct fdit_dataset **out,
                                         size_t *bytes);
/* Pictures of side `size`. real: from fdit_contact_sheet_real, NULL: none; read here and not needed any more
 * afterwards. request and taxonomy must outlive the sheet. Free with fdit_contact_sheet_free. */
enum fdit_status fdit_contact_sheet_new(fdit_context *ctx, const struct fdit_request *request,
                                        const struct fdit_taxonomy *taxonomy, int size, int channels,
                                        const struct fdit_dataset *real, struct fdit_contact_sheet **out);
void fdit_contact_sheet_free(struct fdit_contact_sheet *c); /* NULL is allowed */
/* For plans: the most memory that the sheet of a request takes, with a real picture of each class if `real`,
 * from here to fdit_contact_sheet_write; and that of any request whose classes have equally many pictures, so
 * many all together, or fewer. Without what reading real pictures takes. */
enum fdit_status fdit_contact_sheet_bytes(fdit_context *ctx, const struct fdit_request *request,
                                          const struct fdit_taxonomy *taxonomy, int size, int channels,
                                          bool real, size_t *bytes);
enum fdit_status fdit_contact_sheet_most_bytes(fdit_context *ctx, size_t pictures,
                                               const struct fdit_taxonomy *taxonomy, int size, int channels,
                                               size_t *bytes);
bool fdit_contact_sheet_wants(const struct fdit_contact_sheet *c, const struct fdit_request_item *item);
/* Keeps a copy; RGB pictures are taken as grey where the sheet is grey. One of another size is
 * refused. */
enum fdit_status fdit_contact_sheet_put(fdit_context *ctx, struct fdit_contact_sheet *c,
                                        const struct fdit_request_item *item, const struct fdit_picture *p);
/* Draws and writes the PNG at `path`, or its pages. The number of classes shown is in the title
 * when it is not all. */
enum fdit_status fdit_contact_sheet_write(fdit_context *ctx, const struct fdit_contact_sheet *c,
                                          const char *title, const char *path);
size_t fdit_contact_sheet_rows(const struct fdit_contact_sheet *c); /* classes shown */
size_t fdit_contact_sheet_pages(const struct fdit_contact_sheet *c);
/* Those that a sheet of this request will have, without real pictures. */
size_t fdit_contact_sheet_pages_of(const struct fdit_request *request, int size, int channels);
/* The file of page i from 0 of `pages`: "sheet.png" for a single one, else "sheet-1.png". Free with
 * fdit_free. */
enum fdit_status fdit_contact_sheet_file(fdit_context *ctx, const char *path, size_t i, size_t pages,
                                         char **out);

/* The first line of a sheet: which weights, how sampled. guide NULL: none. */
struct fdit_contact_sheet_title {
    const char *base, *delta, *model, *sampler, *guide, *precision;
    int steps;
    double w;
    bool clip_x0;
};
enum fdit_status fdit_contact_sheet_title(fdit_context *ctx, const struct fdit_contact_sheet_title *t,
                                          char **out);

#endif
