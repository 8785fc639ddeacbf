/* SPDX-License-Identifier: Apache-2.0
 * slow_link.c: a slow line between two network interfaces, for kernels without netem:
 *
 *     slow_link IF1 IF2 MILLISECONDS MBIT
 *
 * Each frame that arrives at one leaves by the other, so many milliseconds after the line could carry it (one
 * way), at so many Mbit/s in each direction. Frames come and go with the header of virtio (packet(7),
 * PACKET_VNET_HDR): between virtual interfaces they are larger than any line's and have no checksums yet, and
 * the kernel that receives them must be told. Runs until it is killed. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 17, HEADER = 10 /* struct virtio_net_hdr */ };

struct frame {
    struct frame *next;
    double due; /* when it leaves */
    size_t n;
    unsigned char bytes[];
};

struct way {
    int from, to;
    double free; /* when the line has carried what it has */
    struct frame *first, **last;
};

static double delay, rate; /* seconds, bytes a second */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "slow_link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_interface(const char *name)
{
    const int one = 1;
    struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
    struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
    const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof at) ||
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all))
        die(name);
    return fd;
}

static void take(struct way *w)
{
    static unsigned char buffer[MOST];
    struct sockaddr_ll sender;
    socklen_t size = sizeof sender;
    const ssize_t n =
        recvfrom(w->from, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&sender, &size);
    if (n <= HEADER || sender.sll_pkttype == PACKET_OUTGOING)
        return;
    struct frame *f = malloc(sizeof *f + (size_t)n);
    if (!f)
        die("a frame");
    memcpy(f->bytes, buffer, (size_t)n);
    f->n = (size_t)n;
    f->next = NULL;
    w->free = (w->free > now() ? w->free : now()) + (double)n / rate;
    f->due = w->free + delay;
    *w->last = f;
    w->last = &f->next;
}

static void pass_on(struct way *w)
{
    while (w->first && w->first->due <= now()) {
        struct frame *f = w->first;
        w->first = f->next;
        if (!w->first)
            w->last = &w->first;
        if (send(w->to, f->bytes, f->n, 0) < 0 && errno != ENETDOWN && errno != ENOBUFS && errno != EINVAL)
            die("a frame that leaves");
        free(f);
    }
}

int main(int argc, char **argv)
{
    struct way ways[2];
    if (argc != 5)
        return 2;
    delay = atof(argv[3]) / 1000;
    rate = atof(argv[4]) * 1e6 / 8;
    const int a = open_interface(argv[1]), b = open_interface(argv[2]);
    for (int k = 0; k < 2; k++) {
        ways[k] = (struct way){ .from = k ? b : a, .to = k ? a : b };
        ways[k].last = &ways[k].first;
    }
    struct pollfd fds[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
    for (;;) {
        double wait = 1;
        for (int k = 0; k < 2; k++)
            if (ways[k].first && ways[k].first->due - now() < wait)
                wait = ways[k].first->due - now();
        const struct timespec t = { .tv_nsec = wait > 0 ? (long)(wait * 999999999) : 0 };
        if (ppoll(fds, 2, &t, NULL) < 0 && errno != EINTR)
            die("poll");
        for (int k = 0; k < 2; k++) {
            if (fds[k].revents)
                take(&ways[k]);
            pass_on(&ways[k]);
        }
    }
}
