/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/http.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "format/json.h"
#include "serve/guard.h"
#include "serve/listen.h"
#include "serve/mhd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef HAVE_HTTP

/* A connection, from the moment when it was accepted. */
struct line {
    bool used;
    int socket;
    bool streaming;
    bool mute;              /* nothing was asked yet */
    double begun, deadline; /* when it is cut off, unless it streams */
};

struct fdit_http {
    struct fdit_mhd mhd;
    struct fdit_guard guard;
    fdit_context *ctx;
    struct fdit_http_options options;
    void *user; /* of options.answer */
    struct MHD_Daemon *daemon;
    int socket;
    bool six;
    char address[FDIT_GUARD_HOST_BYTES + 16];
    pthread_mutex_t lock; /* of the lines */
    pthread_cond_t wake;
    pthread_t watcher, ender;
    bool watching, ending, locked; /* what was made */
    atomic_bool stopping, ended;
    int streams; /* under the lock */
    struct line lines[FDIT_HTTP_MOST_CONNECTIONS];
};

/* A request, from its header on. */
struct call {
    struct line *line;
    const struct fdit_http_file *file;
    bool post;
    char *body;
    size_t n, capacity;
    size_t dropped; /* bytes of a body that became too large */
};

/* ------------------------------------------------------------------ slow clients */

static double now(void)
{
    return fdit_clock_seconds();
}

static void set_deadline(struct fdit_http *h, struct line *l, double seconds)
{
    if (!l)
        return;
    pthread_mutex_lock(&h->lock);
    h->streams -= l->streaming;
    l->streaming = l->mute = false;
    l->deadline = now() + seconds;
    pthread_mutex_unlock(&h->lock);
}

/* Whether one more stream may be open; then the line has no deadline any more. */
static bool take_stream(struct fdit_http *h, struct line *l)
{
    pthread_mutex_lock(&h->lock);
    bool room = l && !l->streaming && h->streams < FDIT_HTTP_MOST_STREAMS;
    if (room) {
        l->streaming = true;
        h->streams++;
    }
    pthread_mutex_unlock(&h->lock);
    return room;
}

/* Under the lock. Cuts off whoever sends a byte now and then (the library's own limit counts silence
 * alone), and, where room is short, whoever came to ask and does not. */
static void cut_off(struct fdit_http *h)
{
    const double patience = 1, t = now();
    int used = 0;
    for (int i = 0; i < FDIT_HTTP_MOST_CONNECTIONS; i++)
        used += h->lines[i].used;
    bool crowded = used > FDIT_HTTP_MOST_CONNECTIONS * 3 / 4;
    for (int i = 0; i < FDIT_HTTP_MOST_CONNECTIONS; i++) {
        const struct line *l = &h->lines[i];
        if (l->used && !l->streaming && (t > l->deadline || (crowded && l->mute && t > l->begun + patience)))
            shutdown(l->socket, SHUT_RDWR);
    }
}

static void *watch(void *user)
{
    struct fdit_http *h = user;
    pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        const struct timespec until = fdit_clock_after(1);
        pthread_cond_timedwait(&h->wake, &h->lock, &until);
        cut_off(h);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void on_connection(void *user, struct MHD_Connection *c, void **line,
                          enum MHD_ConnectionNotificationCode code)
{
    struct fdit_http *h = user;
    const union MHD_ConnectionInfo *info = h->mhd.get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    pthread_mutex_lock(&h->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *line = NULL;
        for (int i = 0; info && !*line && i < FDIT_HTTP_MOST_CONNECTIONS; i++)
            if (!h->lines[i].used)
                *line = &h->lines[i];
        if (*line)
            *(struct line *)*line = (struct line){ .used = true,
                                                   .socket = info->connect_fd,
                                                   .mute = true,
                                                   .begun = now(),
                                                   .deadline = now() + h->options.request_seconds };
    } else if (*line) {
        struct line *l = *line;
        h->streams -= l->streaming;
        *l = (struct line){ .used = false };
    }
    pthread_mutex_unlock(&h->lock);
}

static struct line *line_of(struct fdit_http *h, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = h->mhd.get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ------------------------------------------------------------------ replies */

/* Nothing from elsewhere, nothing inline, in nobody's frame, and nothing of it in a cache. */
static const char *const headers[][2] = {
    { "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "no-referrer" },
    { "Cross-Origin-Resource-Policy", "same-origin" },
    { "Cross-Origin-Opener-Policy", "same-origin" },
    { "Cache-Control", "no-store" },
};

static enum MHD_Result send_response(struct fdit_http *h, struct MHD_Connection *c, int code,
                                     const char *type, struct MHD_Response *response)
{
    enum MHD_Result done = MHD_YES;
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        done &= h->mhd.add_response_header(response, headers[i][0], headers[i][1]);
    done &= h->mhd.add_response_header(response, "Content-Type", type ? type : "application/json");
    if (code == 401)
        done &= h->mhd.add_response_header(response, "WWW-Authenticate", "Bearer");
    if (code == 405)
        done &= h->mhd.add_response_header(response, "Allow", "GET, HEAD, POST");
    if (done == MHD_YES)
        done = h->mhd.queue_response(c, (unsigned)code, response);
    h->mhd.destroy_response(response);
    return done;
}

static void free_nothing(void *bytes)
{
    (void)bytes;
}

static void free_bytes(void *bytes)
{
    fdit_free(bytes);
}

/* {"error": text}; with the text "" where memory is short. */
static enum MHD_Result send_error(struct fdit_http *h, struct MHD_Connection *c, int code, const char *text)
{
    static char nothing[] = "{\"error\":\"\"}";
    struct fdit_json b;
    char *bytes = NULL;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "error", text);
    if (fdit_json_end(NULL, &b, "error", JSON_COMPACT, &bytes) != FDIT_OK)
        bytes = NULL;
    fdit_json_fini(&b);
    return send_response(
        h, c, code, NULL,
        h->mhd.create_response_from_buffer_with_free_callback(
            strlen(bytes ? bytes : nothing), bytes ? bytes : nothing, bytes ? free_bytes : free_nothing));
}

/* ------------------------------------------------------------------ streams */

struct stream {
    struct fdit_http *h;
    struct fdit_http_reply reply;
    double spoken;
};

static ssize_t read_stream(void *user, uint64_t at, char *out, size_t n)
{
    static const char still_there[] = ": \n\n"; /* a comment: finds out that the client has gone */
    enum { QUIET = 5 };
    struct stream *s = user;
    (void)at;
    while (!s->h->stopping) {
        ssize_t got = s->reply.stream(s->reply.stream_user, out, n);
        if (got < 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (!got && now() - s->spoken < QUIET)
            continue;
        if (!got)
            memcpy(out, still_there, (size_t)(got = sizeof still_there - 1));
        s->spoken = now();
        return got;
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static void end_stream(void *user)
{
    struct stream *s = user;
    if (s->reply.stream_end)
        s->reply.stream_end(s->reply.stream_user);
    fdit_free(s);
}

static enum MHD_Result send_stream(struct fdit_http *h, struct MHD_Connection *c, struct line *l,
                                   const struct fdit_http_reply *reply)
{
    struct stream *s = NULL;
    bool room = take_stream(h, l);
    if (!room || fdit_alloc(NULL, 1, sizeof *s, &s) != FDIT_OK) {
        if (reply->stream_end)
            reply->stream_end(reply->stream_user);
        return send_error(h, c, 503, room ? "out of memory" : "too many streams are open; close one");
    }
    *s = (struct stream){ .h = h, .reply = *reply, .spoken = now() };
    struct MHD_Response *response =
        h->mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, s, end_stream);
    if (!response)
        end_stream(s);
    return send_response(h, c, 200, "text/event-stream", response);
}

/* ------------------------------------------------------------------ requests */

static const char *header(struct fdit_http *h, struct MHD_Connection *c, const char *name)
{
    return h->mhd.lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_host(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
    int *n = user;
    (void)kind;
    (void)value;
    *n += !strcasecmp(key, "Host");
    return MHD_YES;
}

/* "/api/draw" is for the function that answers, everything else a file of the page or nothing: no path of a
 * client becomes one of the disk. */
static const struct fdit_http_file *find_file(const struct fdit_http *h, const char *path)
{
    for (const struct fdit_http_file *f = h->options.files; f->path; f++)
        if (!strcmp(f->path, path))
            return f;
    return NULL;
}

static bool is_api(const char *path)
{
    return !strncmp(path, "/api/", 5);
}

static const char too_large[] = "the request is too large";

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Called by the library for the path and for each name and value behind it. An escape that says no byte, or
 * the end of a text, makes the whole of it a text that is not UTF-8, so that it is refused as such. */
static size_t unescape(void *user, struct MHD_Connection *c, char *text)
{
    char *to = text;
    (void)user;
    (void)c;
    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        const int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
        if (low < 0 || !(high | low)) {
            to = text;
            *to++ = '\xff';
            break;
        }
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return (size_t)(to - text);
}

struct malformed {
    bool any;
    char name[32];
};

static enum MHD_Result find_malformed(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct malformed *m = user;
    const bool named = fdit_utf8_valid(key, strlen(key));
    (void)kind;
    if (m->any || (named && (!value || fdit_utf8_valid(value, strlen(value)))))
        return MHD_YES;
    m->any = true;
    if (named && strlen(key) < sizeof m->name)
        snprintf(m->name, sizeof m->name, "%s", key);
    return MHD_NO;
}

/* Whether path, names and values of the address are texts; else what is not, into why. */
static bool check_address(struct fdit_http *h, struct MHD_Connection *c, const char *path, char why[160])
{
    struct malformed m = { .any = false };
    const char *what = "the address";
    if (fdit_utf8_valid(path, strlen(path))) {
        h->mhd.get_connection_values(c, MHD_GET_ARGUMENT_KIND, find_malformed, &m);
        what = m.name[0] ? m.name : "an argument of the address";
        if (!m.any)
            return true;
    }
    snprintf(why, 160,
             "%s is not UTF-8, or has a %% without two hexadecimal digits behind it; write %% as %%25", what);
    return false;
}

/* A request of which only the header is there. A body that is too large is refused before it is read. */
static const char *check_head(struct fdit_http *h, struct MHD_Connection *c, const char *path,
                              const char *method, const struct call *call, int *code)
{
    struct fdit_guard_request r = { .method = method,
                                    .host = header(h, c, "Host"),
                                    .origin = header(h, c, "Origin"),
                                    .site = header(h, c, "Sec-Fetch-Site"),
                                    .authorization = header(h, c, "Authorization"),
                                    .type = header(h, c, "Content-Type"),
                                    .open = !is_api(path) };
    h->mhd.get_connection_values(c, MHD_HEADER_KIND, count_host, &r.hosts);
    const char *reason = fdit_guard_refuses(&h->guard, &r, code), *length = header(h, c, "Content-Length");
    if (reason)
        return reason;
    if (length && (strlen(length) > 9 || atol(length) > (call->post ? FDIT_HTTP_BODY_BYTES : 0))) {
        *code = 413;
        return too_large;
    }
    *code = 404;
    return is_api(path) || (call->file && !call->post) ? NULL : "there is nothing at this address";
}

static int code_of(enum fdit_status status)
{
    return status == FDIT_ERROR_ARGUMENT                               ? 400
           : status == FDIT_ERROR_MEMORY || status == FDIT_INTERRUPTED ? 503
                                                                       : 500;
}

static void drop_reply(struct fdit_http_reply *reply)
{
    fdit_free(reply->bytes);
    if (reply->from_file)
        close(reply->file);
}

static enum MHD_Result send_reply(struct fdit_http *h, struct MHD_Connection *c, struct line *l,
                                  struct fdit_http_reply *reply)
{
    if (reply->stream)
        return send_stream(h, c, l, reply);
    struct MHD_Response *response =
        reply->from_file
            ? h->mhd.create_response_from_fd64(reply->n, reply->file)
            : h->mhd.create_response_from_buffer_with_free_callback(reply->n, reply->bytes, free_bytes);
    if (!response)
        drop_reply(reply);
    if (response && reply->download[0]) {
        char text[160];
        snprintf(text, sizeof text, "attachment; filename=\"%s\"", reply->download);
        if (h->mhd.add_response_header(response, "Content-Disposition", text) != MHD_YES) {
            h->mhd.destroy_response(response);
            return MHD_NO;
        }
    }
    return send_response(h, c, reply->code ? reply->code : 200, reply->type, response);
}

struct arguments {
    struct fdit_http *h;
    struct MHD_Connection *c;
};

const char *fdit_http_argument(const struct fdit_http_request *r, const char *name)
{
    const struct arguments *a = r->connection;
    return a->h->mhd.lookup_connection_value(a->c, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result answer(struct fdit_http *h, struct MHD_Connection *c, const char *path,
                              struct call *call)
{
    static char no_body[1];
    struct fdit_http_reply reply = { .code = 0 };
    struct arguments arguments = { h, c };
    set_deadline(h, call->line, FDIT_HTTP_REPLY_SECONDS);
    if (call->dropped)
        return send_error(h, c, 413, too_large);
    if (call->file)
        return send_response(h, c, 200, call->file->type,
                             h->mhd.create_response_from_buffer_with_free_callback(
                                 call->file->n, (void *)(uintptr_t)call->file->bytes, free_nothing));
    fdit_context *ctx = fdit_context_child(h->ctx);
    const struct fdit_http_request r = { .post = call->post,
                                         .path = path + strlen("/api/"),
                                         .body = call->body ? call->body : no_body,
                                         .n = call->n,
                                         .connection = &arguments };
    enum MHD_Result done;
    enum fdit_status status = ctx ? h->options.answer(ctx, h->user, &r, &reply) : FDIT_ERROR_MEMORY;
    if (status == FDIT_OK) {
        done = send_reply(h, c, call->line, &reply);
    } else {
        drop_reply(&reply);
        done = send_error(h, c, reply.code ? reply.code : code_of(status),
                          ctx ? fdit_context_message(ctx) : "out of memory");
    }
    if (ctx)
        fdit_context_free(ctx);
    return done;
}

/* A body that did not say its length and is too large is read to its end, as far as that is near: who still
 * sends takes no reply. */
static enum MHD_Result take_body(struct call *call, const char *bytes, size_t *n)
{
    if (call->dropped || call->n + *n > FDIT_HTTP_BODY_BYTES) {
        call->dropped += *n;
        *n = 0;
        return call->dropped <= FDIT_HTTP_DROPPED_BYTES ? MHD_YES : MHD_NO;
    }
    if (fdit_grow(NULL, &call->body, &call->capacity, call->n + *n + 1, 1) != FDIT_OK)
        return MHD_NO;
    memcpy(call->body + call->n, bytes, *n);
    call->n += *n;
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *bytes, size_t *n, void **state)
{
    struct fdit_http *h = user;
    struct call *call = *state;
    char why[160];
    int code;
    (void)version;
    if (call && *n)
        return take_body(call, bytes, n);
    if (call)
        return answer(h, c, path, call);
    if (fdit_alloc(NULL, 1, sizeof *call, &call) != FDIT_OK)
        return MHD_NO;
    *state = call;
    call->line = line_of(h, c);
    call->post = !strcmp(method, "POST");
    call->file = is_api(path) ? NULL : find_file(h, path);
    const char *reason = h->stopping ? "the server is stopping" : NULL;
    code = 503;
    if (!reason)
        reason = check_head(h, c, path, method, call, &code);
    if (!reason && !check_address(h, c, path, why)) {
        code = 400;
        reason = why;
    }
    return reason ? send_error(h, c, code, reason) : MHD_YES;
}

static void on_completed(void *user, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct fdit_http *h = user;
    struct call *call = *state;
    (void)c;
    (void)code;
    if (!call)
        return;
    set_deadline(h, call->line, FDIT_HTTP_IDLE_SECONDS + h->options.request_seconds);
    fdit_free(call->body);
    fdit_free(call);
    *state = NULL;
}

/* ------------------------------------------------------------------ starting and stopping */

static enum fdit_status name_hosts(fdit_context *ctx, struct fdit_http *h, const struct fdit_listen *where)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_http_options *o = &h->options;
    char own[FDIT_LISTEN_BYTES];
    snprintf(own, sizeof own, where->six ? "[%s]" : "%s", o->listen);
    if (!where->loopback && !o->n_hosts)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--listen %s: other machines could reach this address, with a token that travels in the clear; "
             "say "
             "under which name, --host NAME, or leave it out and come by 'ssh -L'",
             o->listen);
    if (where->loopback) {
        TRY(fdit_guard_add_host(ctx, &h->guard, own, where->port));
        TRY(fdit_guard_add_host(ctx, &h->guard, "localhost", where->port));
    }
    for (int i = 0; i < o->n_hosts; i++)
        TRY(fdit_guard_add_host(ctx, &h->guard, o->hosts[i], where->port));
    snprintf(h->address, sizeof h->address, "http://%s/", h->guard.hosts[0]);
out:
    return status;
}

/* What is blocked here is blocked in all threads of the library: a client that goes away must not end the
 * program. */
static bool start_threads(struct fdit_http *h)
{
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                           MHD_USE_ITC | (h->six ? MHD_USE_IPv6 : 0);
    enum { STACK = 1 << 20 };
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    h->daemon = h->mhd.start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->socket, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)FDIT_HTTP_MOST_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)FDIT_HTTP_IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)FDIT_HTTP_HEADER_BYTES, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_UNESCAPE_CALLBACK,
        unescape, NULL, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    h->watching = h->daemon && !pthread_create(&h->watcher, NULL, watch, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return h->watching;
}

enum fdit_status fdit_http_open(fdit_context *ctx, const struct fdit_http_options *options,
                                struct fdit_http **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_http *h = NULL;
    struct fdit_listen where;
    char why[512];
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *h, &h));
    h->socket = -1;
    h->ctx = ctx;
    h->options = *options;
    if (!h->options.request_seconds)
        h->options.request_seconds = FDIT_HTTP_REQUEST_SECONDS;
    if (!fdit_mhd_load(&h->mhd, why, sizeof why))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s", why);
    TRY(fdit_guard_init(ctx, &h->guard));
    TRY(fdit_listen_parse(ctx, options->listen, options->port, &where));
    TRY(name_hosts(ctx, h, &where)); /* what is wrong there is said before a port is taken */
    h->guard.n_hosts = 0;
    TRY(fdit_listen_open(ctx, &where, &h->socket));
    TRY(name_hosts(ctx, h, &where));
    h->six = where.six;
    *out = h;
    return FDIT_OK;
out:
    fdit_http_stop(h, 60);
    return status;
}

enum fdit_status fdit_http_start(fdit_context *ctx, struct fdit_http *h, void *user)
{
    h->user = user;
    h->locked = !pthread_mutex_init(&h->lock, NULL) && !pthread_cond_init(&h->wake, NULL);
    if (h->locked && start_threads(h))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_IO,
                     "%s: libmicrohttpd does not start; look at the limits of threads and open files",
                     h->address);
}

/* The library waits for all that answer. */
static void *end_daemon(void *user)
{
    struct fdit_http *h = user;
    h->mhd.stop_daemon(h->daemon); /* closes the socket */
    pthread_mutex_lock(&h->lock);
    h->ended = true;
    pthread_cond_broadcast(&h->wake);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* Within so many seconds; without a thread to wait with, in whatever time it takes. */
static bool end_daemon_within(struct fdit_http *h, double seconds)
{
    const double until = now() + seconds;
    h->ending = h->ending || !pthread_create(&h->ender, NULL, end_daemon, h);
    if (!h->ending)
        end_daemon(h);
    pthread_mutex_lock(&h->lock);
    while (!h->ended && now() < until) {
        const struct timespec soon = fdit_clock_after(0.1);
        pthread_cond_timedwait(&h->wake, &h->lock, &soon);
    }
    pthread_mutex_unlock(&h->lock);
    if (h->ended && h->ending)
        pthread_join(h->ender, NULL);
    return h->ended;
}

bool fdit_http_stop(struct fdit_http *h, double seconds)
{
    if (!h)
        return true;
    h->stopping = true;
    if (h->watching) {
        pthread_mutex_lock(&h->lock);
        pthread_cond_broadcast(&h->wake);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->watcher, NULL);
        h->watching = false;
    }
    if (h->daemon && !end_daemon_within(h, seconds))
        return false;
    if (!h->daemon && h->socket >= 0)
        close(h->socket);
    if (h->locked) {
        pthread_cond_destroy(&h->wake);
        pthread_mutex_destroy(&h->lock);
    }
    fdit_free(h);
    return true;
}

bool fdit_http_stopping(const struct fdit_http *h)
{
    return h->stopping;
}

const char *fdit_http_address(const struct fdit_http *h)
{
    return h->address;
}

const char *fdit_http_token(const struct fdit_http *h)
{
    return h->guard.token;
}

bool fdit_http_available(char *why, size_t bytes)
{
    struct fdit_mhd m;
    return fdit_mhd_load(&m, why, bytes);
}

#else

bool fdit_http_available(char *why, size_t bytes)
{
    snprintf(why, bytes,
             "serve needs libmicrohttpd, which this program was built without; build it with "
             "libmicrohttpd-dev");
    return false;
}

enum fdit_status fdit_http_open(fdit_context *ctx, const struct fdit_http_options *options,
                                struct fdit_http **out)
{
    char why[256];
    (void)options;
    *out = NULL;
    fdit_http_available(why, sizeof why);
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s", why);
}

enum fdit_status fdit_http_start(fdit_context *ctx, struct fdit_http *h, void *user)
{
    (void)h;
    (void)user;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "this program was built without libmicrohttpd");
}

bool fdit_http_stop(struct fdit_http *h, double seconds)
{
    (void)h;
    (void)seconds;
    return true;
}

bool fdit_http_stopping(const struct fdit_http *h)
{
    (void)h;
    return true;
}

const char *fdit_http_address(const struct fdit_http *h)
{
    (void)h;
    return "";
}

const char *fdit_http_token(const struct fdit_http *h)
{
    (void)h;
    return "";
}

const char *fdit_http_argument(const struct fdit_http_request *r, const char *name)
{
    (void)r;
    (void)name;
    return NULL;
}

#endif
