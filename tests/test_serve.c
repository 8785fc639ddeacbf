/* SPDX-License-Identifier: Apache-2.0
 * test_serve.c: the server of `serve` against requests that it must refuse and clients that misbehave, by
 * plain sockets; the tree of a taxonomy and the search over its names. */
#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/spelling.h"
#include "harness.h"
#include "serve/find.h"
#include "serve/guard.h"
#include "serve/http.h"
#include "serve/tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static fdit_context *ctx;

/* ------------------------------------------------------------------ a server, and clients */

static struct fdit_http *http;
static int port;
static atomic_int answered, streams_ended;
static FILE *reply_file; /* what "file" is answered with */
static atomic_bool held; /* until then "hold" is not answered */

static ssize_t never(void *user, char *out, size_t n)
{
    (void)user;
    (void)out;
    (void)n;
    usleep(100 * 1000);
    return 0;
}

static void count_end(void *user)
{
    atomic_int *ended = user;
    ++*ended;
}

/* Says back what it was sent. */
static enum fdit_status echo(fdit_context *own, void *user, const struct fdit_http_request *r,
                             struct fdit_http_reply *reply)
{
    enum fdit_status status = FDIT_OK;
    (void)user;
    answered++;
    if (!strcmp(r->path, "fail"))
        FAIL(own, FDIT_ERROR_ARGUMENT, "a reason with \"quotes\"");
    while (held && !strcmp(r->path, "hold"))
        usleep(1000);
    if (!strcmp(r->path, "file")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(reply_file));
        TRY(fdit_file_open(own, path, &reply->file, &reply->n));
        reply->from_file = true;
        return FDIT_OK;
    }
    if (!strcmp(r->path, "stream")) {
        reply->stream = never;
        reply->stream_end = count_end;
        reply->stream_user = &streams_ended;
        return FDIT_OK;
    }
    const char *q = fdit_http_argument(r, "q");
    TRY(fdit_strf(own, &reply->bytes, "[%s] [%s] %zu", r->path, q ? q : "none", r->n));
    reply->n = strlen(reply->bytes);
out:
    return status;
}

static void start(void)
{
    static const struct fdit_http_file files[] = {
        { "/", "text/html; charset=utf-8", (const unsigned char *)"<p>page", 7 }, { 0, 0, 0, 0 }
    };
    static const char *const hosts[] = { "lab.example", "localhost:9000" };
    const struct fdit_http_options o = { .listen = "127.0.0.1",
                                         .hosts = hosts,
                                         .n_hosts = 2,
                                         .request_seconds = 2,
                                         .files = files,
                                         .answer = echo };
    ck_assert_ok(ctx, fdit_http_open(ctx, &o, &http));
    ck_assert_ok(ctx, fdit_http_start(ctx, http, NULL));
    port = atoi(strrchr(fdit_http_address(http), ':') + 1);
    ck_assert_int_gt(port, 0);
    answered = streams_ended = 0;
}

static void stop(void)
{
    ck_assert(fdit_http_stop(http, 60));
    http = NULL;
}

static int dial(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* What comes until the other side ends, or `enough` bytes are there; waits a minute at the most. */
static size_t listen_to(int fd, char *out, size_t room, size_t enough)
{
    size_t n = 0;
    while (n < enough && n + 1 < room) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ck_assert_msg(poll(&p, 1, 60 * 1000) == 1, "the server neither answers nor ends");
        ssize_t got = recv(fd, out + n, room - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    out[n] = '\0';
    return n;
}

/* Sends it and gives the status of the reply, 0: none. `headers` may hold %d for the port, then %s for the
 * token. */
static char said[16384];
static int request_with(const char *first, const char *headers, const char *body)
{
    char text[70000];
    int fd = dial(), n = snprintf(text, sizeof text, "%s HTTP/1.1\r\n", first);
    n += snprintf(text + n, sizeof text - (size_t)n, headers, port, fdit_http_token(http));
    n += snprintf(text + n, sizeof text - (size_t)n, "Connection: close\r\n\r\n%s", body);
    ck_assert_int_lt(n, (int)sizeof text);
    send(fd, text, (size_t)n, MSG_NOSIGNAL);
    listen_to(fd, said, sizeof said, SIZE_MAX);
    close(fd);
    int code = 0;
    sscanf(said, "HTTP/1.1 %d", &code);
    return code;
}

#define OURS "Host: 127.0.0.1:%d\r\n"
#define TOKEN "Authorization: Bearer %s\r\n"
#define JSON "Content-Type: application/json\r\n"

START_TEST(answers)
{
    start();
    ck_assert_int_eq(request_with("GET /", OURS, ""), 200);
    ck_assert(strstr(said, "<p>page"));
    static const char *const safe[] = {
        "default-src 'none'",    "frame-ancestors 'none'",       "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY", "Referrer-Policy: no-referrer", "Cache-Control: no-store"
    };
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        ck_assert_msg(strstr(said, safe[i]), "%s in %s", safe[i], said);
    ck_assert_msg(!strstr(said, "Access-Control"), "%s", said);
    ck_assert_int_eq(request_with("HEAD /", OURS, ""), 200);
    ck_assert_int_eq(answered, 0);
    ck_assert_int_eq(request_with("GET /api/x?q=%C3%A9+a", OURS TOKEN, ""), 200);
    ck_assert_msg(strstr(said, "[x] [\xc3\xa9 a] 0"), "%s", said);
    ck_assert_int_eq(request_with("GET /api/x?q=%25+%2f&q", OURS TOKEN, ""), 200);
    ck_assert_msg(strstr(said, "[x] [% /] 0"), "%s", said);
    static const char *const malformed[][2] = {
        { "x?q=%ff", "q is not" },        { "x?q=a%zz", "q is not" },   { "x?q=a%2", "q is not" },
        { "x?q=a&other=%", "other is" },  { "x?q=a%00b", "q is not" },  { "x?%ff=1", "an argument of" },
        { "x%c3%28?q=1", "the address" }, { "x?q=%c3%28", "q is not" },
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        char first[64];
        int before = answered;
        snprintf(first, sizeof first, "GET /api/%s", malformed[i][0]);
        ck_assert_msg(request_with(first, OURS TOKEN, "") == 400 && strstr(said, malformed[i][1]), "%s: %s",
                      first, said);
        ck_assert_int_eq(answered, before);
    }
    ck_assert_int_eq(request_with("POST /api/y", OURS TOKEN JSON "Content-Length: 4\r\n", "abcd"), 200);
    ck_assert_msg(strstr(said, "[y] [none] 4"), "%s", said);
    ck_assert_int_eq(request_with("GET /api/fail", OURS TOKEN, ""), 400);
    ck_assert_msg(strstr(said, "{\"error\":\"a reason with \\\"quotes\\\"\"}"), "%s", said);
    stop();
}
END_TEST

START_TEST(refuses)
{
    static const struct {
        int code;
        const char *first, *headers;
    } list[] = {
        /* names that are not ours: rebinding, another port, none, two */
        { 421, "GET /", "Host: evil.example:%d\r\n" },
        { 421, "GET /", "Host: 127.0.0.1\r\n" },
        { 421, "GET /", "Host: localhost:1\r\n" },
        { 421, "GET /", "Host: 127.0.0.1:%d.evil.example\r\n" },
        { 421, "GET /", OURS "Host: evil.example\r\n" },
        { 200, "GET /", "Host: LocalHost:%d\r\n" },
        { 200, "GET /", "Host: lab.example:%d\r\n" },
        { 200, "GET /", "Host: localhost:9000\r\n" },
        /* other pages */
        { 403, "GET /api/x", OURS TOKEN "Origin: http://evil.example\r\n" },
        { 403, "GET /api/x", OURS TOKEN "Origin: null\r\n" },
        { 403, "GET /api/x", OURS TOKEN "Origin: http://127.0.0.1:1\r\n" },
        { 403, "GET /api/x", OURS TOKEN "Origin: https://127.0.0.1:8080\r\n" },
        { 403, "GET /api/x", OURS TOKEN "Sec-Fetch-Site: cross-site\r\n" },
        { 403, "GET /", OURS "Sec-Fetch-Site: same-site\r\n" },
        { 403, "POST /api/x", OURS TOKEN JSON "Sec-Fetch-Site: none\r\nContent-Length: 0\r\n" },
        { 200, "GET /", OURS "Sec-Fetch-Site: none\r\n" },
        { 200, "GET /api/x", OURS TOKEN "Sec-Fetch-Site: same-origin\r\n" },
        /* without the token, with half of it, with another, by another way */
        { 401, "GET /api/x", OURS },
        { 401, "GET /api/x", OURS "Authorization: Bearer %.20s\r\n" },
        { 401, "GET /api/x", OURS "Authorization: Bearer %sx\r\n" },
        { 401, "GET /api/x", OURS "Authorization: Basic %s\r\n" },
        { 401, "GET /api/x", OURS "Cookie: token=%s\r\n" },
        /* what a form can send without being asked */
        { 415, "POST /api/x", OURS TOKEN "Content-Length: 0\r\n" },
        { 415, "POST /api/x", OURS TOKEN "Content-Type: text/plain\r\nContent-Length: 0\r\n" },
        /* methods, and paths that are not there */
        { 405, "DELETE /api/x", OURS TOKEN },
        { 405, "OPTIONS /api/x", OURS TOKEN },
        { 404, "GET /../../etc/passwd", OURS },
        { 404, "GET /%2e%2e/%2e%2e/etc/passwd", OURS },
        { 404, "GET /api", OURS },
        { 404, "GET //", OURS },
        /* sizes */
        { 413, "POST /api/x", OURS TOKEN JSON "Content-Length: 1073741824\r\n" },
        { 413, "POST /api/x", OURS TOKEN JSON "Content-Length: 65537\r\n" },
        { 413, "GET /api/x", OURS TOKEN "Content-Length: 1\r\n" },
    };
    start();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int before = answered;
        bool api = list[i].code == 200 && strstr(list[i].first, "/api/");
        ck_assert_msg(request_with(list[i].first, list[i].headers, "") == list[i].code,
                      "%s with %s: not %d but %s", list[i].first, list[i].headers, list[i].code, said);
        ck_assert_msg(answered == before + api, "%s with %s was answered", list[i].first, list[i].headers);
    }
    stop();
}
END_TEST

/* Everything is bounded, and after each of it the next request is answered. */
START_TEST(too_much)
{
    static char many[60000];
    start();
    /* a header without an end */
    memset(many, 'a', sizeof many - 1);
    char headers[70000];
    snprintf(headers, sizeof headers, "Host: 127.0.0.1:%%d\r\nX: %s\r\n", many);
    int code = request_with("GET /", headers, "");
    ck_assert_msg(code == 431 || code == 413 || !code, "a header of 60000 bytes: %d", code);
    /* a body that does not say its length, and goes on: it is cut off, whatever is sent */
    int fd = dial();
    char text[512];
    snprintf(text, sizeof text,
             "POST /api/x HTTP/1.1\r\n" OURS TOKEN JSON "Transfer-Encoding: chunked\r\n\r\n", port,
             fdit_http_token(http));
    send(fd, text, strlen(text), MSG_NOSIGNAL);
    size_t sent = 0;
    for (; sent < (size_t)1 << 30; sent += 1024)
        if (send(fd, "400\r\n", 5, MSG_NOSIGNAL) != 5 || send(fd, many, 1024, MSG_NOSIGNAL) != 1024 ||
            send(fd, "\r\n", 2, MSG_NOSIGNAL) != 2)
            break;
    ck_assert_uint_lt(sent, (size_t)1 << 30);
    close(fd);
    ck_assert_int_eq(answered, 0);
    /* one that is not much too long: the reply says so */
    static const int pieces[][2] = { { 64, 200 }, { 65, 413 }, { 2000, 413 } };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        fd = dial();
        send(fd, text, strlen(text), MSG_NOSIGNAL);
        for (int k = 0; k < pieces[i][0]; k++) {
            send(fd, "400\r\n", 5, MSG_NOSIGNAL);
            send(fd, many, 1024, MSG_NOSIGNAL);
            send(fd, "\r\n", 2, MSG_NOSIGNAL);
        }
        send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
        listen_to(fd, said, sizeof said, strlen("HTTP/1.1 200"));
        close(fd);
        ck_assert_msg(strlen(said) >= 12 && atoi(said + 9) == pieces[i][1], "%d KiB: %s", pieces[i][0], said);
    }
    ck_assert_int_eq(answered, 1);
    ck_assert_int_eq(request_with("GET /", OURS, ""), 200);
    stop();
}
END_TEST

/* A byte now and then keeps nothing open: the whole request has to be there in time. */
START_TEST(slow)
{
    start();
    int fd = dial();
    double begin = fdit_clock_seconds();
    bool ended = false;
    send(fd, "GET / HTTP/1.1\r\nX: ", 19, MSG_NOSIGNAL);
    while (!ended && fdit_clock_seconds() - begin < 60) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char byte;
        ended = send(fd, "a", 1, MSG_NOSIGNAL) != 1 || (poll(&p, 1, 200) == 1 && recv(fd, &byte, 1, 0) <= 0);
    }
    ck_assert_msg(ended, "a request without an end is not cut off");
    close(fd);
    ck_assert_int_eq(request_with("GET /", OURS, ""), 200);
    stop();
}
END_TEST

/* More connections than there is room for: the rest is turned away, and room comes back. */
START_TEST(crowd)
{
    enum { MANY = 200 };
    static int list[MANY];
    start();
    for (int i = 0; i < MANY; i++)
        list[i] = dial();
    int code = 0;
    for (double begin = fdit_clock_seconds(); code != 200 && fdit_clock_seconds() - begin < 60;
         usleep(100 * 1000))
        code = request_with("GET /", OURS, "");
    ck_assert_int_eq(code, 200);
    for (int i = 0; i < MANY; i++)
        close(list[i]);
    stop();
}
END_TEST

/* A stream whose client goes away ends, no more than so many are open, and stopping ends those that are. */
START_TEST(streams)
{
    int list[FDIT_HTTP_MOST_STREAMS];
    char text[512], head[4096];
    start();
    snprintf(text, sizeof text, "GET /api/stream HTTP/1.1\r\n" OURS TOKEN "\r\n", port,
             fdit_http_token(http));
    for (int i = 0; i < FDIT_HTTP_MOST_STREAMS; i++) {
        list[i] = dial();
        send(list[i], text, strlen(text), MSG_NOSIGNAL);
        listen_to(list[i], head, sizeof head, 12);
        ck_assert_msg(!strncmp(head, "HTTP/1.1 200", 12), "%s", head);
    }
    ck_assert_int_eq(request_with("GET /api/stream", OURS TOKEN, ""), 503);
    int before = streams_ended;
    close(list[0]);
    for (double begin = fdit_clock_seconds(); streams_ended == before && fdit_clock_seconds() - begin < 60;)
        usleep(50 * 1000);
    ck_assert_int_gt(streams_ended, before);
    double begin = fdit_clock_seconds();
    stop();
    ck_assert_double_lt(fdit_clock_seconds() - begin, 30);
    ck_assert_int_eq(streams_ended, FDIT_HTTP_MOST_STREAMS + 1);
    for (int i = 1; i < FDIT_HTTP_MOST_STREAMS; i++)
        close(list[i]);
}
END_TEST

/* A function that does not come to its end is waited for as long as is said, and again. */
START_TEST(unending)
{
    char text[512];
    start();
    int fd = dial(), n = snprintf(text, sizeof text, "GET /api/hold HTTP/1.1\r\n" OURS TOKEN "\r\n", port,
                                  fdit_http_token(http));
    held = true;
    send(fd, text, (size_t)n, MSG_NOSIGNAL);
    while (!answered)
        usleep(1000);
    ck_assert(!fdit_http_stop(http, 0.2));
    ck_assert(!fdit_http_stop(http, 0));
    held = false;
    stop();
    close(fd);
}
END_TEST

/* An open file is sent as bytes are, and closed. */
START_TEST(file)
{
    enum { BYTES = 300000 };
    static char bytes[BYTES], got[BYTES + 4096];
    char text[512];
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    int before = dup(0);
    close(before);
    reply_file = tmpfile();
    ck_assert_ptr_nonnull(reply_file);
    ck_assert_uint_eq(fwrite(bytes, 1, BYTES, reply_file), BYTES);
    ck_assert_int_eq(fflush(reply_file), 0);
    start();
    int n = snprintf(text, sizeof text, "GET /api/file HTTP/1.1\r\n" OURS TOKEN "Connection: close\r\n\r\n",
                     port, fdit_http_token(http));
    for (int i = 0; i < 3; i++) {
        int fd = dial();
        send(fd, text, (size_t)n, MSG_NOSIGNAL);
        size_t all = listen_to(fd, got, sizeof got, SIZE_MAX);
        close(fd);
        ck_assert_uint_gt(all, BYTES);
        ck_assert_msg(!strncmp(got, "HTTP/1.1 200", 12), "%.100s", got);
        ck_assert(!memcmp(got + all - BYTES, bytes, BYTES));
    }
    stop();
    fclose(reply_file);
    int after = dup(0);
    ck_assert_int_eq(after, before);
    close(after);
}
END_TEST

START_TEST(addresses)
{
    static const struct fdit_http_file none[] = { { 0, 0, 0, 0 } };
    static const char *const names[] = { "bad name", "a/b", "", "[x]", "ok.example" };
    struct fdit_http_options o = { .listen = "0.0.0.0", .files = none, .answer = echo };
    struct fdit_http *other = NULL;
    ck_assert_int_eq(fdit_http_open(ctx, &o, &other), FDIT_ERROR_ARGUMENT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "--host"), "%s", fdit_context_message(ctx));
    o.n_hosts = 1;
    for (int i = 0; i < 4; i++) {
        o.hosts = names + i;
        ck_assert_int_eq(fdit_http_open(ctx, &o, &other), FDIT_ERROR_ARGUMENT);
    }
    o.hosts = names + 4;
    ck_assert_ok(ctx, fdit_http_open(ctx, &o, &other));
    ck_assert(!strncmp(fdit_http_address(other), "http://ok.example:", 18));
    ck_assert(fdit_http_stop(other, 60));
    o.listen = "localhost";
    ck_assert_int_eq(fdit_http_open(ctx, &o, &other), FDIT_ERROR_ARGUMENT);
    start();
    o = (struct fdit_http_options){ .listen = "127.0.0.1", .port = port, .files = none, .answer = echo };
    ck_assert_int_eq(fdit_http_open(ctx, &o, &other), FDIT_ERROR_IO);
    ck_assert_msg(strstr(fdit_context_message(ctx), "another --port"), "%s", fdit_context_message(ctx));
    stop();
}
END_TEST

START_TEST(tokens_differ)
{
    struct fdit_guard a, b;
    ck_assert_ok(ctx, fdit_guard_init(ctx, &a));
    ck_assert_ok(ctx, fdit_guard_init(ctx, &b));
    ck_assert_uint_eq(strlen(a.token), FDIT_GUARD_TOKEN);
    ck_assert_str_ne(a.token, b.token);
}
END_TEST

/* ------------------------------------------------------------------ the tree */

static struct fdit_taxonomy *taxonomy;
static struct fdit_tree *tree;
static struct fdit_find *find;

static void grow(const char *table)
{
    ck_assert_ok(ctx, fdit_taxonomy_parse(ctx, table, strlen(table), "table", NULL, &taxonomy));
    ck_assert_ok(ctx, fdit_tree_new(ctx, taxonomy, &tree));
    ck_assert_ok(ctx, fdit_find_new(ctx, taxonomy, tree, &find));
}

static void fell(void)
{
    fdit_find_free(find);
    fdit_tree_free(tree);
    fdit_taxonomy_free(taxonomy);
}

/* "Turdidae(Turdus(merula,pilaris))": all that is below a node. */
static void write_below(int32_t node, char *out, size_t room)
{
    int32_t n = fdit_tree_children(tree, node);
    for (int32_t i = 0; i < n; i++) {
        int32_t child = fdit_tree_child(tree, node, i);
        ck_assert_int_eq(fdit_tree_place(tree, child), i);
        if (!fdit_tree_is_class(tree, child) || node == FDIT_TREE_ROOT)
            ck_assert_int_eq(fdit_tree_parent(tree, child), node);
        size_t used = strlen(out);
        snprintf(out + used, room - used, "%s%s", i ? "," : "(", fdit_tree_name(tree, child));
        write_below(child, out, room);
    }
    if (n)
        strcat(out, ")");
}

static const char birds[] = "class\tgenus\tfamily\n"
                            "merula\tTurdus\tTurdidae\n"
                            "major\tParus\tParidae\n"
                            "pilaris\tTurdus\tTurdidae\n"
                            "M\303\234LLER\tZoothera\tTurdidae\n"
                            "merula-minor\tPeriparus\tParidae\n";

START_TEST(nested)
{
    char text[1024] = "";
    int32_t n;
    grow(birds);
    write_below(FDIT_TREE_ROOT, text, sizeof text);
    ck_assert_str_eq(text, "(Paridae(Parus(major),Periparus(merula-minor)),"
                           "Turdidae(Turdus(merula,pilaris),Zoothera(M\303\234LLER)))");
    int32_t family = fdit_taxonomy_group_row(taxonomy, 1, 1);
    const int32_t *classes = fdit_tree_classes(tree, family, &n);
    ck_assert_int_eq(n, 3);
    ck_assert_int_eq(classes[0], 0);
    ck_assert_int_eq(classes[1], 2);
    ck_assert_int_eq(classes[2], 3);
    ck_assert_int_eq(fdit_tree_rank(tree, family), 1);
    ck_assert(!fdit_tree_has(tree, -2) && !fdit_tree_has(tree, fdit_taxonomy_n_rows(taxonomy)));
    ck_assert(fdit_tree_has(tree, -1) && !fdit_tree_has(tree, INT64_MAX) && !fdit_tree_has(tree, INT64_MIN));
    fell();
}
END_TEST

START_TEST(beside_each_other)
{
    char text[1024] = "";
    int32_t n;
    grow("class\tletter\tstyle\na1\ta\tthin\nb1\tb\tthin\na2\ta\twide\nb2\tb\twide\n");
    for (int32_t i = 0; i < fdit_tree_children(tree, FDIT_TREE_ROOT); i++) {
        int32_t view = fdit_tree_child(tree, FDIT_TREE_ROOT, i);
        ck_assert(fdit_tree_has(tree, view));
        ck_assert_int_eq(fdit_tree_place(tree, view), i);
        strcat(text, fdit_tree_name(tree, view));
        int32_t group = fdit_tree_child(tree, view, 1);
        ck_assert_int_eq(fdit_tree_parent(tree, group), view);
        fdit_tree_classes(tree, view, &n);
        ck_assert_int_eq(n, 4);
        fdit_tree_classes(tree, group, &n);
        ck_assert_int_eq(n, 2);
        snprintf(text + strlen(text), 64, "(%s:%s) ", fdit_tree_name(tree, group),
                 fdit_tree_name(tree, fdit_tree_child(tree, group, 0)));
    }
    ck_assert_str_eq(text, "style(wide:a2) letter(b:b1) ");
    ck_assert(!fdit_tree_has(tree, FDIT_TREE_VIEW - 2));
    fell();
}
END_TEST

START_TEST(flat)
{
    char text[256] = "";
    grow("class\nx\ny\n");
    write_below(FDIT_TREE_ROOT, text, sizeof text);
    ck_assert_str_eq(text, "(x,y)");
    ck_assert(!fdit_tree_has(tree, FDIT_TREE_VIEW));
    fell();
}
END_TEST

/* ------------------------------------------------------------------ the search */

static void finds(const char *query, const char *wanted)
{
    char text[1024] = "";
    int32_t nodes[16];
    size_t n, total;
    ck_assert_ok(ctx, fdit_find_run(ctx, find, query, 0, 16, nodes, &n, &total));
    ck_assert_uint_eq(n, total);
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), 128, "%s%s", i ? "," : "", fdit_tree_name(tree, nodes[i]));
    ck_assert_msg(!strcmp(text, wanted), "'%s': '%s', not '%s'", query, text, wanted);
}

START_TEST(search)
{
    int32_t nodes[16];
    size_t n, total;
    grow(birds);
    finds("merula", "merula,merula-minor");
    finds("  MERULA  ", "merula,merula-minor");
    finds("minor", "merula-minor");
    finds("inor", "merula-minor");
    finds("turdus", "Turdus,merula,pilaris");
    finds("turdus mer", "merula");
    finds("turdidae/merula", "merula");
    finds("nothing", "");
    finds("", "");
    finds("#1", "major");
    finds("3", "M\303\234LLER");
    finds("#99", "");
    ck_assert_ok(ctx, fdit_find_run(ctx, find, "turdus", 1, 1, nodes, &n, &total));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(total, 3);
    ck_assert_str_eq(fdit_tree_name(tree, nodes[0]), "merula");
    ck_assert_ok(ctx, fdit_find_run(ctx, find, "turdus", 9, 1, nodes, &n, &total));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(fdit_find_run(ctx, find, "a b c d e f g h i", 0, 1, nodes, &n, &total),
                     FDIT_ERROR_ARGUMENT);
    /* most words that there are, none of which fits worse */
    finds("t t t t t t t t", "Turdus,Turdidae,Zoothera,merula,pilaris,M\303\234LLER");
    fell();
}
END_TEST

START_TEST(search_unicode)
{
    if (!fdit_spelling_unicode())
        return;
    grow(birds);
    finds("m\303\274ller", "M\303\234LLER");
    finds("mu\314\210l", "M\303\234LLER"); /* decomposed */
    fell();
}
END_TEST

int main(void)
{
    char why[512];
    ctx = fdit_context_new();
    Suite *suite = suite_create("serve");
    TCase *tcase = tcase_create("serve");
    tcase_set_timeout(tcase, 600);
    if (fdit_http_available(why, sizeof why)) {
        tcase_add_test(tcase, answers);
        tcase_add_test(tcase, refuses);
        tcase_add_test(tcase, too_much);
        tcase_add_test(tcase, slow);
        tcase_add_test(tcase, crowd);
        tcase_add_test(tcase, streams);
        tcase_add_test(tcase, unending);
        tcase_add_test(tcase, file);
        tcase_add_test(tcase, addresses);
    } else {
        printf("the server is left out: %s\n", why);
    }
    tcase_add_test(tcase, tokens_differ);
    tcase_add_test(tcase, nested);
    tcase_add_test(tcase, beside_each_other);
    tcase_add_test(tcase, flat);
    tcase_add_test(tcase, search);
    tcase_add_test(tcase, search_unicode);
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
