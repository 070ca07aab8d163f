/*
 * What the collector is let loose on: a service of a chosen size and number of mappings, with children, that takes operations at a fixed rate.
 * Each maps, touches and unmaps memory, allocates and frees, and computes a little. The load is open: an operation has a time at which it
 * is due, and its latency counts from then, so a stall is seen by all that wait behind it. Asked to flood, one thread of it takes the next as
 * soon as the last is done.
 *
 * Arguments: MIB MAPPINGS PROCESSES RATE THREADS. Says "ready" on standard output; for each line "run MS" or "flood MS" on standard
 * input it answers "done" with its figures, times in nanoseconds. The end of the input ends it, and its children with it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define SECOND 1000000000LL
#define MAPPED (64 * 1024)
#define LARGE (256 * 1024)
#define SMALL_BLOCKS 64
#define WORK (64 * 1024)

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * SECOND + t.tv_nsec;
}

static void sleep_until(int64_t at) {
  struct timespec t = {at / SECOND, at % SECOND};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
  }
}

/* Neighbours differ in their rights, so the kernel cannot make one mapping of them. */
static void fill(size_t mib, size_t mappings) {
  size_t each = (mib << 20) / mappings / PAGE * PAGE;
  if (each == 0) {
    fprintf(stderr, "%zu MiB are less than a page for each of %zu mappings\n", mib, mappings);
    exit(1);
  }
  char *all = mmap(NULL, each * mappings, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) die("mmap");
  for (size_t at = 0; at < each * mappings; at += PAGE) all[at] = (char)(at / PAGE + 1);
  for (size_t i = 1; i < mappings; i += 2)
    if (mprotect(all + i * each, each, PROT_READ) != 0) die("mprotect");
}

static void touch(volatile char *at, size_t bytes, size_t step) {
  for (size_t i = 0; i < bytes; i += step) at[i] = 1;
}

static uint64_t operate(const unsigned char *work) {
  char *mapped = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) die("mmap");
  touch(mapped, MAPPED, 4 * PAGE);
  if (munmap(mapped, MAPPED) != 0) die("munmap");
  char *large = malloc(LARGE);
  void *blocks[SMALL_BLOCKS];
  if (large == NULL) die("malloc");
  touch(large, LARGE, PAGE);
  for (size_t i = 0; i < SMALL_BLOCKS; i++) blocks[i] = memset(malloc(64 + 32 * i), 1, 64);
  uint64_t sum = 0;
  for (size_t i = 0; i < WORK; i++) sum = sum * 31 + work[i];
  for (size_t i = 0; i < SMALL_BLOCKS; i++) free(blocks[i]);
  free(large);
  return sum;
}

struct worker {
  pthread_t thread;
  /* Every: nanoseconds between two operations; 0 floods. */
  int64_t from, until, every;
  int64_t *latencies;
  size_t room, taken, in_time;
  uint64_t sum;
};

static void *take_operations(void *given) {
  struct worker *w = given;
  unsigned char *work = malloc(WORK);
  if (work == NULL) die("malloc");
  memset(work, 7, WORK);
  prctl(PR_SET_TIMERSLACK, 1UL);
  int64_t due = w->from;
  while (due < w->until && w->taken < w->room) {
    if (now() < due) sleep_until(due);
    w->sum += operate(work);
    int64_t end = now();
    if (end <= w->until) w->in_time += 1;
    w->latencies[w->taken++] = end - due;
    due = w->every == 0 ? end : due + w->every;
  }
  free(work);
  return NULL;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t cpu_ns(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * SECOND + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000LL;
}

/* More than one thread can do when it floods. */
#define MOST_PER_MS 50

static void run(long ms, long rate, int threads, int flood) {
  struct worker workers[threads];
  size_t room = flood ? (size_t)ms * MOST_PER_MS : (size_t)(ms * rate / 1000 / threads + 2);
  /* Touched before the clock starts: a fault of ours would be a fault of the target. */
  int64_t *latencies = malloc(room * threads * sizeof *latencies);
  if (latencies == NULL) die("malloc");
  memset(latencies, 1, room * threads * sizeof *latencies);
  int64_t cpu = cpu_ns(), from = now() + SECOND / 100, every = flood ? 0 : SECOND * threads / rate;
  for (int i = 0; i < threads; i++) {
    workers[i] = (struct worker){.from = from + every * i / threads, .until = from + ms * 1000000LL, .every = every,
                                 .latencies = latencies + room * i, .room = room};
    if (pthread_create(&workers[i].thread, NULL, take_operations, &workers[i]) != 0) die("pthread_create");
  }
  size_t taken = 0, in_time = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    memmove(latencies + taken, workers[i].latencies, workers[i].taken * sizeof *latencies);
    taken += workers[i].taken;
    in_time += workers[i].in_time;
  }
  cpu = cpu_ns() - cpu;
  qsort(latencies, taken, sizeof *latencies, ascending);
  printf("done %zu %zu %lld %lld %lld %lld\n", taken, in_time, (long long)latencies[taken / 2],
         (long long)latencies[taken * 99 / 100], (long long)latencies[taken - 1], (long long)cpu);
  free(latencies);
}

/* One byte from each child says that its memory is there. */
static void bear(long children, size_t mib, size_t mappings) {
  int ready[2];
  if (pipe(ready) != 0) die("pipe");
  for (long i = 0; i < children; i++) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fill(mib, mappings);
    if (write(ready[1], "r", 1) != 1) die("write");
    for (;;) pause();
  }
  char byte;
  for (long i = 0; i < children; i++)
    if (read(ready[0], &byte, 1) != 1) die("read");
  close(ready[0]);
  close(ready[1]);
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: %s MIB MAPPINGS PROCESSES RATE THREADS\n", argv[0]);
    return 2;
  }
  size_t mib = strtoul(argv[1], NULL, 10), mappings = strtoul(argv[2], NULL, 10);
  long processes = strtol(argv[3], NULL, 10), rate = strtol(argv[4], NULL, 10);
  int threads = (int)strtol(argv[5], NULL, 10);
  if (mib < 1 || mappings < 1 || processes < 1 || rate < 1 || threads < 1 || threads > 64) return 2;
  /* Small pages: huge ones cost a reader a fraction, and no service may count on them. */
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  bear(processes - 1, mib, mappings);
  fill(mib, mappings);
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("ready %d\n", (int)getpid());
  char line[64];
  long ms;
  while (fgets(line, sizeof line, stdin) != NULL)
    if (sscanf(line, "run %ld", &ms) == 1 && ms > 0 && ms <= 600000) run(ms, rate, threads, 0);
    else if (sscanf(line, "flood %ld", &ms) == 1 && ms > 0 && ms <= 600000) run(ms, rate, 1, 1);
  return 0;
}
