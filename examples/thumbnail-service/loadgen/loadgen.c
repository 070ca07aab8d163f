/*
 * loadgen: asks a thumbnail-svc for thumbnails at a steady rate, each over a connection of its own, so that a Kubernetes Service spreads
 * the load and a pod that was taken out of the Service gets none. Prints one line every ten seconds.
 *
 *   loadgen --url http://HOST:PORT [--rps 30] [--large-share 0.3] [--corrupt-share 0.5] [--mb 4] [--duration 0] [--seed 1]
 *
 * large-share: part of the requests that ask for a TIFF of `mb` MiB; the others ask for TIFFs and PNGs of 1 MiB. corrupt-share: part of
 * the TIFFs, large or small, that have a bad tile. duration: seconds; 0 = until it is stopped.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SENDERS 16
#define MAX_LATENCIES 100000

static char host[256], port[8] = "80";
static double rps = 30, large_share = 0.3, corrupt_share = 0.5;
static unsigned mb = 4, duration_seconds;
static volatile sig_atomic_t stopped;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t random_state = 1;
static double next_send;
static unsigned long ok, refused, failed;
static float latencies[MAX_LATENCIES];
static size_t latency_count;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_seconds(double seconds)
{
    if (seconds <= 0) return;
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* splitmix64; a fixed seed makes a run repeatable. Call with the lock held. */
static double random_share(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* Status code of the answer; 0 when there was none. */
static int ask(const char *path)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found) != 0) return 0;
    int status = 0, connection = socket(found->ai_family, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 2};
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connection >= 0 && connect(connection, found->ai_addr, found->ai_addrlen) == 0) {
        char message[512], reply[1024];
        int length = snprintf(message, sizeof message, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
        if (send(connection, message, (size_t)length, MSG_NOSIGNAL) == length) {
            ssize_t have = 0, n;
            while (have < (ssize_t)sizeof reply - 1 && (n = recv(connection, reply + have, sizeof reply - 1 - (size_t)have, 0)) > 0) have += n;
            reply[have] = '\0';
            if (sscanf(reply, "HTTP/1.1 %d", &status) != 1) status = 0;
        }
    }
    if (connection >= 0) close(connection);
    freeaddrinfo(found);
    return status;
}

static void *send_requests(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        double at = next_send;
        next_send += 1 / rps;
        /* Senders that all waited for a dead service must not make up for it with a burst. */
        double start = now_seconds();
        if (start - at > 1) next_send = (at = start) + 1 / rps;
        bool large = random_share() < large_share;
        bool tiff = large || random_share() < 0.5;
        bool corrupt = tiff && random_share() < corrupt_share;
        pthread_mutex_unlock(&lock);

        sleep_seconds(at - start);
        if (stopped) return NULL;
        char path[128];
        snprintf(path, sizeof path, "/thumbnail?kind=%s&mb=%u&corrupt=%d", tiff ? "tiff" : "png", large ? mb : 1, corrupt);
        double asked = now_seconds();
        int status = ask(path);
        double took = now_seconds() - asked;

        pthread_mutex_lock(&lock);
        if (status == 200) ok++;
        else if (status >= 400 && status < 500) refused++;
        else failed++;
        if (latency_count < MAX_LATENCIES) latencies[latency_count++] = (float)took;
        pthread_mutex_unlock(&lock);
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(double seconds)
{
    pthread_mutex_lock(&lock);
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    double p50 = latency_count == 0 ? 0 : latencies[latency_count / 2] * 1e3;
    double p99 = latency_count == 0 ? 0 : latencies[latency_count * 99 / 100] * 1e3;
    printf("loadgen: %5.0f s  ok %lu  refused %lu  failed %lu  p50 %.1f ms  p99 %.1f ms\n", seconds, ok, refused, failed, p50, p99);
    fflush(stdout);
    ok = refused = failed = latency_count = 0;
    pthread_mutex_unlock(&lock);
}

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "loadgen: %s\nusage: loadgen --url http://HOST:PORT [--rps N] [--large-share X] [--corrupt-share X] [--mb N] [--duration S] [--seed N]\n", what);
    exit(2);
}

static double number(const char *text, double least, double most, const char *complaint)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) fail(complaint);
    return value;
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'}, {"rps", required_argument, NULL, 'r'}, {"large-share", required_argument, NULL, 'l'},
        {"corrupt-share", required_argument, NULL, 'c'}, {"mb", required_argument, NULL, 'm'}, {"duration", required_argument, NULL, 'd'},
        {"seed", required_argument, NULL, 's'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'u':
            if (sscanf(optarg, "http://%255[^:/]:%7[0-9]", host, port) < 1) fail("--url must look like http://HOST:PORT");
            break;
        case 'r': rps = number(optarg, 0.01, 10000, "--rps must be from 0.01 to 10000"); break;
        case 'l': large_share = number(optarg, 0, 1, "--large-share must be from 0 to 1"); break;
        case 'c': corrupt_share = number(optarg, 0, 1, "--corrupt-share must be from 0 to 1"); break;
        case 'm': mb = (unsigned)number(optarg, 1, 256, "--mb must be from 1 to 256"); break;
        case 'd': duration_seconds = (unsigned)number(optarg, 0, 1e9, "--duration must be seconds, 0 or more"); break;
        case 's': random_state = (uint64_t)number(optarg, 0, 1e15, "--seed must be a number"); break;
        default: fail("unknown option");
        }
    }
    if (host[0] == '\0' || optind != argc) fail("--url is missing, or there is something else");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    double began = now_seconds(), reported = began;
    next_send = began;
    pthread_t senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        if (pthread_create(&senders[i], NULL, send_requests, NULL) != 0) fail("cannot start a sender");
    }
    while (!stopped) {
        sleep_seconds(0.2);
        double now = now_seconds();
        if (duration_seconds > 0 && now - began >= duration_seconds) stopped = 1;
        if (now - reported >= 10 || stopped) report((reported = now) - began);
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(senders[i], NULL);
    return 0;
}
