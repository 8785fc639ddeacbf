/* SPDX-License-Identifier: Apache-2.0
 * Classes, groups and rows; what users type; the JSON in our files; what is refused. */
#include "core/file.h"
#include "core/mem.h"
#include "data/taxonomy.h"
#include "data/spelling.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static fdit_context *ctx;
static size_t live_before;

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void)
{
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

static struct fdit_taxonomy *parse(const char *text, const char *ranks)
{
    struct fdit_taxonomy *tax = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, text, strlen(text), "t.tsv", ranks, &tax));
    return tax;
}

/* The text is refused and the message holds `said`. */
static void refuse(const char *text, const char *ranks, const char *said)
{
    struct fdit_taxonomy *tax = NULL;
    enum fdit_status status = fdit_taxonomy_parse(ctx, text, strlen(text), "t.tsv", ranks, &tax);
    const char *message = fdit_context_message(ctx);
    ck_assert_msg(status != FDIT_OK, "accepted: %s", text);
    ck_assert_ptr_null(tax);
    ck_assert_msg(strstr(message, said) != NULL, "\"%s\" is not in \"%s\"", said, message);
    ck_assert_ptr_null(strchr(message, '\n'));
}

static void selects(const struct fdit_taxonomy *tax, const char *what, size_t n, const int32_t *wanted)
{
    int32_t *ids;
    size_t got;
    ck_assert_ok(ctx, fdit_taxonomy_select(ctx, tax, what, &ids, &got));
    ck_assert_msg(got == n, "%s: %zu classes, not %zu", what, got, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(ids[i] == wanted[i], "%s: class %zu is %d, not %d", what, i, ids[i], wanted[i]);
    fdit_free(ids);
}

static void selects_none(const struct fdit_taxonomy *tax, const char *what, const char *said)
{
    int32_t *ids;
    size_t n;
    ck_assert_int_eq(fdit_taxonomy_select(ctx, tax, what, &ids, &n), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(ids);
    ck_assert_msg(strstr(fdit_context_message(ctx), said) != NULL, "\"%s\" is not in \"%s\"", said,
                  fdit_context_message(ctx));
}

#define IDS(...)                                                      \
    sizeof((int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t), (int32_t[]) \
    {                                                                 \
        __VA_ARGS__                                                   \
    }

static void selects_one(const struct fdit_taxonomy *tax, const char *what, int32_t id)
{
    selects(tax, what, 1, (int32_t[]){ id });
}

static const char birds[] = "species\tgenus\tfamily\n"
                            "house sparrow\tPasser\tPasseridae\n"
                            "tree sparrow\tPasser\tPasseridae\n"
                            "mallard\tAnas\tAnatidae\n"
                            "rock, paper\tAnser\tAnatidae\n"
                            "5\tAnas\tAnatidae\n";

START_TEST(test_rows)
{
    struct fdit_taxonomy *tax = parse(birds, NULL);
    ck_assert_int_eq(fdit_taxonomy_n_classes(tax), 5);
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 2);
    ck_assert_str_eq(fdit_taxonomy_rank_name(tax, 0), "genus");
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 2), "mallard");
    /* Byte order: Anas, Anser, Passer. */
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 3);
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 0), "Anas");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 1), "Anser");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 2), "Passer");
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), 5 + 3 + 2);
    ck_assert_int_eq(fdit_taxonomy_group(tax, 0, 0), 2);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 0), 5 + 2);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 3), 5 + 1);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 1, 0), 5 + 3 + 1);
    ck_assert_int_eq(fdit_taxonomy_group_row(tax, 1, 0), 5 + 3);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "tree sparrow"), 1);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "tree"), -1);
    ck_assert_int_eq(fdit_taxonomy_find_rank(tax, "family"), 1);
    ck_assert_int_eq(fdit_taxonomy_find_group(tax, 1, "Anatidae"), 0);
    ck_assert_int_eq(fdit_taxonomy_find_group(tax, 1, "Anas"), -1);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_picks)
{
    struct fdit_taxonomy *tax = parse(birds, "family,genus"), *other = NULL;
    ck_assert_str_eq(fdit_taxonomy_rank_name(tax, 0), "family");
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 2), 5);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 1, 2), 5 + 2);
    ck_assert_ok(ctx, fdit_taxonomy_pick(ctx, tax, "genus", &other));
    ck_assert_int_eq(fdit_taxonomy_n_rows(other), 5 + 3);
    fdit_taxonomy_free(other);
    ck_assert_ok(ctx, fdit_taxonomy_pick(ctx, tax, "none", &other));
    ck_assert_int_eq(fdit_taxonomy_n_rows(other), 5);
    fdit_taxonomy_free(other);
    fdit_taxonomy_free(tax);
    refuse(birds, "order", "no rank \"order\"; there are: genus, family");
    refuse(birds, "genus,genus", "picked twice");
    /* A rank that is not picked may have holes. */
    tax = parse("c\tg\th\na\tx\t\nb\tx\ty\n", "g");
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), 3);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_order_lines)
{
    struct fdit_taxonomy *tax = parse("\xef\xbb\xbf"
                                      "# a comment\r\nc\tg\th\r\n#order g=z,m, n,a\r\n\r\n"
                                      "one\ta\tp\r\ntwo\tz\tq\r\n#three\tm, n\tq\r\n",
                                      NULL);
    ck_assert_int_eq(fdit_taxonomy_n_classes(tax), 3);
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 2), "#three");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 0), "z");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 1), "m, n");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 2), "a");
    ck_assert_int_eq(fdit_taxonomy_group(tax, 0, 0), 2);
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 1, 0), "p");
    fdit_taxonomy_free(tax);
    refuse("c\tg\n#order g=x\na\tx\nb\ty\n", NULL, "leaves out 1 group: \"y\"");
    refuse("c\tg\n#order g=x,q\na\tx\n", NULL, "t.tsv:2: \"q\" is the g of no class");
    refuse("c\tg\n#order g=x,x\na\tx\n", NULL, "there twice");
    refuse("c\tg\n#order h=x\na\tx\n", NULL, "t.tsv:2");
    refuse("c\tg\n#order g=x\n#order g=x\na\tx\n", NULL, "second #order");
}
END_TEST

/* The same table as sheets and statistics programs write it. */
START_TEST(test_exports)
{
    static const char *const same[] = {
        "species,genus\nmallard,Anas\n\"rock, paper\",Anser\n",
        "species;genus\nmallard;Anas\nrock, paper;Anser\n",
        "\"species\"\t\"genus\"\n\"mallard\"\t\"Anas\"\n\"rock, paper\"\t\"Anser\"\n",
        "sep=;\r\nspecies;genus\r\nmallard;Anas\r\n\"rock, paper\";\"Anser\"\r\n",
        "species\tgenus\rmallard\tAnas\rrock, paper\tAnser\r",
        "\xef\xbb\xbfspecies,genus,,\nmallard ,Anas,,\n\"rock, paper\", Anser\xc2\xa0,,\n,,,\n",
        ",species,genus\n0,mallard,Anas\n1,\"rock, paper\",Anser\n",
        "\"\",\"species\",\"genus\"\n\"1\",\"mallard\",\"Anas\"\n\"2\",\"rock, paper\",\"Anser\"\n",
        "species\tgenus\n1\tmallard\tAnas\n2\trock, paper\tAnser\n",
        "species,genus\n\nmallard,Anas\n , \n\"rock, paper\",Anser",
    };
    struct fdit_taxonomy *wanted = parse("species\tgenus\nmallard\tAnas\nrock, paper\tAnser\n", NULL);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct fdit_taxonomy *tax = parse(same[i], NULL);
        ck_assert_ok(ctx, fdit_taxonomy_compare(ctx, wanted, "wanted", tax, same[i]));
        fdit_taxonomy_free(tax);
    }
    static const char utf16[] = "\xff\xfe"
                                "c\0\t\0g\0\n\0\xe3\0\t\0\x3d\xd8\x00\xde\n";
    struct fdit_taxonomy *tax = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, utf16, sizeof utf16, "t.tsv", NULL, &tax));
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 0), "\xc3\xa3");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 0), "\xf0\x9f\x98\x80");
    fdit_taxonomy_free(tax);
    fdit_taxonomy_free(wanted);
    tax = parse("c\tg\n\"it\"s\t\"a\"\"b\"\n\"x\t\"y\n", NULL); /* quotes that are the names' own */
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 0), "\"it\"s");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 1), "a\"b");
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 1), "\"x");
    fdit_taxonomy_free(tax);
    refuse("c,g\na,x\nb,y,z\n", NULL, "t.tsv:3: more columns (3) than the header's 2 (line 1); commas");
    refuse("c,g\n\"a,x\nb\",y\n", NULL, "t.tsv:2: a double quote that is not closed");
    refuse("c\tg\na\tx\n\tx\n", NULL, "t.tsv:3: no class in the first column");
    refuse("c\tg\nP\xe3o\tx\n", NULL, "t.tsv:2: is not UTF-8");
    refuse("c\tg\n", NULL, "names the columns; no class in it");
    refuse("\x89PNG\r\n\x1a\n....", NULL, "t.tsv: is a PNG picture, not a taxonomy");
}
END_TEST

/* One name for the eye is one name, or an error; never two groups. */
START_TEST(test_spelling)
{
    struct fdit_taxonomy *tax = parse("c\tg\na\tx\nb\tx \nd \t x\xc2\xa0\n", NULL);
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 1);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "d"), 2);
    fdit_taxonomy_free(tax);
    refuse("c\tg\na\tx y\nb\tx  y\n", NULL,
           "t.tsv:3: \"x y\" and \"x  y\" (g) differ only in blanks or marks that cannot be seen");
    refuse("c\tg\na\tx y\nb\tx\xc2\xa0y\n", NULL, "differ only in blanks");
    refuse("c\tg\na\tx\nb\tx\xe2\x80\x8b"
           "y\nd\txy\n",
           NULL, "differ only in blanks");
    refuse("c\tg\nsea  gull\tx\nsea gull\tx\n", NULL, "t.tsv:3: \"sea  gull\" and \"sea gull\" (classes)");
    if (!fdit_spelling_unicode())
        return;
    refuse("c\tg\na\tP\xc3\xa3o\nb\tPa\xcc\x83o\n", NULL, "(g) differ only in Unicode normalisation");
    refuse("[{\"id\":0,\"name\":\"a\",\"genus\":\"P\\u00e3o\"},{\"id\":1,\"name\":\"b\",\"genus\":"
           "\"Pa\\u0303o\"}]",
           "genus", "differ only in Unicode normalisation");
    tax = parse("c\tg\nP\xc3\xa3o\tG\nb\te\xcc\x81t\xc3\xa9\n", NULL);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "Pa\xcc\x83o"), 0);
    ck_assert_int_eq(fdit_taxonomy_find_group(tax, 0, "\xc3\xa9te\xcc\x81"), 1);
    selects_one(tax, "Pa\xcc\x83o", 0);
    selects_one(tax, "g=\xc3\xa9t\xc3\xa9", 1);
    fdit_taxonomy_free(tax);
}
END_TEST

/* A group is its path: one genus in two families is two. */
START_TEST(test_homonyms)
{
    static const char table[] = "species\tgenus\tfamily\tkingdom\n"
                                "a\tPrunella\tLamiaceae\tPlantae\nb\tPrunella\tPrunellidae\tAnimalia\n"
                                "c\tParus\tParidae\tAnimalia\nd\tPrunella\tLamiaceae\tPlantae\n";
    struct fdit_taxonomy *tax = parse(table, "genus");
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 3);
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 0), "Lamiaceae/Prunella");
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 1), "Parus");
    ck_assert_int_eq(fdit_taxonomy_group(tax, 0, 0), fdit_taxonomy_group(tax, 0, 3));
    selects_none(tax, "genus=Prunella",
                 "the genus \"Prunella\" is several groups: \"Lamiaceae/Prunella\", "
                 "\"Prunellidae/Prunella\"");
    selects_one(tax, "genus=Prunellidae/Prunella", 1);
    char *again = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_to_tsv(ctx, tax, &again)); /* and back */
    struct fdit_taxonomy *back = parse(again, NULL);
    ck_assert_ok(ctx, fdit_taxonomy_compare(ctx, tax, "written", back, "read"));
    fdit_free(again);
    fdit_taxonomy_free(back);
    fdit_taxonomy_free(tax);
    /* Three levels: the families are told apart first. */
    tax = parse("#nested model,make,land\nc\tmodel\tmake\tland\n"
                "1\tX\tA\tde\n2\tX\tA\tfr\n3\tY\tA\tde\n4\tX\tB\tde\n",
                NULL);
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 4);
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 1), 3);
    ck_assert_int_ge(fdit_taxonomy_find_group(tax, 1, "fr/A"), 0);
    ck_assert_int_ge(fdit_taxonomy_find_group(tax, 0, "fr/A/X"), 0);
    fdit_taxonomy_free(tax);
    /* Attributes beside each other are not: every style occurs with every letter. */
    tax = parse("c\tletter\tstyle\nA1\tA\tserif\nA2\tA\tmono\nB1\tB\tserif\nB2\tB\tmono\n", NULL);
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), 4 + 2 + 2);
    fdit_taxonomy_free(tax);
    tax = parse("#independent\nc\tfamily\tclass\n1\tx\ta\n2\tx\tb\n", NULL);
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 1);
    fdit_taxonomy_free(tax);
    /* A rank with holes tells nothing apart. */
    tax = parse("c\tgenus\tfamily\n1\tx\tA\n2\tx\t\n", "genus");
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 1);
    fdit_taxonomy_free(tax);
    refuse("#nested g,q\nc\tg\na\tx\n", NULL, "t.tsv:1: \"#nested\" needs ranks of the header");
    refuse("#nested g,h\n#nested h,g\nc\tg\th\na\tx\ty\n", NULL, "t.tsv:2: \"#nested\"");
}
END_TEST

START_TEST(test_bytes_order)
{
    /* Bytes, not letters: capitals first, then small letters, then what is beyond ASCII. */
    struct fdit_taxonomy *tax = parse("c\tg\n1\t\xc3\xa9\n2\tz\n3\tZ\n4\ta b\n5\ta\n6\ta-b\n", NULL);
    const char *wanted[] = { "Z", "a", "a b", "a-b", "z", "\xc3\xa9" };
    for (int i = 0; i < 6; i++)
        ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, i), wanted[i]);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_refused)
{
    refuse("", NULL, "no class");
    refuse("c\tg\n", NULL, "no class");
    refuse("c\tg\na\tx\nb\t\nc\n", NULL, "2 missing: class (rank) \"b\" (g), \"c\" (g)");
    refuse("c\tg\na\tx\na\ty\n", NULL, "class \"a\" is there twice");
    refuse("c\tg\na\tx\ty\n", NULL, "t.tsv:2: more columns");
    refuse("c\tg\n\tx\n", NULL, "t.tsv:2: no class");
    refuse("c\tg\tg\na\tx\ty\n", NULL, "rank \"g\" is there twice");
    refuse("c\tg=h\na\tx\n", NULL, "rename the column");
    refuse("c\tg\na\xff\tx\n", NULL, "not UTF-8");
    refuse("c\tg\na\t\xed\xa0\x80\n", NULL, "not UTF-8");
    refuse("{\"a\":1}", NULL, "without \"categories\"");
    refuse("{", NULL, "t.tsv: wrong JSON in line 1");
    refuse("[]", NULL, "no class");
    refuse("{\"classes\":[\"a\"],\"ranks\":[{\"name\":\"g\",\"groups\":[\"x\"],\"of\":[1]}]}", NULL,
           "class 0 is in no group of g");
    refuse("{\"classes\":[\"a\"],\"ranks\":[{\"name\":\"g\",\"groups\":[\"x\",\"y\"],\"of\":[0]}]}", NULL,
           "group \"y\" of g has no class");
    refuse("{\"classes\":[\"a\",\"a\"],\"ranks\":[]}", NULL, "there twice");
    refuse("{\"classes\":[\"a\"],\"ranks\":[],\"folders\":[\"x\",\"y\"]}", NULL, "2 folders");
    struct fdit_taxonomy *tax = NULL;
    ck_assert_int_eq(fdit_taxonomy_parse(ctx, "c\na\0b\n", 6, "z", NULL, &tax), FDIT_ERROR_FORMAT);
    ck_assert_int_eq(fdit_taxonomy_load(ctx, "/nonexistent/t.tsv", NULL, &tax), FDIT_ERROR_IO);
}
END_TEST

START_TEST(test_many_missing)
{
    /* The first few are named, the rest is counted. */
    char *text = NULL, *end;
    ck_assert_ok(ctx, fdit_alloc(ctx, 100000, 1, &text));
    end = text + sprintf(text, "c\tg\n");
    for (int i = 0; i < 3000; i++)
        end += sprintf(end, "class%d\t\n", i);
    refuse(text, NULL,
           "3000 missing: class (rank) \"class0\" (g), \"class1\" (g), \"class2\" (g), "
           "\"class3\" (g), \"class4\" (g) and 2995 more");
    fdit_free(text);
}
END_TEST

static const char categories[] =
    "[{\"id\":1,\"name\":\"Turdus merula\",\"supercategory\":\"Birds\",\"kingdom\":\"Animalia\","
    "\"genus\":\"Turdus\",\"image_dir_name\":\"00001_Turdus_merula\"},"
    "{\"id\":0,\"name\":\"Lumbricus terrestris\",\"supercategory\":\"Animalia\","
    "\"kingdom\":\"Animalia\",\"genus\":\"Lumbricus\",\"image_dir_name\":\"00000_Lumbricus\"},"
    "{\"id\":2,\"name\":\"Bellis perennis\",\"supercategory\":\"Plants\",\"kingdom\":\"Plantae\","
    "\"genus\":\"Bellis\",\"image_dir_name\":\"00002_Bellis\"},"
    "{\"id\":3,\"name\":\"Odd one\",\"supercategory\":\"Aliens\",\"kingdom\":\"Aliens\","
    "\"genus\":\"Odd\",\"image_dir_name\":\"00003_Odd\"}]";

START_TEST(test_inaturalist)
{
    struct fdit_taxonomy *tax = parse(categories, NULL), *all = NULL;
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 1);
    ck_assert_str_eq(fdit_taxonomy_rank_name(tax, 0), "supercategory");
    ck_assert_str_eq(fdit_taxonomy_class_name(tax, 1), "Turdus merula");
    /* The published order, then groups that it does not know. */
    const char *groups[] = { "Plants", "Birds", "Animalia", "Aliens" };
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, i), groups[i]);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, 0), 4 + 2);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "00002_Bellis"), 2);
    ck_assert_int_eq(fdit_taxonomy_find_class(tax, "Bellis perennis"), 2);
    fdit_taxonomy_free(tax);

    char wrapped[1200];
    snprintf(wrapped, sizeof wrapped, "{\"info\":{},\"categories\":%s}", categories);
    all = parse(wrapped, "genus,supercategory,kingdom");
    ck_assert_int_eq(fdit_taxonomy_n_rows(all), 4 + 4 + 4 + 3);
    ck_assert_str_eq(fdit_taxonomy_group_name(all, 0, 0), "Bellis");
    fdit_taxonomy_free(all);
    refuse("[{\"id\":1,\"name\":\"a\"}]", NULL, "id 1 is out of range");
    refuse("[{\"id\":0,\"name\":\"a\"},{\"id\":0,\"name\":\"b\"}]", NULL, "id 0 is there twice");
    refuse("[{\"id\":\"0\",\"name\":\"a\"}]", NULL, "category 0");
    refuse("[{\"id\":0}]", NULL, "category 0");
}
END_TEST

/* Every rank of the published file can be the superclass, alone or beside others. */
START_TEST(test_inaturalist_ranks)
{
    static const char species[][2][8] = {
        /* rank, and its groups for the four species below, by letter */
        { "kingdom", "aaab" }, { "phylum", "aabc" }, { "class", "abcd" },
        { "order", "abcd" },   { "family", "abcd" }, { "genus", "abcd" },
    };
    char json[4096];
    int n = snprintf(json, sizeof json, "{\"images\":[],\"categories\":[");
    for (int c = 0; c < 4; c++) {
        n += snprintf(json + n, sizeof json - (size_t)n,
                      "%s{\"id\":%d,\"name\":\"species %d\",\"common_name\":\"x\",\"supercategory\":"
                      "\"%s\",\"specific_epithet\":\"y\",\"image_dir_name\":\"%05d_s\"",
                      c ? "," : "", c, c, c < 3 ? "Birds" : "Plants", c);
        for (size_t r = 0; r < 6; r++)
            n += snprintf(json + n, sizeof json - (size_t)n, ",\"%s\":\"%s %c\"", species[r][0],
                          species[r][0], species[r][1][c]);
        n += snprintf(json + n, sizeof json - (size_t)n, "}");
    }
    snprintf(json + n, sizeof json - (size_t)n, "]}");
    for (size_t r = 0; r < 6; r++) {
        const char *rank = species[r][0], *letters = species[r][1];
        struct fdit_taxonomy *tax = parse(json, rank);
        int32_t superclass = -1, groups = 0;
        ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 1);
        ck_assert_ok(ctx, fdit_taxonomy_superclass(ctx, tax, rank, &superclass));
        ck_assert_int_eq(superclass, 0);
        for (int c = 0; c < 4; c++) {
            int32_t g = letters[c] - 'a';
            groups = g >= groups ? g + 1 : groups;
            ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 0, c), 4 + g);
        }
        ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), groups);
        fdit_taxonomy_free(tax);
    }
    struct fdit_taxonomy *tax = parse(json, "family,order,class,phylum,kingdom,supercategory,genus");
    int32_t at = -1;
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), 4 + 4 + 4 + 4 + 3 + 2 + 2 + 4);
    ck_assert_ok(ctx, fdit_taxonomy_superclass(ctx, tax, "supercategory", &at));
    ck_assert_int_eq(at, 5);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, at, 3), 4 + 4 + 4 + 4 + 3 + 2);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_folders)
{
    const char *flat[] = { "a", "b" };
    const char *nested[] = { "x/u/a", "x/v/b", "y/u/c" };
    const char *uneven[] = { "x/a", "y/z/b" };
    struct fdit_taxonomy *tax = NULL;
    ck_assert_ok(ctx, fdit_taxonomy_from_folders(ctx, flat, 2, NULL, &tax));
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 0);
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), 2);
    int32_t rank;
    ck_assert_int_eq(fdit_taxonomy_superclass(ctx, tax, NULL, &rank), FDIT_ERROR_ARGUMENT);
    fdit_taxonomy_free(tax);

    ck_assert_ok(ctx, fdit_taxonomy_from_folders(ctx, nested, 3, NULL, &tax));
    ck_assert_int_eq(fdit_taxonomy_n_ranks(tax), 2);
    ck_assert_str_eq(fdit_taxonomy_rank_name(tax, 0), "level1");
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 0), 3); /* x/u, x/v, y/u */
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 2), "y/u");
    ck_assert_int_eq(fdit_taxonomy_n_groups(tax, 1), 2);
    ck_assert_int_eq(fdit_taxonomy_superclass_row(tax, 1, 2), 3 + 3 + 1);
    fdit_taxonomy_free(tax);

    ck_assert_int_eq(fdit_taxonomy_from_folders(ctx, uneven, 2, NULL, &tax), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "\"x/a\" (level2)"));
    ck_assert_ok(ctx, fdit_taxonomy_from_folders(ctx, uneven, 2, "level1", &tax));
    ck_assert_str_eq(fdit_taxonomy_group_name(tax, 0, 1), "y/z");
    fdit_taxonomy_free(tax);
}
END_TEST

/* The table that is written is read as the same classes, groups and rows. */
START_TEST(test_to_tsv)
{
    static const char *const tables[] = {
        "class\tg\tf\nb\ty\tq\na\tx\tq\nc, d\ty\tp\n",
        "class\tg\tf\n#order g=y,x\n#order f=q,p\nb\ty\tq\na\tx\tq\nc\ty\tp\n",
        "class\nonly\n",
    };
    struct fdit_taxonomy *tax, *again;
    char *text;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        tax = parse(tables[i], NULL);
        ck_assert_ok(ctx, fdit_taxonomy_to_tsv(ctx, tax, &text));
        again = parse(text, NULL);
        ck_assert_msg(fdit_taxonomy_equal(tax, again), "%s", text);
        ck_assert_msg((strstr(text, "#order") != NULL) == (i == 1), "%s", text);
        fdit_free(text);
        fdit_taxonomy_free(tax);
        fdit_taxonomy_free(again);
    }
    static const char *const names[] = { "x/tab\there", "y/b" };
    ck_assert_ok(ctx, fdit_taxonomy_from_folders(ctx, names, 2, NULL, &tax));
    ck_assert_ok(ctx, fdit_taxonomy_to_tsv(ctx, tax, &text));
    ck_assert_msg(!strncmp(text, "#escaped\n", 9), "%s", text); /* a tab would begin another column */
    again = parse(text, NULL);
    ck_assert_msg(fdit_taxonomy_equal(tax, again), "%s", text);
    fdit_free(text);
    fdit_taxonomy_free(tax);
    fdit_taxonomy_free(again);
}
END_TEST

START_TEST(test_select)
{
    struct fdit_taxonomy *tax = parse(birds, NULL);
    selects(tax, "all", IDS(0, 1, 2, 3, 4));
    selects(tax, "mallard", IDS(2));
    selects(tax, "mallard,house sparrow", IDS(2, 0));
    selects(tax, "mallard, house sparrow,mallard", IDS(2, 0));
    selects(tax, "rock, paper", IDS(3));
    selects(tax, "mallard,rock, paper,#1", IDS(2, 3, 1));
    selects(tax, "genus=Anas", IDS(2, 4));
    selects(tax, "family=Anatidae,#0", IDS(2, 3, 4, 0));
    selects(tax, "5", IDS(4)); /* an exact name wins */
    selects(tax, "3", IDS(3)); /* else a number is an id */
    selects(tax, "#3", IDS(3));
    selects_none(tax, "#5", "class id 5 is out of range: there are 5 classes, 0 .. 4");
    selects_none(tax, "malard", "no class \"malard\"; did you mean \"mallard\"?");
    selects_none(tax, "sparrow", "did you mean \"house sparrow\" or \"tree sparrow\"?");
    selects_none(tax, "mallard,hause sparrow", "\"house sparrow\"");
    selects_none(tax, "genus=Paser", "no genus \"Paser\"; did you mean \"Passer\"");
    selects_none(tax, "order=x", "no class and no RANK=GROUP \"order=x\"; the ranks are");
    selects_none(tax, "", "an empty class name");
    selects_none(tax, "mallard,,#1", "an empty class name");
    selects_none(tax, "zzzzzzzz", "no class \"zzzzzzzz\"; finediffusion inspect --classes lists");
    selects(tax, "5", IDS(4));
    fdit_taxonomy_free(tax);
    /* Names that look like something else. */
    tax = parse("c\tg\nx\t1\nall\t1\n@x\t1\ng=1\t2\n", NULL);
    selects(tax, "all", IDS(1));
    selects(tax, "@x", IDS(2));
    selects(tax, "g=1", IDS(3));
    selects(tax, "g=2", IDS(3));
    fdit_taxonomy_free(tax);
}
END_TEST

static void rewrite(int fd, const char *text)
{
    size_t n = strlen(text);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, text, n, 0), (ssize_t)n);
}

START_TEST(test_select_file)
{
    char path[] = "/tmp/finediffusion-test-XXXXXX", at[64];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    rewrite(fd, "\xef\xbb\xbfmallard\r\n\r\nrock, paper\n  \n#0\ngenus=Passer");
    struct fdit_taxonomy *tax = parse(birds, NULL);
    snprintf(at, sizeof at, "@%s", path);
    selects(tax, at, IDS(2, 3, 0, 1));
    rewrite(fd, "");
    selects_none(tax, at, "no class in it");
    rewrite(fd, "mallard\nmalard\n");
    selects_none(tax, at, ":2: no class \"malard\"");
    int32_t *ids = NULL, *counts = NULL;
    size_t n;
    rewrite(fd, "mallard\t3\nrock, paper 5\n#1\t0");
    ck_assert_ok(ctx, fdit_taxonomy_counts(ctx, tax, path, &ids, &counts, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert(ids[0] == 2 && ids[1] == 3 && ids[2] == 1);
    ck_assert(counts[0] == 3 && counts[1] == 5 && counts[2] == 0);
    fdit_free(ids);
    fdit_free(counts);
    /* Tables as people have them: a header, commas, semicolons, quotes, blanks, a mark, line ends of DOS. */
    static const char *const tables[] = {
        "class,count\nmallard,3\n\"rock, paper\",5\n#1,0\n",
        "species;n\r\nmallard;3\r\n\"rock, paper\";5\r\n#1;0\r\n",
        "\xef\xbb\xbf"
        "class\tpictures\nmallard \t 3\nrock, paper\t5\n\n#1\t0\n",
        "\"class\",\"count\"\n\"mallard\",\"3\"\n\"rock, paper\",\"5\"\n\"#1\",\"0\"\n",
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        rewrite(fd, tables[i]);
        enum fdit_status status = fdit_taxonomy_counts(ctx, tax, path, &ids, &counts, &n);
        ck_assert_msg(status == FDIT_OK, "table %zu: %s", i, fdit_context_message(ctx));
        ck_assert_uint_eq(n, 3);
        ck_assert(ids[0] == 2 && ids[1] == 3 && ids[2] == 1);
        ck_assert(counts[0] == 3 && counts[1] == 5 && counts[2] == 0);
        fdit_free(ids);
        fdit_free(counts);
    }
    static const char *const bad[] = { "class,count\nmallard,3\nmalard,5\n",
                                       "mallard,3\nclass,count\n",
                                       "class,count\n",
                                       "mallard",
                                       "mallard\t-1",
                                       "mallard\t",
                                       "mallard\t3\nmallard\t4",
                                       "mallard\t99999999999",
                                       "malard\t3",
                                       "\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rewrite(fd, bad[i]);
        ck_assert_int_eq(fdit_taxonomy_counts(ctx, tax, path, &ids, &counts, &n), FDIT_ERROR_ARGUMENT);
    }
    close(fd);
    unlink(path);
    int32_t *none;
    ck_assert_int_eq(fdit_taxonomy_select(ctx, tax, at, &none, &n), FDIT_ERROR_IO);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_ranks)
{
    struct fdit_taxonomy *tax = parse(birds, NULL);
    int32_t rank, *ranks;
    size_t n;
    ck_assert_ok(ctx, fdit_taxonomy_superclass(ctx, tax, NULL, &rank));
    ck_assert_int_eq(rank, 0);
    ck_assert_ok(ctx, fdit_taxonomy_superclass(ctx, tax, "family", &rank));
    ck_assert_int_eq(rank, 1);
    ck_assert_int_eq(fdit_taxonomy_superclass(ctx, tax, "order", &rank), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "\"genus\", \"family\""));
    ck_assert_ok(ctx, fdit_taxonomy_ranks(ctx, tax, "all", &ranks, &n));
    ck_assert(n == 2 && ranks[0] == 0 && ranks[1] == 1);
    fdit_free(ranks);
    ck_assert_ok(ctx, fdit_taxonomy_ranks(ctx, tax, "family", &ranks, &n));
    ck_assert(n == 1 && ranks[0] == 1);
    fdit_free(ranks);
    ck_assert_int_eq(fdit_taxonomy_ranks(ctx, tax, "family,family", &ranks, &n), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_taxonomy_ranks(ctx, tax, "family,x", &ranks, &n), FDIT_ERROR_ARGUMENT);
    fdit_taxonomy_free(tax);
}
END_TEST

START_TEST(test_json)
{
    static const char *const sources[] = { birds, categories, "c\nx\ny\n",
                                           "c\tg\n\"q\\\"\t\x01\xc3\xa9\n\xf0\x9f\x90\xa6\t\x7f\n" };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct fdit_taxonomy *a = parse(sources[i], NULL), *b;
        char *text, *again;
        ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, a, &text));
        for (const char *c = text; *c; c++)
            ck_assert(*c >= 0x20 && *c < 0x7f);
        b = parse(text, NULL);
        ck_assert_ok(ctx, fdit_taxonomy_compare(ctx, a, "a", b, "b"));
        ck_assert(fdit_taxonomy_equal(a, b));
        ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, b, &again));
        ck_assert_str_eq(text, again);
        fdit_free(text);
        fdit_free(again);
        fdit_taxonomy_free(a);
        fdit_taxonomy_free(b);
    }
    struct fdit_taxonomy *tax = parse("c\tg\nb\ty\na\tx\n", NULL);
    char *text;
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, tax, &text));
    ck_assert_str_eq(text, "{\"classes\":[\"b\",\"a\"],\"ranks\":[{\"name\":\"g\",\"groups\":"
                           "[\"x\",\"y\"],\"of\":[1,0]}],\"paths\":true}");
    fdit_free(text);
    fdit_taxonomy_free(tax);
    /* The second names survive. */
    tax = parse(categories, NULL);
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, tax, &text));
    struct fdit_taxonomy *read = parse(text, NULL);
    ck_assert_int_eq(fdit_taxonomy_find_class(read, "00003_Odd"), 3);
    fdit_free(text);
    fdit_taxonomy_free(read);
    fdit_taxonomy_free(tax);
}
END_TEST

/* What version 0.1.0 wrote of tables: a group was (rank, name), blanks and all. */
START_TEST(test_earlier)
{
    static const char recorded[] = "{\"classes\":[\"a\",\"b\",\"c\",\"d\"],\"ranks\":["
                                   "{\"name\":\"genus\",\"groups\":[\"x\",\"y\",\"z \"],\"of\":[0,1,1,2]},"
                                   "{\"name\":\"family\",\"groups\":[\"F\",\"G\"],\"of\":[0,0,1,1]}]}";
    static const char table[] = "c\tgenus\tfamily\na\tx\tF\nb\ty\tF\nc\ty\tG\nd\tz \tG\n";
    static const char *const others[] = {
        "c\tgenus\tfamily\na\tx\tF\nb\ty\tF\nc\tx\tG\nd\tz\tG\n",          /* another genus */
        "c\tgenus\tfamily\na\tx\tF\nb\ty\tF\nc\ty\tF\nd\tz\tG\n",          /* another family */
        "c\tgenus\tfamily\nb\ty\tF\na\tx\tF\nc\ty\tG\nd\tz\tG\n",          /* another order */
        "c\tgenus\na\tx\nb\ty\nc\ty\nd\tz\n",                              /* a rank less */
        "c\tgenus\tfamily\na\tx\tF\nb\ty\tF\nc\ty\tG\nd\tz\tG\ne\tz\tG\n", /* a class more */
    };
    struct fdit_taxonomy *was = parse(recorded, NULL), *is = parse(table, NULL), *again;
    int32_t rows[16];
    char *text;
    ck_assert_int_eq(fdit_taxonomy_n_rows(was), 9);
    ck_assert_int_eq(fdit_taxonomy_n_rows(is), 10);
    ck_assert(!fdit_taxonomy_by_path(was) && fdit_taxonomy_by_path(is));
    ck_assert(fdit_taxonomy_earlier(was, is));
    ck_assert(!fdit_taxonomy_earlier(is, was) && !fdit_taxonomy_earlier(is, is));
    /* Both new groups of y are the old one's row; in the other direction y is none of the new. */
    ck_assert_int_eq(fdit_taxonomy_match_rows(was, is, rows), 10);
    for (int32_t id = 0; id < 4; id++)
        ck_assert_int_eq(rows[fdit_taxonomy_superclass_row(is, 0, id)],
                         fdit_taxonomy_superclass_row(was, 0, id));
    ck_assert_int_eq(fdit_taxonomy_match_rows(is, was, rows), 8);
    /* What was read from an old recording is written like it, and one of today is marked. */
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, was, &text));
    ck_assert_str_eq(text, recorded);
    fdit_free(text);
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, is, &text));
    again = parse(text, "family");
    ck_assert(fdit_taxonomy_by_path(again));
    fdit_free(text);
    fdit_taxonomy_free(again);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        again = parse(others[i], NULL);
        ck_assert_msg(!fdit_taxonomy_earlier(was, again), "%s", others[i]);
        fdit_taxonomy_free(again);
    }
    fdit_taxonomy_free(was);
    fdit_taxonomy_free(is);
}
END_TEST

/* Jobs that earlier versions began are known by this hash: it must not change. */
START_TEST(test_hash)
{
    struct fdit_taxonomy *a = parse("c\tg\nb\ty\na\tx\n", NULL), *b;
    uint64_t hash, other;
    b = parse("{\"classes\":[\"b\",\"a\"],\"ranks\":[{\"name\":\"g\",\"groups\":[\"x\",\"y\"],"
              "\"of\":[1,0]}]}",
              NULL);
    ck_assert_ok(ctx, fdit_taxonomy_hash(ctx, a, &hash));
    ck_assert_ok(ctx, fdit_taxonomy_hash(ctx, b, &other));
    ck_assert_uint_eq(hash, other);
    ck_assert_uint_eq(hash, UINT64_C(0x262a3b3a4af63c92));
    fdit_taxonomy_free(a);
    fdit_taxonomy_free(b);
}
END_TEST

START_TEST(test_compare_and_match)
{
    struct fdit_taxonomy *a = parse(birds, NULL), *b = parse(birds, "family"), *c = NULL;
    int32_t rows[16];
    ck_assert(!fdit_taxonomy_equal(a, b));
    ck_assert_int_eq(fdit_taxonomy_compare(ctx, a, "A", b, "B"), FDIT_ERROR_FORMAT);
    ck_assert_str_eq(fdit_context_message(ctx), "A and B differ: ranks genus, family and family");
    ck_assert_int_eq(fdit_taxonomy_match_rows(a, b, rows), 5 + 2);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(rows[i], i);
    ck_assert_int_eq(rows[5], 5 + 3);
    ck_assert_int_eq(rows[6], 5 + 3 + 1);
    ck_assert_int_eq(fdit_taxonomy_match_rows(b, a, rows), 5 + 2);
    ck_assert_int_eq(rows[5], -1); /* a genus, which b does not have */
    fdit_taxonomy_free(b);

    ck_assert_ok(ctx, fdit_taxonomy_restrict(ctx, a, (int32_t[]){ 3, 0 }, 2, &c));
    ck_assert_int_eq(fdit_taxonomy_n_classes(c), 2);
    ck_assert_str_eq(fdit_taxonomy_class_name(c, 0), "rock, paper");
    ck_assert_int_eq(fdit_taxonomy_n_groups(c, 0), 2); /* Anas has no class left */
    ck_assert_str_eq(fdit_taxonomy_group_name(c, 0, fdit_taxonomy_group(c, 0, 0)), "Anser");
    ck_assert_str_eq(fdit_taxonomy_group_name(c, 0, fdit_taxonomy_group(c, 0, 1)), "Passer");
    ck_assert_int_eq(fdit_taxonomy_match_rows(a, c, rows), 2 + 2 + 2);
    ck_assert_int_eq(rows[0], 3);
    ck_assert_int_eq(rows[1], 0);
    ck_assert_int_eq(rows[2], 5 + 1);
    ck_assert_int_eq(rows[3], 5 + 2);
    fdit_taxonomy_free(c);
    ck_assert_int_eq(fdit_taxonomy_restrict(ctx, a, (int32_t[]){ 5 }, 1, &c), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_taxonomy_restrict(ctx, a, (int32_t[]){ 1, 1 }, 2, &c), FDIT_ERROR_FORMAT);

    b = parse("#independent\nspecies\tgenus\tfamily\nhouse sparrow\tPasser\tPasseridae\n"
              "tree sparrow\tPasser\tAnatidae\nmallard\tAnas\tAnatidae\nrock, paper\tAnser\tAnatidae\n"
              "5\tAnas\tAnatidae\n",
              NULL);
    ck_assert_int_eq(fdit_taxonomy_compare(ctx, a, "A", b, "B"), FDIT_ERROR_FORMAT);
    ck_assert_str_eq(fdit_context_message(ctx), "A and B differ: the family of class \"tree sparrow\" is "
                                                "\"Passeridae\" and \"Anatidae\"");
    fdit_taxonomy_free(b);
    fdit_taxonomy_free(a);
}
END_TEST

/* Processor seconds for making, searching, writing and reading a taxonomy of n classes in three
 * ranks. */
static double time_taxonomy(int n)
{
    char *text = NULL, *end, *json;
    struct timespec start, stop;
    ck_assert_ok(ctx, fdit_alloc(ctx, (size_t)n, 100, &text));
    end = text + sprintf(text, "class\tgenus\tfamily\torder\n");
    for (int i = 0; i < n; i++)
        end += sprintf(end, "Genus%d species number %d\tGenus%d\tFamily%d\tOrder%d\n", i / 7, i, i / 7,
                       i / 140, i / 140 % 11);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct fdit_taxonomy *tax = parse(text, NULL), *again;
    ck_assert_int_eq(fdit_taxonomy_n_classes(tax), n);
    ck_assert_int_eq(fdit_taxonomy_n_rows(tax), n + (n + 6) / 7 + (n + 139) / 140 + 11);
    for (int i = 0; i < n; i++)
        ck_assert(fdit_taxonomy_find_class(tax, fdit_taxonomy_class_name(tax, i)) == i);
    ck_assert_ok(ctx, fdit_taxonomy_to_json(ctx, tax, &json));
    again = parse(json, NULL);
    ck_assert(fdit_taxonomy_equal(tax, again));
    selects_none(tax, "Genus12 spexies number 85", "did you mean");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &stop);
    fdit_free(json);
    fdit_taxonomy_free(again);
    fdit_taxonomy_free(tax);
    fdit_free(text);
    return (double)(stop.tv_sec - start.tv_sec) + 1e-9 * (double)(stop.tv_nsec - start.tv_nsec);
}

START_TEST(test_large)
{
    /* Linear, not quadratic: ten times the classes take about ten times as long. */
    double some = time_taxonomy(10000), many = time_taxonomy(100000);
    ck_assert_msg(many < 40 * some, "10,000 classes: %.3f s, 100,000: %.3f s", some, many);
}
END_TEST

/* Every allocation fails once: no crash, no leak, the right status. */
START_TEST(test_memory)
{
    static const char *const sources[] = { birds, categories, "c\tg\n#order g=y,x\na\tx\nb\ty\n" };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        bool ok = false;
        for (uint64_t n = 1; !ok; n++) {
            struct fdit_taxonomy *tax = NULL, *other = NULL;
            char *json = NULL;
            int32_t *ids = NULL;
            size_t n_ids;
            fdit_mem_fail_at(n);
            enum fdit_status status =
                fdit_taxonomy_parse(ctx, sources[i], strlen(sources[i]), "t", NULL, &tax);
            if (status == FDIT_OK)
                status = fdit_taxonomy_to_json(ctx, tax, &json);
            if (status == FDIT_OK)
                status = fdit_taxonomy_select(ctx, tax, "#0,#1", &ids, &n_ids);
            if (status == FDIT_OK)
                status = fdit_taxonomy_restrict(ctx, tax, ids, n_ids, &other);
            fdit_mem_fail_at(0);
            ok = status == FDIT_OK;
            ck_assert(ok || status == FDIT_ERROR_MEMORY);
            fdit_free(ids);
            fdit_free(json);
            fdit_taxonomy_free(other);
            fdit_taxonomy_free(tax);
            ck_assert_uint_eq(fdit_mem_stats().count, live_before);
            ck_assert_uint_lt(n, 10000);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("taxonomy");
    TCase *c = tcase_create("taxonomy");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_rows);
    tcase_add_test(c, test_picks);
    tcase_add_test(c, test_order_lines);
    tcase_add_test(c, test_bytes_order);
    tcase_add_test(c, test_exports);
    tcase_add_test(c, test_spelling);
    tcase_add_test(c, test_homonyms);
    tcase_add_test(c, test_refused);
    tcase_add_test(c, test_many_missing);
    tcase_add_test(c, test_inaturalist);
    tcase_add_test(c, test_inaturalist_ranks);
    tcase_add_test(c, test_folders);
    tcase_add_test(c, test_to_tsv);
    tcase_add_test(c, test_select);
    tcase_add_test(c, test_select_file);
    tcase_add_test(c, test_ranks);
    tcase_add_test(c, test_json);
    tcase_add_test(c, test_earlier);
    tcase_add_test(c, test_hash);
    tcase_add_test(c, test_compare_and_match);
    tcase_add_test(c, test_large);
    tcase_add_test(c, test_memory);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
