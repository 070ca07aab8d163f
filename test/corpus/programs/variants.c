/*
 * Variants that the rules were not written with in view: leaks that ride on load, on noise, on a large base or beside children that come and go; memory that
 * the kernel holds without a descriptor; copies after a fork by the parent; allocators that keep what was freed; saw-tooths of a native program.
 */
#include "pace.h"
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/shm.h>
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

/* Keeps `rate` KiB/s from the call on; *given is what was kept. */
static void keep_due(char **argv, double start, size_t *given) {
  size_t block = arg(argv, "block", 4096);
  for (; due(start, arg(argv, "rate", 512), *given) >= block; *given += block) remember(block);
}

/* A large table of its own, and a leak that is small beside it. */
static void large_base(char **argv) {
  size_t given = 0;
  take(arg(argv, "base", 280) * MIB);
  for (double start = now();; sleep_ms(100)) keep_due(argv, start, &given);
}

/* Connections in waves; each that is closed leaves a part of its memory behind. */
static void leaky_waves(char **argv) {
  enum { MOST = 400 };
  static int sockets[MOST];
  static void *memory[MOST];
  long most = arg(argv, "most", 200), each = arg(argv, "each", 256) * KIB, left = arg(argv, "left", 24) * KIB, count = 0;
  double period = arg(argv, "period", 16), start = now();
  for (;; sleep_ms(100)) {
    long wanted = most * (1 - cos((now() - start) / period * 2 * M_PI)) / 2;
    for (; count < wanted; count++) {
      if ((sockets[count] = socket(AF_UNIX, SOCK_STREAM, 0)) < 0) die("socket");
      memory[count] = take(each);
    }
    for (; count > wanted; count--) {
      close(sockets[count - 1]);
      munmap(memory[count - 1], each);
      remember(left);
    }
  }
}

/* Requests take up to `jitter` MiB each for a moment, and a little stays. */
static void beside_noise(char **argv) {
  size_t given = 0, jitter = arg(argv, "jitter", 60) * MIB;
  for (double start = now();;) {
    size_t bytes = (size_t)rand() % jitter + 4096;
    void *some = take(bytes);
    sleep_ms(arg(argv, "every", 400));
    munmap(some, bytes);
    keep_due(argv, start, &given);
  }
}

/* Work in turns: `on` seconds that leak, `off` seconds of rest. */
static void in_turns(char **argv) {
  double on = arg(argv, "on", 8), off = arg(argv, "off", 8), start = now();
  size_t given = 0;
  for (;; sleep_ms(100)) {
    double since = now() - start, turns = floor(since / (on + off)), rest = since - turns * (on + off);
    double wanted = (turns * on + fmin(rest, on)) * arg(argv, "rate", 1024) * KIB;
    for (; given + 4096 <= wanted; given += 4096) remember(4096);
  }
}

/* Faster and faster: each request is slower than the one before, and more of them wait. */
static void accelerating(char **argv) {
  double start = now(), most = arg(argv, "size", 120) * MIB, over = arg(argv, "over", 80);
  for (size_t given = 0;; sleep_ms(100))
    for (double wanted = most * pow((now() - start) / over, 2); given + 4096 <= wanted; given += 4096) remember(4096);
}

/* A handler for each request: a child that takes memory for a moment and ends. With `rate`, the parent leaks beside. */
static void short_children(char **argv) {
  size_t given = 0, bytes = arg(argv, "each", 24) * MIB;
  signal(SIGCHLD, SIG_IGN);
  for (double start = now();;) {
    if (fork() == 0) {
      prctl(PR_SET_NAME, "handler");
      take(bytes);
      sleep_ms(arg(argv, "for", 900));
      _exit(0);
    }
    if (arg(argv, "rate", 0) > 0) keep_due(argv, start, &given);
    sleep_ms(arg(argv, "every", 1300));
  }
}

/* A native program with a collector of its own: garbage to `size` MiB, then all at once gone; `rate` KiB/s of it stay. */
static void saw_tooth(char **argv) {
  size_t size = arg(argv, "size", 40) * MIB, given = 0, at = 0;
  double start = now(), begun = now(), cycle = arg(argv, "cycle", 8);
  take(arg(argv, "base", 20) * MIB);
  char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (heap == MAP_FAILED) die("mmap");
  for (;; sleep_ms(100)) {
    double share = (now() - begun) / cycle;
    for (; at + 65536 <= size && at < share * size; at += 65536) fill(heap + at, 65536);
    if (share >= 1) madvise(heap, size, MADV_DONTNEED), at = 0, begun = now();
    if (arg(argv, "rate", 0) > 0) keep_due(argv, start, &given);
  }
}

/* A child writes to a file that has no name any more, on tmpfs (`file`) or in a memfd; nobody maps it. */
static void child_spools(char **argv, const char *path) {
  static char data[64 * KIB];
  size_t given = 0;
  if (fork() != 0)
    for (;;) pause();
  prctl(PR_SET_NAME, "spooler");
  int file = path == NULL ? memfd_create("spool", 0) : open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) die("spool");
  if (path != NULL) unlink(path);
  memset(data, 'x', sizeof data);
  for (double start = now();; sleep_ms(100))
    for (; due(start, arg(argv, "rate", 900), given) >= sizeof data; given += sizeof data)
      if (write(file, data, sizeof data) < 0) die("write");
}

/* A file on tmpfs that is begun anew when it has its size: bounded, however fast it is written. */
static void rotates(char **argv, const char *path) {
  static char data[64 * KIB];
  size_t most = arg(argv, "size", 24) * MIB, given = 0, total = 0;
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) die("file");
  memset(data, 'x', sizeof data);
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 3000), total) >= sizeof data; total += sizeof data) {
      if (given + sizeof data > most) {
        if (ftruncate(file, 0) != 0) die("ftruncate");
        lseek(file, 0, SEEK_SET), given = 0;
      }
      if (write(file, data, sizeof data) < 0) die("write");
      given += sizeof data;
    }
}

/* System V: segments that stay attached, or messages that nobody takes (no descriptor, no mapping). In an IPC namespace of its own, which ends with it. */
static void system_v(char **argv, int messages) {
  static struct {
    long type;
    char text[8000];
  } message = {.type = 1};
  size_t given = 0, segment = 512 * KIB;
  if (unshare(CLONE_NEWIPC) != 0) die("unshare");
  int queue = -1;
  for (double start = now();; sleep_ms(100))
    while (due(start, arg(argv, "rate", 900), given) >= (messages ? sizeof message : segment)) {
      if (!messages) {
        int id = shmget(IPC_PRIVATE, segment, IPC_CREAT | 0600);
        void *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
        if (at == (void *)-1) die("shm");
        fill(at, segment);
        given += segment;
      } else if (queue < 0 || msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT) != 0) {
        if ((queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600)) < 0) die("msgget");
      } else given += sizeof message;
    }
}

/* Many pipes with one page each, in the hands of a child. */
static void child_pipes(char **argv) {
  size_t given = 0;
  if (fork() != 0)
    for (;;) pause();
  prctl(PR_SET_NAME, "relay");
  for (double start = now();; sleep_ms(100))
    for (; due(start, arg(argv, "rate", 700), given) >= 8192; given += 8192) {
      int ends[2];
      if (pipe2(ends, O_NONBLOCK) != 0) {
        sleep_ms(1000);
        continue;
      }
      if (write(ends[1], "waiting", 7) < 0) die("write");
    }
}

/* A snapshot by fork, as a database makes it: the child only holds still while the parent goes on writing. `every`: again and again. */
static void snapshot(char **argv) {
  size_t size = arg(argv, "size", 90) * MIB, at = 0;
  char *table = take(size);
  long every = arg(argv, "every", 0), rate = arg(argv, "rate", 1800);
  double begun = 0;
  pid_t child = 0;
  for (;; sleep_ms(100)) {
    if (begun == 0 || (every > 0 && now() - begun > every)) {
      if (child > 0) kill(child, SIGKILL), waitpid(child, NULL, 0);
      if ((child = fork()) == 0) {
        prctl(PR_SET_NAME, "snapshot");
        for (;;) pause();
      }
      begun = now(), at = 0;
    }
    for (; at < size && due(begun, rate, at) >= 65536; at += 65536) fill(table + at, 65536);
  }
}

static void *burst(void *argv_) {
  char **argv = argv_;
  enum { SLOTS = 16384 };
  void **slots = calloc(SLOTS, sizeof *slots);
  long count = arg(argv, "each", 6) * MIB / 480;
  if (slots == NULL || count > SLOTS) die("slots");
  for (;;) {
    for (long i = 0; i < count; i++)
      if (slots[i] == NULL && (slots[i] = malloc(464)) != NULL) memset(slots[i], 1, 464);
    sleep_ms(800);
    for (long i = 0; i < count; i++)
      if (i % 12 != 0) free(slots[i]), slots[i] = NULL;
    sleep_ms(arg(argv, "pause", 3000));
  }
  return NULL;
}

/* Threads work in rounds, each in an arena of its own; after a round hardly anything is in use. Every 3 s one more takes part, until all do. */
static void arenas_keep(char **argv) {
  long threads = arg(argv, "threads", 8);
  for (long i = 0; i < threads; i++, sleep_ms(3000)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, burst, argv) != 0) die("pthread_create");
  }
  for (;;) pause();
}

/* Entries live for `ttl` seconds: the cache grows until as many go as come, and stays so. */
static void ttl_cache(char **argv) {
  size_t entry = 64 * KIB, count = 0, gone = 0;
  enum { MOST = 65536 };
  static void *entries[MOST];
  double start = now(), ttl = arg(argv, "ttl", 30), rate = arg(argv, "rate", 1600) * KIB / (double)entry;
  for (;; sleep_ms(50)) {
    double since = now() - start;
    for (; count < since * rate; count++) entries[count % MOST] = take(entry);
    for (; gone < (since - ttl) * rate && since > ttl; gone++) munmap(entries[gone % MOST], entry);
  }
}

static void *wait_for_work(void *stack_kib) {
  char *stack = __builtin_alloca((size_t)stack_kib * KIB);
  fill(stack, (size_t)stack_kib * KIB);
  for (;;) pause();
  return NULL;
}

/* A thread for each client that has gone, with small stacks; beside them the heap stands still. */
static void slow_threads(char **argv) {
  take(arg(argv, "base", 60) * MIB);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, arg(argv, "stack", 256) * KIB);
  double start = now();
  for (long count = 0;; sleep_ms(50))
    for (; count < (now() - start) * arg(argv, "per-second", 2); count++) {
      pthread_t thread;
      if (pthread_create(&thread, &small, wait_for_work, (void *)arg(argv, "each", 64)) != 0) die("pthread_create");
    }
}

/* Files are written and read without an end; what is cached is far more than what the limit leaves. */
static void file_churn(char **argv) {
  static char buffer[256 * KIB];
  long blocks = arg(argv, "file", 200) * 4;
  fill(buffer, sizeof buffer);
  for (long round = 0;; round++) {
    char name[32];
    snprintf(name, sizeof name, "churn-%ld", round % 3);
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0) die("churn");
    for (long i = 0; i < blocks; i++, sleep_ms(arg(argv, "pause", 10)))
      if (write(file, buffer, sizeof buffer) < 0) die("write");
    lseek(file, 0, SEEK_SET);
    while (read(file, buffer, sizeof buffer) > 0) sleep_ms(arg(argv, "pause", 10) / 2);
    close(file);
  }
}

static void *churn_thread(void *argv) {
  file_churn(argv);
  return NULL;
}

static void beside_churn(char **argv) {
  pthread_t thread;
  size_t given = 0;
  if (pthread_create(&thread, NULL, churn_thread, argv) != 0) die("pthread_create");
  for (double start = now();; sleep_ms(100)) keep_due(argv, start, &given);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
  srand(11);
  if (strcmp(mode, "large-base") == 0) large_base(argv);
  if (strcmp(mode, "leaky-waves") == 0) leaky_waves(argv);
  if (strcmp(mode, "beside-noise") == 0) beside_noise(argv);
  if (strcmp(mode, "in-turns") == 0) in_turns(argv);
  if (strcmp(mode, "accelerating") == 0) accelerating(argv);
  if (strcmp(mode, "short-children") == 0) short_children(argv);
  if (strcmp(mode, "saw-tooth") == 0) saw_tooth(argv);
  if (strcmp(mode, "child-memfd") == 0) child_spools(argv, NULL);
  if (strcmp(mode, "child-file") == 0) child_spools(argv, path);
  if (strcmp(mode, "rotates") == 0) rotates(argv, path);
  if (strcmp(mode, "segments") == 0) system_v(argv, 0);
  if (strcmp(mode, "messages") == 0) system_v(argv, 1);
  if (strcmp(mode, "child-pipes") == 0) child_pipes(argv);
  if (strcmp(mode, "snapshot") == 0) snapshot(argv);
  if (strcmp(mode, "arenas-keep") == 0) arenas_keep(argv);
  if (strcmp(mode, "ttl-cache") == 0) ttl_cache(argv);
  if (strcmp(mode, "slow-threads") == 0) slow_threads(argv);
  if (strcmp(mode, "beside-churn") == 0) beside_churn(argv);
  fprintf(stderr, "variants: unknown mode %s\n", mode);
  return 2;
}
