/*
 * Memory that is allocated and never freed, and what makes that hard to see: other arenas, direct mappings, a busy page cache, a child,
 * siblings, churn that is far larger than the leak, pages that another thread touches first.
 */
#include "pace.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct block {
  struct block *next;
  char bytes[];
};
static struct block *kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(struct block *block) {
  pthread_mutex_lock(&lock);
  block->next = kept;
  kept = block;
  pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) static void keep_session(size_t bytes) {
  struct block *session = malloc(bytes);
  fill(session, bytes);
  keep(session);
}

/* At a rate, in blocks of `block` bytes, from `from` seconds on. */
static void leak_sessions(char **argv) {
  size_t block = arg(argv, "block", 16 * KIB), given = 0;
  long rate = arg(argv, "rate", 1024), cap = arg(argv, "cap", 1L << 30);
  double start = now() + arg(argv, "from", 0);
  for (;; sleep_ms(50))
    while (due(start, rate, given) >= block && given < (size_t)cap * KIB) keep_session(block), given += block;
}

static void *leak_in_thread(void *argv) {
  leak_sessions(argv);
  return NULL;
}

static void arenas(char **argv) {
  for (long i = arg(argv, "threads", 4); i > 1; i--) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, leak_in_thread, argv) != 0) die("pthread_create");
  }
  leak_sessions(argv);
}

__attribute__((noinline)) static void map_tile(size_t bytes) {
  void *tile = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (tile == MAP_FAILED) die("mmap");
  fill(tile, bytes);
}

static void mappings(char **argv) {
  size_t block = arg(argv, "block", 256 * KIB), given = 0;
  long rate = arg(argv, "rate", 1024);
  for (double start = now();; sleep_ms(100))
    for (; due(start, rate, given) >= block; given += block) map_tile(block);
}

/* Reads the file over and over: the page cache fills all that the limit leaves. */
static void *read_files(void *argv) {
  static char buffer[256 * KIB];
  int file = open("noise", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) die("noise");
  long blocks = arg(argv, "file", 128) * 4;
  for (long i = 0; i < blocks; i++)
    if (write(file, buffer, sizeof buffer) < 0) die("write");
  fsync(file);
  for (long pause = arg(argv, "pause", 8);; sleep_ms(pause))
    if (read(file, buffer, sizeof buffer) <= 0) lseek(file, 0, SEEK_SET);
  return NULL;
}

static void beside_cache(char **argv) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, read_files, argv) != 0) die("pthread_create");
  leak_sessions(argv);
}

/* Work that holds little and frees it again. */
__attribute__((noinline)) static void churn_buffer(size_t bytes) {
  void *buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) die("mmap");
  fill(buffer, bytes);
  munmap(buffer, bytes);
}

static void *churn_forever(void *argv) {
  for (size_t bytes = arg(argv, "churn", 2048) * KIB;; sleep_ms(20)) churn_buffer(bytes);
  return NULL;
}

static void behind_churn(char **argv) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, churn_forever, argv) != 0) die("pthread_create");
  leak_sessions(argv);
}

static void child(char **argv) {
  if (fork() == 0) {
    prctl(PR_SET_NAME, "converter");
    leak_sessions(argv);
  }
  for (;;) pause();
}

/* Equal workers; one of them leaks. */
static void one_of_many(char **argv) {
  for (long i = 0; i < arg(argv, "workers", 4); i++) {
    if (fork() != 0) continue;
    char name[] = "worker-0";
    name[7] += i;
    prctl(PR_SET_NAME, name);
    if (i == 2) leak_sessions(argv);
    churn_forever(argv);
  }
  for (;;) pause();
}

/* One thread allocates; another writes to it first, and so its stacks are those of the page faults. */
static struct block *handed;

__attribute__((noinline)) static struct block *allocate_record(size_t bytes) {
  struct block *record = malloc(bytes);
  /* A block that the last one has not left yet waits. */
  while (__atomic_load_n(&handed, __ATOMIC_ACQUIRE) != NULL) sleep_ms(1);
  __atomic_store_n(&handed, record, __ATOMIC_RELEASE);
  return record;
}

__attribute__((noinline)) static void fill_record(struct block *record, size_t bytes) {
  fill(record->bytes, bytes - sizeof *record);
  keep(record);
}

static void *fill_records(void *argv) {
  size_t bytes = arg(argv, "block", 64 * KIB);
  for (;;) {
    struct block *record = __atomic_load_n(&handed, __ATOMIC_ACQUIRE);
    if (record == NULL) {
      sleep_ms(1);
      continue;
    }
    fill_record(record, bytes);
    __atomic_store_n(&handed, NULL, __ATOMIC_RELEASE);
  }
  return NULL;
}

static void hand_over(char **argv) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, fill_records, argv) != 0) die("pthread_create");
  size_t block = arg(argv, "block", 64 * KIB), given = 0;
  long rate = arg(argv, "rate", 1024);
  for (double start = now();; sleep_ms(50))
    for (; due(start, rate, given) >= block; given += block) allocate_record(block);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  /* Without this, glibc learns from the first free and what is measured depends on it. */
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  if (strcmp(mode, "sessions") == 0) leak_sessions(argv);
  if (strcmp(mode, "arenas") == 0) arenas(argv);
  if (strcmp(mode, "mappings") == 0) mappings(argv);
  if (strcmp(mode, "beside-cache") == 0) beside_cache(argv);
  if (strcmp(mode, "behind-churn") == 0) behind_churn(argv);
  if (strcmp(mode, "child") == 0) child(argv);
  if (strcmp(mode, "one-of-many") == 0) one_of_many(argv);
  if (strcmp(mode, "hand-over") == 0) hand_over(argv);
  fprintf(stderr, "heap: unknown mode %s\n", mode);
  return 2;
}
