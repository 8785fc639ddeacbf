/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/guard.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum fdit_status fdit_guard_init(fdit_context *ctx, struct fdit_guard *g)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[FDIT_GUARD_TOKEN];
    *g = (struct fdit_guard){ .n_hosts = 0 };
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fdit_fail_errno(
            ctx, FDIT_ERROR_IO, errno,
            "the system gives no random numbers for a token; nothing is served without one");
    for (size_t i = 0; i < sizeof random; i++)
        g->token[i] = digits[random[i] & 63];
    return FDIT_OK;
}

/* What may stand in a Host header: of names letters, digits, dots and dashes; of addresses of 6 brackets and
 * colons. */
static bool is_host(const char *name, size_t n)
{
    bool six = n > 2 && name[0] == '[' && name[n - 1] == ']';
    if (!n || n > 255)
        return false;
    for (size_t i = six; i < n - six; i++)
        if (six ? !isxdigit((unsigned char)name[i]) && name[i] != ':' && name[i] != '.'
                : !isalnum((unsigned char)name[i]) && name[i] != '.' && name[i] != '-')
            return false;
    return true;
}

/* Bytes of the name before ":PORT", where that is there; port is then that. */
static size_t split_port(const char *name, int *port)
{
    const char *colon = strrchr(name, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (!digits || digits > 5 || colon[1 + digits])
        return strlen(name);
    *port = atoi(colon + 1);
    return (size_t)(colon - name);
}

enum fdit_status fdit_guard_add_host(fdit_context *ctx, struct fdit_guard *g, const char *name, int port)
{
    const int n = (int)split_port(name, &port);
    if (!is_host(name, (size_t)n))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--host %s: not a host's name; give what stands between http:// and the port in the "
                         "address that people will type, an IPv6 address in brackets",
                         name);
    if (g->n_hosts + (port == 80) >= FDIT_GUARD_MOST_HOSTS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--host %s: more than %d names; give fewer", name,
                         FDIT_GUARD_MOST_HOSTS - 4);
    snprintf(g->hosts[g->n_hosts++], FDIT_GUARD_HOST_BYTES, "%.*s:%d", n, name, port);
    if (port == 80)
        snprintf(g->hosts[g->n_hosts++], FDIT_GUARD_HOST_BYTES, "%.*s", n, name);
    return FDIT_OK;
}

static bool is_ours(const struct fdit_guard *g, const char *host)
{
    for (int i = 0; i < g->n_hosts; i++)
        if (!strcasecmp(g->hosts[i], host))
            return true;
    return false;
}

/* Takes as long whatever differs. */
static bool is_token(const struct fdit_guard *g, const char *authorization)
{
    static const char bearer[] = "Bearer ";
    unsigned char difference = 0;
    if (!authorization || strncasecmp(authorization, bearer, sizeof bearer - 1))
        return false;
    const char *token = authorization + sizeof bearer - 1;
    if (strlen(token) != FDIT_GUARD_TOKEN)
        return false;
    for (int i = 0; i < FDIT_GUARD_TOKEN; i++)
        difference |= (unsigned char)(token[i] ^ g->token[i]);
    return !difference;
}

const char *fdit_guard_refuses(const struct fdit_guard *g, const struct fdit_guard_request *r, int *code)
{
    static const char scheme[] = "http://";
    bool post = !strcmp(r->method, "POST");
    *code = 403;
    if (r->hosts != 1 || !r->host || !is_ours(g, r->host)) {
        *code = 421;
        return "this server does not go by that name; use the address that it printed, or start it with "
               "--host NAME";
    }
    if (r->origin &&
        (strncmp(r->origin, scheme, sizeof scheme - 1) || strcasecmp(r->origin + sizeof scheme - 1, r->host)))
        return "requests of other pages are refused";
    /* "none": typed by the user, or from a bookmark */
    if (r->site && strcmp(r->site, "same-origin") && (post || strcmp(r->site, "none")))
        return "requests of other pages are refused";
    if (!post && strcmp(r->method, "GET") && strcmp(r->method, "HEAD")) {
        *code = 405;
        return "only GET, HEAD and POST are answered";
    }
    if (r->open && !post)
        return NULL;
    if (!is_token(g, r->authorization)) {
        *code = 401;
        return "the token is missing or not this server's; open the address that it printed, or send "
               "'Authorization: Bearer TOKEN'";
    }
    /* a form cannot send this without asking first */
    if (post && (!r->type || strncasecmp(r->type, "application/json", strlen("application/json")))) {
        *code = 415;
        return "send JSON, with 'Content-Type: application/json'";
    }
    return NULL;
}
