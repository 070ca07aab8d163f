/* What the corpus's programs share: arguments such as rate=512, time, and writing to memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024L
#define MIB (1024L * 1024L)

static inline long arg(char **argv, const char *key, long fallback) {
  size_t length = strlen(key);
  for (; *argv != NULL; argv++)
    if (strncmp(*argv, key, length) == 0 && (*argv)[length] == '=') return atol(*argv + length + 1);
  return fallback;
}

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static inline void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

/* Makes every page of it resident, with content that nothing could merge or leave out. A part of whoever calls it: page faults are the caller's. */
__attribute__((always_inline)) static inline void fill(void *memory, size_t bytes) {
  static uint64_t seed = 88172645463325252ULL;
  for (size_t at = 0; at + sizeof seed <= bytes; at += 512) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    memcpy((char *)memory + at, &seed, sizeof seed);
  }
}

/* How many bytes are due now at so many KiB/s, less what was given before: calls for work in small portions. */
static inline size_t due(double since, long kib_per_s, size_t given) {
  double total = (now() - since) * kib_per_s * KIB;
  return total > given ? (size_t)total - given : 0;
}
