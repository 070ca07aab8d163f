/* Memory that several processes share: after fork, as shared memory that is mapped, and as shared memory that nobody maps. */
#include "pace.h"
#include <sys/prctl.h>

/*
 * A heap is filled before the workers are forked. `rate=0`: nobody writes to it, and the sum of Rss is many times what there is. Otherwise each
 * worker writes to so many KiB of it in a second, as reference counts do, until it has a copy of all of it.
 */
static void prefork(char **argv) {
  size_t size = arg(argv, "size", 40) * MIB;
  long workers = arg(argv, "workers", 4), rate = arg(argv, "rate", 0);
  char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (heap == MAP_FAILED) die("mmap");
  fill(heap, size);
  for (long i = 0; i < workers; i++) {
    if (fork() != 0) continue;
    size_t written = 0;
    volatile char sum = 0;
    for (size_t at = 0; at < size; at += 4096) sum += heap[at];
    for (double start = now();; sleep_ms(100)) {
      size_t more = rate == 0 ? 0 : due(start, rate, written);
      for (; more >= 4096 && written < size; more -= 4096, written += 4096) heap[written]++;
    }
  }
  for (;;) pause();
}

/* `in`: a file that lives in memory. Written with write(2), and mapped or not. */
static void shared_file(char **argv, int file, int mapped) {
  size_t block = arg(argv, "block", 256 * KIB), given = 0, most = arg(argv, "most", 1024) * MIB;
  long rate = arg(argv, "rate", 1024);
  if (file < 0) die("shared file");
  for (double start = now();; sleep_ms(100)) {
    for (; due(start, rate, given) >= block && given < most; given += block) {
      if (ftruncate(file, given + block) != 0) die("ftruncate");
      if (mapped) {
        void *part = mmap(NULL, block, PROT_READ | PROT_WRITE, MAP_SHARED, file, given);
        if (part == MAP_FAILED) die("mmap");
        fill(part, block);
      } else {
        static char buffer[1024 * KIB];
        fill(buffer, block);
        if (pwrite(file, buffer, block, given) < 0) die("pwrite");
      }
    }
  }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  const char *path = argc > 2 ? argv[2] : "";
  if (strcmp(mode, "prefork") == 0) prefork(argv);
  if (strcmp(mode, "memfd-mapped") == 0) shared_file(argv, memfd_create("frames", 0), 1);
  if (strcmp(mode, "memfd") == 0) shared_file(argv, memfd_create("frames", 0), 0);
  if (strcmp(mode, "file") == 0) shared_file(argv, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), 0);
  fprintf(stderr, "sharing: unknown mode %s\n", mode);
  return 2;
}
