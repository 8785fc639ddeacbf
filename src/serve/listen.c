/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static socklen_t make_address(const struct fdit_listen *l, union any_address *a)
{
    memset(a, 0, sizeof *a);
    if (l->six) {
        a->six.sin6_family = AF_INET6;
        a->six.sin6_port = htons((uint16_t)l->port);
        inet_pton(AF_INET6, l->address, &a->six.sin6_addr);
        return sizeof a->six;
    }
    a->four.sin_family = AF_INET;
    a->four.sin_port = htons((uint16_t)l->port);
    inet_pton(AF_INET, l->address, &a->four.sin_addr);
    return sizeof a->four;
}

enum fdit_status fdit_listen_parse(fdit_context *ctx, const char *address, int port, struct fdit_listen *out)
{
    struct in_addr four;
    struct in6_addr six;
    *out = (struct fdit_listen){ .port = port };
    out->six = inet_pton(AF_INET, address, &four) != 1;
    if (out->six && inet_pton(AF_INET6, address, &six) != 1)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--listen %s: not an address in numbers; give one as 127.0.0.1 or ::1", address);
    snprintf(out->address, sizeof out->address, "%s", address);
    out->loopback = out->six ? IN6_IS_ADDR_LOOPBACK(&six) : ntohl(four.s_addr) >> 24 == 127;
    return FDIT_OK;
}

static enum fdit_status fail(fdit_context *ctx, const struct fdit_listen *l, int error)
{
    return fdit_fail_errno(ctx, FDIT_ERROR_IO, error, "--listen %s --port %d%s", l->address, l->port,
                           error == EADDRINUSE ? ": another program listens there; give another --port, or "
                                                 "--port 0 for a free one"
                           : error == EADDRNOTAVAIL
                               ? ": not an address of this machine; 'ip address' lists them"
                           : error == EACCES ? ": ports below 1024 are the administrator's; give another"
                                             : "");
}

enum fdit_status fdit_listen_open(fdit_context *ctx, struct fdit_listen *l, int *out)
{
    enum fdit_status status = FDIT_OK;
    union any_address a;
    socklen_t n = make_address(l, &a);
    int on = 1, fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *out = -1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (l->six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) || bind(fd, &a.any, n) ||
        listen(fd, SOMAXCONN) || getsockname(fd, &a.any, &n))
        TRY(fail(ctx, l, errno));
    l->port = ntohs(l->six ? a.six.sin6_port : a.four.sin_port);
    *out = fd;
    return FDIT_OK;
out:
    if (fd >= 0)
        close(fd);
    return status;
}
