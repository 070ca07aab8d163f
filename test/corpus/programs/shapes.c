/*
 * Anonymous memory that is bounded, in the shapes that are taken for leaks: a cache that fills, one step, a spike, load that comes and goes,
 * an allocator that keeps what was freed. And one that only looks like steps: a staircase without an end.
 */
#include "pace.h"
#include <malloc.h>
#include <math.h>
#include <sys/socket.h>

static void *grow(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  fill(memory, bytes);
  return memory;
}

/* A cache of `size` MiB is filled: in a straight line up to its cap (then each new entry takes an old one's place), or ever more slowly. */
static void cache(char **argv, int saturating) {
  size_t size = arg(argv, "size", 96) * MIB, filled = 0, entry = 64 * KIB;
  double start = now(), tau = arg(argv, "tau", 8);
  long rate = arg(argv, "rate", 4096);
  char *entries = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (entries == MAP_FAILED) die("mmap");
  for (;; sleep_ms(100)) {
    double since = now() - start;
    double wanted = saturating ? size * (1 - exp(-since / tau)) : fmin(size, since * rate * KIB);
    for (; filled + entry <= wanted; filled += entry) fill(entries + filled, entry);
    if (filled > 0) fill(entries + entry * (rand() % (filled / entry)), entry);
  }
}

static void step(char **argv) {
  grow(arg(argv, "base", 24) * MIB);
  sleep_ms(arg(argv, "at", 30) * 1000);
  grow(arg(argv, "size", 64) * MIB);
  for (;;) pause();
}

static void staircase(char **argv) {
  grow(arg(argv, "base", 24) * MIB);
  for (long every = arg(argv, "every", 10);;) {
    sleep_ms(every * 1000);
    grow(arg(argv, "size", 16) * MIB);
  }
}

static void spike(char **argv) {
  size_t bytes = arg(argv, "size", 128) * MIB;
  grow(arg(argv, "base", 48) * MIB);
  sleep_ms(arg(argv, "at", 28) * 1000);
  void *burst = grow(bytes);
  sleep_ms(arg(argv, "for", 6) * 1000);
  munmap(burst, bytes);
  for (;;) pause();
}

/*
 * Connections, each with a descriptor and memory of its own: half a period up, half a period down. `period=0`: they come and stay until
 * `most` are there, and the recording may end before.
 */
static void load(char **argv) {
  enum { MOST = 1000 };
  static int sockets[MOST];
  static void *memory[MOST];
  long most = arg(argv, "most", 300), each = arg(argv, "each", 256) * KIB, period = arg(argv, "period", 40), count = 0;
  double start = now();
  if (most > MOST) most = MOST;
  for (;; sleep_ms(100)) {
    double since = now() - start;
    double phase = period == 0 ? fmin(1, since / arg(argv, "ramp", 80)) : (1 - cos(since / period * 2 * M_PI)) / 2;
    long wanted = phase * most;
    for (; count < wanted; count++) {
      if ((sockets[count] = socket(AF_UNIX, SOCK_STREAM, 0)) < 0) die("socket");
      memory[count] = grow(each);
    }
    for (; count > wanted; count--) {
      close(sockets[count - 1]);
      munmap(memory[count - 1], each);
    }
  }
}

/*
 * Each batch allocates small objects and frees nearly all: one in `survivors` stays until the batch after, and holds its page. Batches grow for
 * the first three and are equal from then on, so the high-water mark is set early and kept. `trim=0`: as glibc does by itself.
 */
static void retention(char **argv) {
  enum { SLOTS = 400000 };
  static void *slots[SLOTS];
  long most = arg(argv, "size", 96) * MIB / 512, pause_ms = arg(argv, "pause", 4000), rising = arg(argv, "rising", 3);
  if (most > SLOTS) most = SLOTS;
  for (long batch = 1;; batch++) {
    long count = batch < rising ? most * batch / rising : most;
    for (long i = 0; i < count; i++) {
      free(slots[i]);
      if ((slots[i] = malloc(480)) == NULL) die("malloc");
      memset(slots[i], (int)batch, 480);
    }
    sleep_ms(500);
    for (long i = 0; i < count; i++)
      if (i % 16 != 0) free(slots[i]), slots[i] = NULL;
    sleep_ms(pause_ms);
  }
}

/* Nothing happens, or as much comes as goes. */
static void steady(char **argv) {
  size_t size = arg(argv, "size", 64) * MIB, jitter = arg(argv, "jitter", 0) * MIB;
  grow(size);
  for (;;) {
    size_t bytes = jitter == 0 ? 0 : (size_t)rand() % jitter;
    void *some = bytes == 0 ? NULL : grow(bytes);
    sleep_ms(arg(argv, "every", 700));
    if (some != NULL) munmap(some, bytes);
  }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  srand(7);
  if (strcmp(mode, "cache-linear") == 0) cache(argv, 0);
  if (strcmp(mode, "cache-saturating") == 0) cache(argv, 1);
  if (strcmp(mode, "step") == 0) step(argv);
  if (strcmp(mode, "staircase") == 0) staircase(argv);
  if (strcmp(mode, "spike") == 0) spike(argv);
  if (strcmp(mode, "load") == 0) load(argv);
  if (strcmp(mode, "retention") == 0) retention(argv);
  if (strcmp(mode, "steady") == 0) steady(argv);
  fprintf(stderr, "shapes: unknown mode %s\n", mode);
  return 2;
}
