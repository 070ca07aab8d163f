/*
 * A second set that no rule was written with in view: workers that are replaced, processes that pile up, memory that is handed from one to another, kernel memory
 * behind mappings, bursts and steps that end, growth that slows down for ever.
 */
#include "pace.h"
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct block {
  struct block *next;
};
static struct block *kept;

static void *take(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  fill(memory, bytes);
  return memory;
}

__attribute__((noinline)) static void remember(size_t bytes) {
  struct block *block = malloc(bytes);
  if (block == NULL) die("malloc");
  fill(block, bytes);
  block->next = kept;
  kept = block;
}

static void keep_at(long rate, double seconds) {
  size_t given = 0;
  for (double start = now(); now() - start < seconds; sleep_ms(100))
    for (; due(start, rate, given) >= 4096; given += 4096) remember(4096);
}

static void name_child(const char *name) {
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Five workers; two of them leak, one faster than the other. */
static void two_of_five(char **argv) {
  for (long i = 0; i < 5; i++)
    if (fork() == 0) {
      name_child("worker");
      take(6 * MIB);
      if (i == 1) keep_at(arg(argv, "rate", 700), 1e6);
      if (i == 3) keep_at(arg(argv, "rate", 700) * 2 / 3, 1e6);
      for (;;) pause();
    }
  for (;;) pause();
}

/* Two workers that leak, each replaced after `life` seconds, in turn: their master's way to live with it. */
static void recycled(char **argv) {
  double life = arg(argv, "life", 30);
  signal(SIGCHLD, SIG_IGN);
  for (;; sleep_ms(life * 500))
    if (fork() == 0) {
      name_child("worker");
      take(8 * MIB);
      keep_at(arg(argv, "rate", 700), life);
      _exit(0);
    }
}

/* Children that should have ended wait for something for ever. */
static void pile_up(char **argv) {
  for (;; sleep_ms(arg(argv, "every", 2000)))
    if (fork() == 0) {
      name_child("job");
      take(arg(argv, "each", 2) * MIB);
      for (;;) pause();
    }
}

/* What one gives back another takes: a store moves to its successor. */
static void hand_over(char **argv) {
  size_t size = arg(argv, "size", 80) * MIB, piece = 256 * KIB;
  double over = arg(argv, "over", 60), start = now();
  int grows = fork() == 0;
  if (grows) name_child("successor");
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  if (!grows) fill(memory, size);
  for (size_t at = 0;; sleep_ms(100))
    for (; at + piece <= size && at < size * (now() - start) / over; at += piece) {
      if (grows) fill(memory + at, piece);
      else madvise(memory + at, piece, MADV_DONTNEED);
    }
}

/* Each connection that nobody closes has a descriptor and a buffer in the heap. */
static void connections(char **argv) {
  size_t each = arg(argv, "each", 48) * KIB, given = 0;
  for (double start = now();; sleep_ms(100))
    for (; due(start, arg(argv, "rate", 1000), given) >= each; given += each) {
      if (socket(AF_UNIX, SOCK_STREAM, 0) < 0) die("socket");
      remember(each);
    }
}

/* A cache of `size` MiB whose entries have any size and replace one another by chance: the heap is torn up for a while, and then no more. */
static void torn_cache(char **argv) {
  enum { MOST = 40000 };
  static void *entries[MOST];
  size_t most = arg(argv, "size", 60) * MIB / 1800;
  if (most > MOST) most = MOST;
  for (;; sleep_ms(20))
    for (int i = 0; i < arg(argv, "per-tick", 120); i++) {
      size_t at = (size_t)rand() % most, bytes = 200 + rand() % 3200;
      free(entries[at]);
      if ((entries[at] = malloc(bytes)) == NULL) die("malloc");
      memset(entries[at], 1, bytes);
    }
}

/* A start that takes `base` MiB over `over` seconds, and a leak after it. */
static void start_then_leak(char **argv) {
  for (long i = 0; i < arg(argv, "base", 90); i++, sleep_ms(arg(argv, "over", 6) * 1000 / arg(argv, "base", 90))) take(MIB);
  keep_at(arg(argv, "rate", 350), 1e6);
}

/* Small objects of a burst are freed again, but for one in sixteen; or all of them. */
static void burst(char **argv) {
  enum { SLOTS = 300000 };
  static void *slots[SLOTS];
  long count = arg(argv, "size", 100) * MIB / 512, pins = arg(argv, "pins", 16);
  take(arg(argv, "base", 30) * MIB);
  sleep_ms(arg(argv, "at", 25) * 1000);
  for (long i = 0; i < count && i < SLOTS; i++) {
    if ((slots[i] = malloc(480)) == NULL) die("malloc");
    memset(slots[i], 1, 480);
  }
  sleep_ms(arg(argv, "for", 7) * 1000);
  for (long i = 0; i < count && i < SLOTS; i++)
    if (pins == 0 || i % pins != 0) free(slots[i]);
  if (pins == 0) malloc_trim(0);
  for (;;) pause();
}

static void two_steps(char **argv) {
  take(arg(argv, "base", 30) * MIB);
  for (int i = 0; i < 2; i++) {
    sleep_ms(arg(argv, "every", 27) * 1000);
    take(arg(argv, "size", 30) * MIB);
  }
  for (;;) pause();
}

/* Words that were not seen before become rarer and rarer, and never end. */
static void slowing(char **argv) {
  double most = arg(argv, "size", 70) * MIB, over = arg(argv, "over", 80), start = now();
  for (size_t given = 0;; sleep_ms(100))
    for (double wanted = most * sqrt((now() - start) / over); given + 4096 <= wanted; given += 4096) remember(4096);
}

/* Neighbouring pages with different rights: each is a mapping, and a mapping is kernel memory. A process may have 65,530 (vm.max_map_count). */
static void mappings(char **argv) {
  long count = 0;
  size_t most = 30000, page = 4096;
  char *range = mmap(NULL, 2 * most * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) die("mmap");
  for (double start = now();; sleep_ms(50))
    for (; (size_t)count < most && count < (now() - start) * arg(argv, "per-second", 450); count++)
      if (mprotect(range + 2 * count * page, page, PROT_READ) != 0) die("mprotect");
}

/* Whole huge pages, each full. */
static void huge_leak(char **argv) {
  size_t huge = 2 * MIB, given = 0;
  char *range = mmap(NULL, 400 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) die("mmap");
  range = (char *)(((uintptr_t)range + huge - 1) & ~(huge - 1));
  madvise(range, 399 * huge, MADV_HUGEPAGE);
  for (double start = now();; sleep_ms(200))
    for (; due(start, arg(argv, "rate", 1500), given) >= huge && given < 398 * huge; given += huge) fill(range + given, huge);
}

/* A scratch area is used and given back every few seconds. */
static void scratch(char **argv) {
  size_t size = arg(argv, "size", 30) * MIB;
  char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) die("mmap");
  take(arg(argv, "base", 40) * MIB);
  for (;; sleep_ms(arg(argv, "every", 1700))) {
    fill(area, size);
    sleep_ms(arg(argv, "for", 900));
    madvise(area, size, MADV_DONTNEED);
  }
}

/* Clients come for half a minute, and then stay: a morning. */
static void morning(char **argv) {
  enum { MOST = 300 };
  long each = arg(argv, "each", 220) * KIB, count = 0;
  double start = now(), ramp = arg(argv, "ramp", 35);
  for (;; sleep_ms(100))
    for (; count < MOST && count < MOST * (now() - start) / ramp; count++) {
      if (socket(AF_UNIX, SOCK_STREAM, 0) < 0) die("socket");
      take(each);
    }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  srand(23);
  if (strcmp(mode, "two-of-five") == 0) two_of_five(argv);
  if (strcmp(mode, "recycled") == 0) recycled(argv);
  if (strcmp(mode, "pile-up") == 0) pile_up(argv);
  if (strcmp(mode, "hand-over") == 0) hand_over(argv);
  if (strcmp(mode, "connections") == 0) connections(argv);
  if (strcmp(mode, "torn-cache") == 0) torn_cache(argv);
  if (strcmp(mode, "start-then-leak") == 0) start_then_leak(argv);
  if (strcmp(mode, "burst") == 0) burst(argv);
  if (strcmp(mode, "two-steps") == 0) two_steps(argv);
  if (strcmp(mode, "slowing") == 0) slowing(argv);
  if (strcmp(mode, "mappings") == 0) mappings(argv);
  if (strcmp(mode, "huge-leak") == 0) huge_leak(argv);
  if (strcmp(mode, "scratch") == 0) scratch(argv);
  if (strcmp(mode, "morning") == 0) morning(argv);
  fprintf(stderr, "unseen: unknown mode %s\n", mode);
  return 2;
}
