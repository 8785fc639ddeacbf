/* SPDX-License-Identifier: Apache-2.0
 * test_grid.c: contact sheets: where pictures and letters land, what is refused. The environment
 * variable FDIT_TEST_GRID=FILE.png keeps a sheet to look at. */
#include "core/mem.h"
#include "format/font.h"
#include "format/grid.h"
#include "format/png.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

static const uint8_t black[3] = { 0, 0, 0 };

START_TEST(test_glyphs)
{
    for (int c = 33; c < 127; c++) {
        int dots = 0;
        for (int row = 0; row < FDIT_FONT_ROWS; row++) {
            ck_assert_uint_lt(fdit_font_glyphs[c - 32][row], 32);
            for (int bit = 0; bit < 5; bit++)
                dots += fdit_font_glyphs[c - 32][row] >> bit & 1;
        }
        ck_assert_msg(dots >= 2 && dots <= 24, "'%c' has %d dots", c, dots);
        for (int other = 32; other < c; other++)
            ck_assert_msg(
                memcmp(fdit_font_glyphs[c - 32], fdit_font_glyphs[other - 32], FDIT_FONT_ROWS) != 0,
                "'%c' looks like '%c'", c, other);
        /* capitals and digits stand on the base line and keep out of the descenders */
        if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
            ck_assert(fdit_font_glyphs[c - 32][0] != 0 && fdit_font_glyphs[c - 32][6] != 0);
            ck_assert(fdit_font_glyphs[c - 32][7] == 0 && fdit_font_glyphs[c - 32][8] == 0);
        }
    }
    for (int row = 0; row < FDIT_FONT_ROWS; row++)
        ck_assert_uint_eq(fdit_font_glyphs[0][row], 0);
}
END_TEST

/* The letter L, dot by dot, at scale 2 and at the picture's edges. */
START_TEST(test_drawing_text)
{
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_picture_new(ctx, 30, 24, 3, &p));
    memset(p.pixels, 255, (size_t)30 * 24 * 3);
    fdit_font_draw(&p, 3, 2, 2, black, "L");
    for (int y = 0; y < 24; y++) {
        for (int x = 0; x < 30; x++) {
            const bool stem = x >= 3 && x < 5 && y >= 2 && y < 16;
            const bool foot = x >= 3 && x < 13 && y >= 14 && y < 16;
            ck_assert_msg((p.pixels[(y * 30 + x) * 3] == 0) == (stem || foot), "(%d, %d)", x, y);
        }
    }
    fdit_font_draw(&p, -7, -5, 3, black, "WWWWWWWWWW");
    fdit_font_draw(&p, 25, 20, 3, black, "WW");
    fdit_font_draw(&p, 500, 500, 3, black, "W");
    fdit_font_draw(&p, -500, -500, 3, black, "W");
    fdit_picture_fini(&p);
}
END_TEST

START_TEST(test_ascii)
{
    char out[11];
    ck_assert_uint_eq(fdit_font_ascii("plain", out, 10), 5);
    ck_assert_str_eq(out, "plain");
    ck_assert_uint_eq(fdit_font_ascii("a longer text", out, 10), 13);
    ck_assert_str_eq(out, "a longer t");
    ck_assert_uint_eq(fdit_font_ascii("\xC3\xA4rger\t\xE2\x82\xAC", out, 10), 7);
    ck_assert_str_eq(out, "?rger??");
    ck_assert_uint_eq(fdit_font_ascii("\x80\xC3", out, 10), 2);
    ck_assert_str_eq(out, "??");
    ck_assert_uint_eq(fdit_font_ascii("", out, 10), 0);
    ck_assert_str_eq(out, "");
    ck_assert_uint_eq(fdit_font_ascii("abc", out, 0), 3);
    ck_assert_str_eq(out, "");
}
END_TEST

/* Counts the w x h squares of the sheet that show this picture, and remembers where the last one
 * is. */
static int find(const struct fdit_picture *p, const uint8_t *cell, int size, int channels,
                int upscale, int *at_x, int *at_y)
{
    int n = 0, side = size * upscale;
    for (int y = 0; y + side <= p->height; y++) {
        for (int x = 0; x + side <= p->width; x++) {
            bool same = true;
            for (int k = 0; same && k < side * side; k++) {
                const uint8_t *got = p->pixels + ((y + k / side) * p->width + x + k % side) * 3;
                const uint8_t *want =
                    cell + (k / side / upscale * size + k % side / upscale) * channels;
                for (int c = 0; c < 3; c++)
                    same = same && got[c] == want[channels == 3 ? c : 0];
            }
            if (same) {
                *at_x = x;
                *at_y = y;
                n++;
            }
        }
    }
    return n;
}

static void check_cells(int channels, int upscale)
{
    enum { SIZE = 5, ROWS = 2, COLUMNS = 3 };
    uint8_t pixels[ROWS * COLUMNS][SIZE * SIZE * 3];
    const uint8_t *cells[ROWS * COLUMNS];
    static const char *const rows[ROWS] = { "first", "the second row with a long name" };
    static const char *const columns[COLUMNS] = { "a", NULL, "wide column" };
    struct test_rng random = test_rng_new("cells");
    int x[ROWS * COLUMNS], y[ROWS * COLUMNS];
    struct fdit_picture p;

    for (int k = 0; k < ROWS * COLUMNS; k++) {
        for (int i = 0; i < SIZE * SIZE * 3; i++)
            pixels[k][i] = (uint8_t)test_int(&random, 256);
        cells[k] = pixels[k];
    }
    const struct fdit_grid_group group = { "heading", ROWS, COLUMNS, rows, columns, cells };
    const struct fdit_grid grid = { .title = "title",
                                    .size = SIZE,
                                    .channels = channels,
                                    .upscale = upscale,
                                    .n_groups = 1,
                                    .groups = &group };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert_int_eq(p.channels, 3);
    for (int k = 0; k < ROWS * COLUMNS; k++)
        ck_assert_int_eq(find(&p, cells[k], SIZE, channels, upscale, &x[k], &y[k]), 1);
    for (int k = 0; k < ROWS * COLUMNS; k++) {
        ck_assert_int_eq(y[k], y[k / COLUMNS * COLUMNS]);
        ck_assert_int_eq(x[k], x[k % COLUMNS]);
    }
    ck_assert(x[0] + SIZE * upscale < x[1] && x[1] + SIZE * upscale < x[2]);
    ck_assert(y[0] + SIZE * upscale < y[COLUMNS]);
    fdit_picture_fini(&p);
}

START_TEST(test_cells)
{
    check_cells(3, 1);
    check_cells(3, 4);
    check_cells(1, 1);
    check_cells(1, 7);
}
END_TEST

/* What a sheet of one cell shows beside the cell: the words are there, letter by letter. */
static bool shows(const struct fdit_picture *p, const char *word, int scale)
{
    const int width = (int)strlen(word) * FDIT_FONT_WIDTH * scale - scale;
    const int height = FDIT_FONT_ROWS * scale;
    for (int y = 0; y + height <= p->height; y++) {
        for (int x = 0; x + width <= p->width; x++) {
            bool same = true;
            for (int k = 0; same && k < width * height; k++) {
                int row = k / width / scale, column = k % width / scale;
                int letter = column / FDIT_FONT_WIDTH, dot = column % FDIT_FONT_WIDTH;
                bool want = dot < 5 && fdit_font_glyphs[word[letter] - 32][row] >> (4 - dot) & 1;
                bool got = p->pixels[((y + k / width) * p->width + x + k % width) * 3] < 128;
                same = want == got;
            }
            if (same)
                return true;
        }
    }
    return false;
}

START_TEST(test_labels)
{
    static const char *const row[] = { "aptenodytes_patagonicus" };
    static const char *const column[] = { "an old, old column label" };
    const uint8_t *cell[] = { NULL };
    const struct fdit_grid_group group = { "A group of birds", 1, 1, row, column, cell };
    struct fdit_grid grid = { .title = "Everything",
                              .size = 66,
                              .channels = 3,
                              .label_chars = 14,
                              .n_groups = 1,
                              .groups = &group };
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert(shows(&p, "Everything", 2));
    ck_assert(shows(&p, "A group of birds", 1));
    ck_assert(shows(&p, "aptenodytes_", 1));
    ck_assert(shows(&p, "patagonicus", 1));
    ck_assert(shows(&p, "an old, old", 1));
    ck_assert(shows(&p, "column", 1));
    ck_assert(!shows(&p, "column label", 1));
    fdit_picture_fini(&p);

    /* one line is left for the label: it ends in three dots */
    grid.size = 21;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert(shows(&p, "aptenodytes...", 1));
    fdit_picture_fini(&p);
}
END_TEST

/* Groups stand beside each other in bands. */
START_TEST(test_bands)
{
    enum { SIZE = 8 };
    uint8_t pixels[3][SIZE * SIZE];
    const uint8_t *cells[3];
    struct fdit_grid_group groups[3];
    int x[3], y[3];
    struct fdit_picture p;
    for (int k = 0; k < 3; k++) {
        memset(pixels[k], 40 + 60 * k, SIZE * SIZE);
        pixels[k][3] = 1;
        cells[k] = pixels[k];
        groups[k] = (struct fdit_grid_group){ "same", 1, 1, NULL, NULL, &cells[k] };
    }
    const struct fdit_grid grid = {
        .size = SIZE, .channels = 1, .across = 2, .n_groups = 3, .groups = groups
    };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(find(&p, cells[k], SIZE, 1, 1, &x[k], &y[k]), 1);
    ck_assert(y[0] == y[1] && y[2] > y[0] + SIZE && x[1] > x[0] + SIZE && x[2] == x[0]);
    fdit_picture_fini(&p);
}
END_TEST

/* Every length of text in every size of cell, under whatever checker is on. */
START_TEST(test_odd_sizes)
{
    char label[1200];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    for (int size = 1; size < 40; size += 3) {
        for (size_t length = 0; length < sizeof label; length = length * 2 + 1) {
            const char *text = label + sizeof label - 1 - length;
            const uint8_t *cells[2] = { NULL, NULL };
            const char *const labels[2] = { text, NULL };
            const struct fdit_grid_group group = { text, 1, 2, labels, labels, cells };
            const struct fdit_grid grid = { .title = text,
                                            .size = size,
                                            .channels = 1,
                                            .text_scale = 1 + size % 3,
                                            .label_chars = 1 + size,
                                            .n_groups = 1,
                                            .groups = &group };
            struct fdit_picture p;
            ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
            ck_assert(p.width > 2 * size && p.height > size);
            fdit_picture_fini(&p);
        }
    }
    const struct fdit_grid nothing = { .size = 4, .channels = 3 };
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &nothing, &p));
    ck_assert(p.width > 0 && p.height > 0);
    fdit_picture_fini(&p);
}
END_TEST

START_TEST(test_refusals)
{
    const struct fdit_grid_group huge = { NULL, 1u << 20, 1u << 20, NULL, NULL, NULL };
    const struct fdit_grid_group absurd = { NULL, SIZE_MAX, 1, NULL, NULL, NULL };
    const struct fdit_grid bad[] = {
        { .size = 0, .channels = 3 },
        { .size = -1, .channels = 3 },
        { .size = 4, .channels = 2 },
        { .size = 4, .channels = 4 },
        { .size = 4, .channels = 3, .upscale = -1 },
        { .size = 30000, .channels = 3, .upscale = 30000 },
        { .size = 4, .channels = 3, .text_scale = 65 },
        { .size = 4, .channels = 3, .text_scale = -1 },
        { .size = 4, .channels = 3, .label_chars = 121 },
        { .size = 4, .channels = 3, .n_groups = 1, .groups = &huge },
        { .size = 4, .channels = 3, .n_groups = 1, .groups = &absurd },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct fdit_picture p;
        ck_assert_msg(fdit_grid_draw(ctx, &bad[k], &p) == FDIT_ERROR_ARGUMENT, "case %zu", k);
        ck_assert_ptr_null(p.pixels);
        ck_assert_ptr_null(strchr(fdit_context_message(ctx), '\n'));
    }
    const struct fdit_grid good = { .size = 4, .channels = 3 };
    struct fdit_picture p;
    fdit_mem_fail_at(1);
    ck_assert_int_eq(fdit_grid_draw(ctx, &good, &p), FDIT_ERROR_MEMORY);
    fdit_mem_fail_at(0);
    ck_assert_ptr_null(p.pixels);
}
END_TEST

/* The same sheet twice has the same bytes, and survives PNG. */
START_TEST(test_png)
{
    enum { SIZE = 64 };
    static uint8_t pixels[6][SIZE * SIZE * 3];
    const uint8_t *cells[6];
    static const char *const rows[2] = { "Aptenodytes forsteri",
                                         "Pygoscelis adeliae (Adelie penguin)" };
    static const char *const columns[3] = { "seed 0", "seed 1", "real" };
    struct fdit_picture p, q, back;
    for (int k = 0; k < 6; k++) {
        for (int i = 0; i < SIZE * SIZE; i++) {
            pixels[k][3 * i] = (uint8_t)(i % SIZE * 4);
            pixels[k][3 * i + 1] = (uint8_t)(i / SIZE * 4);
            pixels[k][3 * i + 2] = (uint8_t)(k * 50);
        }
        cells[k] = k == 4 ? NULL : pixels[k];
    }
    const struct fdit_grid_group groups[3] = {
        { "Birds", 2, 3, rows, columns, cells },
        { "The quick brown fox jumps over the lazy dog", 1, 3, NULL, columns, cells },
        { "!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~", 2, 2, rows, NULL, cells },
    };
    const struct fdit_grid grid = { .title =
                                        "Guidance 4, dpm++ 20 steps: ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                                    .size = SIZE,
                                    .channels = 3,
                                    .across = 2,
                                    .n_groups = 3,
                                    .groups = groups };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &q));
    const size_t bytes = (size_t)p.width * (size_t)p.height * 3;
    ck_assert(p.width == q.width && p.height == q.height && memcmp(p.pixels, q.pixels, bytes) == 0);

    uint8_t *png;
    size_t n;
    ck_assert_ok(ctx, fdit_png_encode(ctx, &p, &png, &n));
    ck_assert_ok(ctx, fdit_picture_decode(ctx, png, n, "sheet", &back));
    ck_assert(back.width == p.width && back.height == p.height);
    ck_assert(memcmp(back.pixels, p.pixels, bytes) == 0);
    const char *keep = getenv("FDIT_TEST_GRID");
    if (keep != NULL && keep[0] != '\0')
        ck_assert_ok(ctx, fdit_png_write(ctx, keep, &p));
    fdit_free(png);
    fdit_picture_fini(&back);
    fdit_picture_fini(&p);
    fdit_picture_fini(&q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("grid");
    TCase *font = tcase_create("font");
    tcase_add_checked_fixture(font, setup, teardown);
    tcase_add_test(font, test_glyphs);
    tcase_add_test(font, test_drawing_text);
    tcase_add_test(font, test_ascii);
    suite_add_tcase(suite, font);
    TCase *sheet = tcase_create("sheet");
    tcase_add_checked_fixture(sheet, setup, teardown);
    tcase_add_test(sheet, test_cells);
    tcase_add_test(sheet, test_labels);
    tcase_add_test(sheet, test_bands);
    tcase_add_test(sheet, test_odd_sizes);
    tcase_add_test(sheet, test_refusals);
    tcase_add_test(sheet, test_png);
    suite_add_tcase(suite, sheet);
    return test_run(suite);
}
