/* SPDX-License-Identifier: Apache-2.0 */
#include "core/child.h"

#include "core/clock.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

extern char **environ;

enum { REPLY_MOST = 64 << 10, SAID_MOST = 1024 };

/* The two ways that the child's words take. */
struct ends {
    int reply, said; /* ours; -1: closed */
    size_t n_reply, n_said;
    char reply_text[REPLY_MOST + 1], said_text[2 * SAID_MOST + 1];
};

/* A pipe whose ends are not 0 to 3, closed in programs that others start. */
static bool make_pipe(int out[2])
{
    int low[2];
    out[0] = out[1] = -1;
    if (pipe(low) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        out[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
    close(low[0]);
    close(low[1]);
    return out[0] >= 0 && out[1] >= 0;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Does `entry` of the environment belong to the variable that `change` names? */
static bool is_changed(const char *entry, const char *change)
{
    size_t n = strcspn(change, "=");
    return strncmp(entry, change, n) == 0 && entry[n] == '=';
}

/* The environment with the changes; the strings are not copied. */
static enum fdit_status environment(fdit_context *ctx, const char *const *changes, char ***out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = 0, extra = 0, k = 0;
    while (environ && environ[n])
        n++;
    while (changes && changes[extra])
        extra++;
    TRY(fdit_alloc(ctx, n + extra + 1, sizeof **out, out));
    for (size_t i = 0; i < n; i++) {
        bool kept = true;
        for (size_t c = 0; c < extra && kept; c++)
            kept = !is_changed(environ[i], changes[c]);
        if (kept)
            (*out)[k++] = environ[i];
    }
    for (size_t c = 0; c < extra; c++)
        if (strchr(changes[c], '='))
            memcpy(&(*out)[k++], &changes[c], sizeof *changes);
out:
    return status;
}

static int spawn(const struct fdit_child *child, char **argv, char **env, int reply, int said, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int error = posix_spawn_file_actions_init(&files);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&files);
        return error;
    }
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    if (!(error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)) &&
        !(error = posix_spawn_file_actions_adddup2(&files, said, 1)) &&
        !(error = posix_spawn_file_actions_adddup2(&files, said, 2)) &&
        !(error = posix_spawn_file_actions_adddup2(&files, reply, FDIT_CHILD_REPLY)))
        error = posix_spawn(pid, child->program, &files, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

/* Some of what can be read now. */
static void take(struct ends *e)
{
    struct pollfd p[2] = { { .fd = e->reply, .events = POLLIN }, { .fd = e->said, .events = POLLIN } };
    /* Bounded: a child may print faster than it is read. */
    for (int round = 0; round < 256 && poll(p, 2, 0) > 0; round++) {
        char text[SAID_MOST];
        for (int i = 0; i < 2; i++) {
            if (p[i].fd < 0 || !p[i].revents)
                continue;
            ssize_t n = read(p[i].fd, text, sizeof text);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0) {
                close_end(i ? &e->said : &e->reply);
                p[i].fd = -1;
            } else if (!i) {
                size_t room = REPLY_MOST - e->n_reply, m = (size_t)n < room ? (size_t)n : room;
                memcpy(e->reply_text + e->n_reply, text, m);
                e->n_reply += m;
            } else {
                if (e->n_said > SAID_MOST) { /* only its end is wanted */
                    memmove(e->said_text, e->said_text + e->n_said - SAID_MOST, SAID_MOST);
                    e->n_said = SAID_MOST;
                }
                memcpy(e->said_text + e->n_said, text, (size_t)n);
                e->n_said += (size_t)n;
            }
        }
    }
}

static enum fdit_status wait_for(fdit_context *ctx, const struct fdit_child *child, pid_t pid, struct ends *e,
                                 struct fdit_child_end *out)
{
    enum fdit_status status = FDIT_OK;
    double began = fdit_clock_seconds();
    bool noted = !child->patience;
    int state = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &state, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        double spent = fdit_clock_seconds() - began;
        if (fdit_stopped(ctx)) {
            status = fdit_fail(ctx, FDIT_INTERRUPTED, "stopped while a driver was looked at");
            break;
        }
        if (spent > child->seconds) {
            out->late = true;
            break;
        }
        if (!noted && spent > 3) {
            noted = true;
            fdit_log(ctx, FDIT_LOG_NOTE, "%s", child->patience);
        }
        struct pollfd p[2] = { { .fd = e->reply, .events = POLLIN }, { .fd = e->said, .events = POLLIN } };
        /* Its end is not an event of the pipes where it left a process behind. */
        if (poll(p, 2, e->reply < 0 && e->said < 0 ? 2 : 20) > 0)
            take(e);
    }
    /* The reply is closed for other programs (fdit_child_begin): who holds it is a copy of the child. */
    struct pollfd p = { .fd = e->reply, .events = POLLIN };
    out->left = ended == pid && e->reply >= 0 && poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
    kill(-pid, SIGKILL); /* what it left behind, or itself */
    while (ended == 0 || (ended < 0 && errno == EINTR))
        ended = waitpid(pid, &state, 0);
    take(e);
    /* Where the caller's process ignores SIGCHLD nobody knows how it ended; its reply tells enough.
     */
    out->code = ended == pid && WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    out->signal = ended == pid && WIFSIGNALED(state) && !out->late ? WTERMSIG(state) : 0;
    return status;
}

/* The last line that holds anything; `cut`: the process was killed, so that a line without an end is half
 * of one, and the one before it is taken, if there is one. */
static enum fdit_status last_line(fdit_context *ctx, char *text, size_t n, bool cut, char **out)
{
    size_t whole = n;
    while (cut && whole && text[whole - 1] != '\n')
        whole--;
    n = whole ? whole : n;
    while (n && strchr(" \t\r\n.", text[n - 1])) /* the dot: it goes into a sentence */
        n--;
    size_t from = n;
    while (from && text[from - 1] != '\n' && text[from - 1] != '\r')
        from--;
    if (n - from > 300)
        n = from + 300;
    for (size_t i = from; i < n; i++)
        if (!text[i])
            text[i] = ' ';
    return fdit_strndup(ctx, text + from, n - from, out);
}

enum fdit_status fdit_child_run(fdit_context *ctx, const struct fdit_child *child, struct fdit_child_end *out)
{
    enum fdit_status status = FDIT_OK;
    int reply[2] = { -1, -1 }, said[2] = { -1, -1 };
    struct ends *e = NULL;
    char **argv = NULL, **env = NULL;
    size_t n = 0;
    pid_t pid;
    *out = (struct fdit_child_end){ .code = -1 };
    while (child->args[n])
        n++;
    TRY(fdit_alloc(ctx, n + 2, sizeof *argv, &argv));
    memcpy(argv, &child->program, sizeof *argv);
    memcpy(argv + 1, child->args, n * sizeof *argv);
    TRY(environment(ctx, child->env, &env));
    TRY(fdit_alloc(ctx, 1, sizeof *e, &e));
    e->reply = e->said = -1;
    if (!make_pipe(reply) || !make_pipe(said))
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "no pipe to a child process"));
    int error = spawn(child, argv, env, reply[1], said[1], &pid);
    if (error)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, error, "%s cannot be started", child->program));
    close_end(&reply[1]);
    close_end(&said[1]);
    e->reply = reply[0];
    e->said = said[0];
    reply[0] = said[0] = -1;
    TRY(wait_for(ctx, child, pid, e, out));
    TRY(fdit_strndup(ctx, e->reply_text, strnlen(e->reply_text, e->n_reply), &out->reply));
    TRY(last_line(ctx, e->said_text, e->n_said, out->late, &out->said));
out:
    if (e) {
        close_end(&e->reply);
        close_end(&e->said);
    }
    for (int i = 0; i < 2; i++) {
        close_end(&reply[i]);
        close_end(&said[i]);
    }
    fdit_free(e);
    fdit_free(argv);
    fdit_free(env);
    if (status != FDIT_OK)
        fdit_child_end_fini(out);
    return status;
}

void fdit_child_end_fini(struct fdit_child_end *end)
{
    fdit_free(end->reply);
    fdit_free(end->said);
    end->reply = end->said = NULL;
}

void fdit_child_begin(int seconds)
{
    struct rlimit none = { 0, 0 };
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &none);
    alarm((unsigned)seconds);
    for (int fd = FDIT_CHILD_REPLY + 1; fd < 1024; fd++)
        close(fd);
    fcntl(FDIT_CHILD_REPLY, F_SETFD, FD_CLOEXEC); /* not for the compilers that drivers start */
}
