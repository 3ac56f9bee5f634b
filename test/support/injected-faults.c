// Preloaded into processes of the end-to-end tests (injected-faults.ts compiles it): refuses memory for shared-memory segments and moves the
// wall clock, as the file named by TEST_FAULTS says at the moment. What it says is mapped, so that a test changes it at any time.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct Faults {
  int64_t wall_offset_s;
  int64_t refuse_memfd;
  int64_t refuse_shared_mmap;
};
static const struct Faults none;
static const volatile struct Faults* faults = &none;

__attribute__((constructor)) static void read_faults(void) {
  const char* path = getenv("TEST_FAULTS");
  const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void* mapped = (void*)syscall(SYS_mmap, NULL, sizeof(struct Faults), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) faults = mapped;
  close(fd);
}

int memfd_create(const char* name, unsigned flags) {
  if (faults->refuse_memfd) {
    errno = ENOSYS;
    return -1;
  }
  return (int)syscall(SYS_memfd_create, name, flags);
}

void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (faults->refuse_shared_mmap && fd >= 0 && (flags & MAP_SHARED) && (flags & MAP_POPULATE)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return (void*)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}
void* mmap64(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return mmap(address, bytes, protection, flags, fd, offset);
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "clock_gettime");
  const int failed = real(clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += faults->wall_offset_s;
  return failed;
}
int gettimeofday(struct timeval* now, void* zone) {
  (void)zone;
  struct timespec precise;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
time_t time(time_t* now) {
  struct timespec precise;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  if (now != NULL) *now = precise.tv_sec;
  return precise.tv_sec;
}
