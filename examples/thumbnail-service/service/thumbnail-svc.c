/*
 * thumbnail-svc: a small HTTP/1.1 service that decodes an image for each request and answers with a line about its thumbnail.
 *
 *   GET /thumbnail?kind=tiff|png&mb=N&corrupt=0|1   200, 422 (the image is bad), 413 (too large), 503 (out of memory)
 *   GET /healthz                                    200
 *   GET /version                                    the version of libimgdecode that is loaded
 *
 * Environment: PORT (8080), MAX_CONCURRENCY (4; decodes at one time), MAX_DIMENSION (16384; pixels of the longer side).
 * One connection is one request. Four workers take connections from one listening socket.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../libimgdecode/imgdecode.h"
#include "synthetic.h"

#define WORKERS 4
#define MAX_MB 256u

static int listener = -1;
static unsigned max_concurrency, max_dimension;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static unsigned decoding;

static void enter_gate(void)
{
    pthread_mutex_lock(&gate);
    while (decoding >= max_concurrency) pthread_cond_wait(&gate_opened, &gate);
    decoding++;
    pthread_mutex_unlock(&gate);
}

static void leave_gate(void)
{
    pthread_mutex_lock(&gate);
    decoding--;
    pthread_cond_signal(&gate_opened);
    pthread_mutex_unlock(&gate);
}

__attribute__((format(printf, 3, 4))) static void answer(int connection, const char *status, const char *format, ...)
{
    char body[256], message[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if ((size_t)length >= sizeof body) length = sizeof body - 1;
    int total = snprintf(message, sizeof message,
                         "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, length, body);
    for (int sent = 0; sent < total;) {
        ssize_t n = send(connection, message + sent, (size_t)(total - sent), MSG_NOSIGNAL);
        if (n <= 0) return;
        sent += (int)n;
    }
}

/* The sum of a grid of 64 x 64 pixels: our "thumbnail". */
static uint32_t shrink(const uint8_t *pixels, uint32_t width, uint32_t height)
{
    uint32_t sum = 0;
    for (uint32_t y = 0; y < 64; y++) {
        for (uint32_t x = 0; x < 64; x++) {
            size_t pixel = (size_t)(y * height / 64) * width + x * width / 64;
            sum = sum * 31 + pixels[pixel * 4];
        }
    }
    return sum;
}

static img_status decode(bool tiff_wanted, const uint8_t *file, size_t size, uint32_t *width, uint32_t *height, uint8_t **pixels)
{
    if (!tiff_wanted) return png_decode(file, size, width, height, pixels);
    tiff_image tiff;
    img_status status = tiff_open(file, size, &tiff);
    if (status != IMG_OK) return status;
    *width = tiff.width;
    *height = tiff.height;
    return tiff_decode_tiles(&tiff, pixels);
}

static void thumbnail(int connection, bool tiff, unsigned mb, bool corrupt)
{
    uint32_t side = synthetic_side(mb);
    if (mb > MAX_MB || side > max_dimension) {
        answer(connection, "413 Content Too Large", "%u pixels are more than MAX_DIMENSION %u\n", side, max_dimension);
        return;
    }
    enter_gate();
    size_t size = 0;
    uint8_t *file = tiff ? synthetic_tiff(side, corrupt, &size) : synthetic_png(side, corrupt, &size);
    uint32_t width = 0, height = 0, thumb = 0;
    uint8_t *pixels = NULL;
    img_status status = file == NULL ? IMG_NO_MEMORY : decode(tiff, file, size, &width, &height, &pixels);
    if (status == IMG_OK) thumb = shrink(pixels, width, height);
    img_free(pixels);
    free(file);
    leave_gate();

    if (status == IMG_OK) answer(connection, "200 OK", "thumbnail %08x of %ux%u\n", thumb, width, height);
    else if (status == IMG_NO_MEMORY) answer(connection, "503 Service Unavailable", "out of memory\n");
    else answer(connection, "422 Unprocessable Content", "%s\n", img_status_text(status));
}

/* The number after `name=` in a query; `otherwise` when it is not there. */
static unsigned query_number(const char *query, const char *name, unsigned otherwise)
{
    size_t length = strlen(name);
    for (const char *at = query; at != NULL; at = strchr(at, '&')) {
        if (*at == '&') at++;
        if (strncmp(at, name, length) == 0 && at[length] == '=') return (unsigned)strtoul(at + length + 1, NULL, 10);
    }
    return otherwise;
}

static void serve(int connection)
{
    char request[2048];
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(connection, request + have, sizeof request - 1 - have, 0);
        if (n <= 0) return;
        have += (size_t)n;
        request[have] = '\0';
        if (strstr(request, "\r\n\r\n") != NULL) break;
        if (have == sizeof request - 1) {
            answer(connection, "431 Request Header Fields Too Large", "request too long\n");
            return;
        }
    }
    char path[256];
    if (sscanf(request, "GET %255s HTTP/1.", path) != 1) {
        answer(connection, "405 Method Not Allowed", "only GET\n");
        return;
    }
    char *query = strchr(path, '?');
    if (query != NULL) *query++ = '\0';
    else query = path + strlen(path);
    if (strcmp(path, "/healthz") == 0) answer(connection, "200 OK", "ok\n");
    else if (strcmp(path, "/version") == 0) answer(connection, "200 OK", "libimgdecode %s\n", img_version());
    else if (strcmp(path, "/thumbnail") == 0) thumbnail(connection, strstr(query, "kind=png") == NULL, query_number(query, "mb", 1), query_number(query, "corrupt", 0) != 0);
    else answer(connection, "404 Not Found", "no such path\n");
}

static void *work(void *unused)
{
    (void)unused;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED || errno == EMFILE || errno == ENFILE || errno == ENOMEM) continue;
            return NULL; /* shut down */
        }
        struct timeval patience = {.tv_sec = 5};
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        serve(connection);
        close(connection);
    }
}

/* Exits when the variable is set to something that is no number from 1 to `most`. */
static unsigned environment_number(const char *name, unsigned otherwise, unsigned most)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0') return otherwise;
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > most) {
        fprintf(stderr, "thumbnail-svc: %s is \"%s\"; it must be a number from 1 to %u\n", name, text, most);
        exit(2);
    }
    return (unsigned)value;
}

int main(void)
{
    unsigned port = environment_number("PORT", 8080, 65535);
    max_concurrency = environment_number("MAX_CONCURRENCY", WORKERS, 1024);
    max_dimension = environment_number("MAX_DIMENSION", IMG_MAX_SIDE, IMG_MAX_SIDE);

    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);

    listener = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 256) != 0) {
        fprintf(stderr, "thumbnail-svc: cannot listen on port %u: %s\n", port, strerror(errno));
        return 1;
    }
    printf("thumbnail-svc: port %u, libimgdecode %s, MAX_CONCURRENCY %u, MAX_DIMENSION %u\n", port, img_version(), max_concurrency, max_dimension);
    fflush(stdout);

    pthread_t workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        if (pthread_create(&workers[i], NULL, work, NULL) != 0) {
            fprintf(stderr, "thumbnail-svc: cannot start a worker\n");
            return 1;
        }
    }
    int received;
    sigwait(&stops, &received);
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
    return 0;
}
