/* Memory that holds files: read, written, mapped, and a working set that does not fit. And huge pages that hold little. */
#include "pace.h"

static int make_file(size_t bytes) {
  static char block[1024 * KIB];
  int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) die("data");
  for (size_t at = 0; at < bytes; at += sizeof block) {
    fill(block, sizeof block);
    if (write(file, block, sizeof block) < 0) die("write");
    /* Written out and let go: what is measured afterwards begins without it. */
    if (at % (16 * MIB) == 0) fdatasync(file);
  }
  fdatasync(file);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  return file;
}

static void base(char **argv) {
  size_t bytes = arg(argv, "base", 16) * MIB;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  fill(memory, bytes);
}

static void read_slowly(char **argv) {
  static char block[64 * KIB];
  size_t size = arg(argv, "size", 256) * MIB, given = 0;
  int file = make_file(size);
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 2048), given) >= sizeof block; given += sizeof block)
      if (pread(file, block, sizeof block, given % size) < 0) die("pread");
}

/* A log: appended, never read. */
static void append(char **argv) {
  static char block[64 * KIB];
  size_t given = 0;
  int file = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) die("log");
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 2048), given) >= sizeof block; given += sizeof block)
      if (write(file, block, sizeof block) < 0) die("write");
}

/* As databases do: a mapped file that is written to or only read. */
static void mapped(char **argv, int dirty) {
  size_t size = arg(argv, "size", 256) * MIB, given = 0;
  int file = make_file(size);
  volatile char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (data == MAP_FAILED) die("mmap");
  madvise((void *)data, size, MADV_RANDOM);
  char sum = 0;
  for (double start = now();; sleep_ms(50))
    for (; due(start, arg(argv, "rate", 2048), given) >= 4096; given += 4096) {
      if (dirty) data[given % size]++;
      else sum += data[given % size];
    }
}

/* Reads blocks of a file at random; it does not fit beside `base`, so the kernel fetches again what it has just let go. */
static void thrash(char **argv) {
  static char block[16 * KIB];
  size_t size = arg(argv, "size", 96) * MIB;
  int file = make_file(size);
  base(argv);
  posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
  for (long pause_ms = arg(argv, "pause", 2);; sleep_ms(pause_ms))
    if (pread(file, block, sizeof block, (size_t)rand() % (size / sizeof block) * sizeof block) < 0) die("pread");
}

/* A table of 2 MiB slots of which each holds one small entry: with huge pages, 2 MiB are resident for each. Bounded by its size. */
static void huge(char **argv) {
  size_t slot = 2 * MIB, slots = arg(argv, "size", 192) / 2, used = 0;
  char *table = mmap(NULL, slot * (slots + 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED) die("mmap");
  table = (char *)(((uintptr_t)table + slot - 1) & ~(slot - 1));
  madvise(table, slot * slots, MADV_HUGEPAGE);
  for (double start = now();; sleep_ms(100))
    for (; used < slots && used < (now() - start) * arg(argv, "per-second", 2); used++) table[used * slot] = 1;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  srand(7);
  if (strcmp(mode, "read") == 0) read_slowly(argv);
  if (strcmp(mode, "append") == 0) append(argv);
  if (strcmp(mode, "mapped-dirty") == 0) mapped(argv, 1);
  if (strcmp(mode, "mapped-read") == 0) mapped(argv, 0);
  if (strcmp(mode, "thrash") == 0) thrash(argv);
  if (strcmp(mode, "huge") == 0) huge(argv);
  fprintf(stderr, "files: unknown mode %s\n", mode);
  return 2;
}
