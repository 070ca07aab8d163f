/* Memory that the kernel holds for a program: page tables, pipes, sockets, names of files, stacks of threads. Hardly any of it is in its Rss. */
#include "pace.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void more_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) die("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die("setrlimit");
}

/* A read of untouched memory maps the page of zeros: it costs no memory, but each 2 MiB that are read need a table of 4 KiB. */
static void page_tables(char **argv) {
  size_t span = 2 * MIB, tables = 0, most = 256 * 1024;
  volatile char *index = mmap(NULL, span * most, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (index == MAP_FAILED) die("mmap");
  madvise((void *)index, span * most, MADV_NOHUGEPAGE);
  for (double start = now();; sleep_ms(100))
    for (; due(start, arg(argv, "rate", 1024), tables * 4096) >= 4096 && tables < most; tables++) (void)index[tables * span];
}

/* Pipes that are filled and never read. */
static void pipes(char **argv) {
  static char data[65536];
  more_descriptors();
  size_t given = 0;
  for (double start = now();; sleep_ms(100))
    for (; due(start, arg(argv, "rate", 1024), given) >= sizeof data;) {
      int ends[2];
      if (pipe2(ends, O_NONBLOCK) != 0) die("pipe2");
      /* Who has many gets smaller ones (fs.pipe-user-pages-soft). */
      ssize_t written = write(ends[1], data, sizeof data);
      if (written < 0) die("write");
      given += written;
    }
}

/* A peer sends and nobody reads. AF_UNIX: charged to the cgroup. AF_INET: on cgroup v1 charged to nobody. */
static void sockets(char **argv, int family) {
  static char data[65536];
  more_descriptors();
  size_t given = 0;
  int listener = -1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  if (family == AF_INET) {
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 128) != 0) die("listen");
    if (getsockname(listener, (void *)&address, &length) != 0) die("getsockname");
  }
  for (double start = now();; sleep_ms(100))
    while (due(start, arg(argv, "rate", 1024), given) >= sizeof data) {
      int ends[2];
      if (family == AF_UNIX) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) die("socketpair");
      } else {
        ends[1] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(ends[1], (void *)&address, sizeof address) != 0) die("connect");
        if ((ends[0] = accept(listener, NULL, NULL)) < 0) die("accept");
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
      }
      for (ssize_t sent; (sent = send(ends[1], data, sizeof data, 0)) > 0;) given += sent;
      given += 4096;
    }
}

/* Names that do not exist are remembered as such; `make=1`: they are made, and have inodes. Reclaimable, all of it. */
static void names(char **argv) {
  char name[64];
  size_t given = 0, each = arg(argv, "make", 0) ? 1400 : 192;
  long count = 0;
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 1024), given) >= each; given += each) {
      struct stat found;
      snprintf(name, sizeof name, "entry-%012ld", count++);
      if (arg(argv, "make", 0)) {
        int file = open(name, O_WRONLY | O_CREAT, 0600);
        if (file >= 0) close(file);
      } else stat(name, &found);
    }
}

/* Sockets that are opened and forgotten: each a descriptor, and small objects of the kernel that cannot be reclaimed. */
static void descriptors(char **argv) {
  more_descriptors();
  size_t given = 0, each = 2 * KIB;
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 512), given) >= each; given += each)
      if (socket(AF_UNIX, SOCK_DGRAM, 0) < 0) die("socket");
}

static void *wait_forever(void *stack_kib) {
  char *stack = __builtin_alloca((size_t)stack_kib * KIB);
  fill(stack, (size_t)stack_kib * KIB);
  for (;;) pause();
  return NULL;
}

/* Threads that wait for work which never comes, each with so much of its stack touched. */
static void threads(char **argv) {
  long each = arg(argv, "each", 128), most = arg(argv, "most", 4000);
  double start = now();
  for (long count = 0;; sleep_ms(50))
    for (; count < most && count < (now() - start) * arg(argv, "per-second", 6); count++) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, wait_forever, (void *)each) != 0) die("pthread_create");
    }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "page-tables") == 0) page_tables(argv);
  if (strcmp(mode, "pipes") == 0) pipes(argv);
  if (strcmp(mode, "unix-sockets") == 0) sockets(argv, AF_UNIX);
  if (strcmp(mode, "tcp-sockets") == 0) sockets(argv, AF_INET);
  if (strcmp(mode, "names") == 0) names(argv);
  if (strcmp(mode, "descriptors") == 0) descriptors(argv);
  if (strcmp(mode, "threads") == 0) threads(argv);
  fprintf(stderr, "kernel: unknown mode %s\n", mode);
  return 2;
}
