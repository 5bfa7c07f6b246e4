/* A wide-area link in user space: what enters one TUN device leaves the other, later.
 *
 *   link ORIGIN_NAMESPACE SITE_NAMESPACE
 *
 * Each line of standard input says what the link is like from now on, in four whole numbers:
 *
 *   DELAY_US RATE_BITS BUFFER_US LOSS_PER_MILLION
 *
 * Each direction is a router and a wire: a packet waits until those before it are on the wire at
 * RATE_BITS a second (bits of IP packets), is dropped where it would wait longer than BUFFER_US,
 * is lost on the wire by chance, and arrives DELAY_US after it left. "ready" on standard output
 * answers each line; from the first on there is a device `wan0` at both ends. It ends with its
 * standard input.
 *
 * Without loss the kernel hands over what a network card would cut into packets in one piece, of up
 * to 64 KiB (TSO), which costs a tenth of the CPU; with loss each packet is lost alone.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define RING (1 << 18) /* packets in one direction; at 40 bytes each, 84 ms of 1 Gbit/s */
/* Packets that come close together are carried together, as a network card does (interrupt
 * moderation): each round costs the processors that the benchmark measures. */
#define ROUND_NS 100000
#define LARGEST (65536 + sizeof(struct virtio_net_hdr))

struct packet {
    int64_t due_ns;
    ssize_t length;
    char *bytes;
};

struct direction {
    int from, to;
    int64_t free_ns; /* when the wire has taken what waits for it */
    uint32_t head, tail;
    struct packet *ring;
};

static int64_t delay_ns, buffer_ns, rate_bits, loss_per_million;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int open_tun(const char *namespace)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int home = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || setns(home, CLONE_NEWNET))
        err(1, "%s", path);
    close(home);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0)
        err(1, "/dev/net/tun");
    struct ifreq request = {.ifr_name = "wan0", .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    if (ioctl(tun, TUNSETIFF, &request))
        err(1, "wan0 in %s", namespace);
    return tun;
}

/* Read what the link is like; false where there is nothing more to come. */
static int become(struct direction ways[2])
{
    char line[256];
    ssize_t length = read(0, line, sizeof line - 1);
    if (length <= 0)
        return 0;
    line[length] = 0;
    long long delay_us, rate, buffer_us, loss;
    if (sscanf(line, "%lld %lld %lld %lld", &delay_us, &rate, &buffer_us, &loss) != 4)
        errx(2, "expected four numbers, got %s", line);
    delay_ns = delay_us * 1000;
    rate_bits = rate;
    buffer_ns = buffer_us * 1000;
    loss_per_million = loss;
    for (int i = 0; i < 2; i++)
        if (ioctl(ways[i].from, TUNSETOFFLOAD, loss ? 0 : TUN_F_CSUM | TUN_F_TSO4))
            err(1, "offload of wan0");
    puts("ready");
    fflush(stdout);
    return 1;
}

/* The bits of a packet, or of all packets that a network card would make of it. */
static int64_t bits(const char *bytes, ssize_t length)
{
    const struct virtio_net_hdr *header = (const void *)bytes;
    int64_t whole = length - sizeof *header;
    if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE && header->gso_size) {
        int64_t payload = whole - header->hdr_len;
        int64_t packets = (payload + header->gso_size - 1) / header->gso_size;
        whole += (packets - 1) * header->hdr_len;
    }
    return whole * 8;
}

static void take(struct direction *way)
{
    static char bytes[LARGEST];
    ssize_t length;
    while ((length = read(way->from, bytes, sizeof bytes)) > 0) {
        int64_t now = now_ns();
        int64_t start = way->free_ns > now ? way->free_ns : now;
        if (start - now > buffer_ns || way->head - way->tail == RING)
            continue; /* the buffer is full */
        way->free_ns = start + bits(bytes, length) * 1000000000LL / rate_bits;
        if (loss_per_million && random() % 1000000 < loss_per_million)
            continue; /* lost on the wire */
        struct packet *packet = &way->ring[way->head++ % RING];
        packet->due_ns = way->free_ns + delay_ns;
        packet->length = length;
        packet->bytes = malloc(length);
        if (!packet->bytes)
            err(1, "a packet");
        memcpy(packet->bytes, bytes, length);
    }
}

/* Deliver what is due, and return when the next packet will be. */
static int64_t deliver(struct direction *way)
{
    while (way->tail != way->head) {
        struct packet *packet = &way->ring[way->tail % RING];
        if (packet->due_ns > now_ns())
            return packet->due_ns;
        if (write(way->to, packet->bytes, packet->length) < 0) { /* as a wire: nobody is told */ }
        free(packet->bytes);
        way->tail++;
    }
    return INT64_MAX;
}

int main(int count, char **words)
{
    if (count != 3)
        errx(2, "expected two namespaces, got %d words", count - 1);
    struct direction ways[2] = {{0}};
    ways[0].from = ways[1].to = open_tun(words[1]);
    ways[1].from = ways[0].to = open_tun(words[2]);
    for (int i = 0; i < 2; i++)
        if (!(ways[i].ring = calloc(RING, sizeof *ways[i].ring)))
            err(1, "a ring");
    /* A wire does not wait for a processor. */
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_RR, &first))
        warn("the link has no precedence over others");
    if (!become(ways))
        return 0;
    for (;;) {
        int64_t next = INT64_MAX;
        for (int i = 0; i < 2; i++) {
            take(&ways[i]);
            int64_t due = deliver(&ways[i]);
            next = due < next ? due : next;
        }
        struct pollfd watched[3] = {
            {ways[0].from, POLLIN, 0}, {ways[1].from, POLLIN, 0}, {0, POLLIN, 0}};
        int64_t wait = next - now_ns();
        struct timespec pause = {wait / 1000000000, wait % 1000000000};
        if (wait < ROUND_NS) {
            nanosleep(&(struct timespec){0, ROUND_NS}, NULL);
            pause = (struct timespec){0};
        }
        if (ppoll(watched, 3, next == INT64_MAX ? NULL : &pause, NULL) > 0 && watched[2].revents)
            if (!become(ways))
                return 0;
    }
}
