/* SPDX-License-Identifier: Apache-2.0
 * mhd.h: the functions of libmicrohttpd, looked up when they are needed (as eval/lapack.c does with LAPACK):
 * linked, it and what it brings would be loaded by every command. */
#ifndef FDIT_SERVE_MHD_H
#define FDIT_SERVE_MHD_H

#ifdef HAVE_HTTP

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#define FDIT_MHD_FUNCTIONS(X)                         \
    X(start_daemon)                                   \
    X(stop_daemon)                                    \
    X(get_connection_info)                            \
    X(lookup_connection_value)                        \
    X(get_connection_values)                          \
    X(create_response_from_buffer_with_free_callback) \
    X(create_response_from_callback)                  \
    X(create_response_from_fd64)                      \
    X(add_response_header)                            \
    X(queue_response)                                 \
    X(destroy_response)

struct fdit_mhd {
#define X(name) __typeof__(&MHD_##name) name;
    FDIT_MHD_FUNCTIONS(X)
#undef X
};

/* Into *m, or the reason and the remedy into why. */
bool fdit_mhd_load(struct fdit_mhd *m, char *why, size_t bytes);

#endif
#endif
