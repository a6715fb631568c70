/*
 * A library to be preloaded (LD_PRELOAD) that stands between a program and its disk.
 *
 * It watches what the program does to files under FAULTS_ROOT:
 * - FAULTS_JOURNAL: every change and every sync is written to this file, in the order in which they
 *   happened, so that ../power-cut.ts can build the folder as a power cut at any moment would have
 *   left it: with what was synced, and any part of what was not.
 * - FAULTS_FAIL_AT=N: the N-th of them fails with FAULTS_ERRNO (EIO unless told), and does nothing.
 *   FAULTS_STICKY=1: so do all that follow.
 * - FAULTS_COUNT: a file that gets the number of them when the program exits.
 * Files whose name ends in FAULTS_EXEMPT are journaled but never fail and are not counted.
 *
 * One lock is held around each operation and its entry, so the journal has no other order than the
 * disk. Memory-mapped writes are not seen: SQLite's -shm file, which is rebuilt after a crash.
 *
 * An entry, little-endian: operation u8, file u32, offset u64, length u32, then so many bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { CREATE = 1, OPEN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR };

#define FDS_MAX 65536
#define FILES_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *exempt;
static size_t root_length;
static int journal = -1, fail_errno = EIO, sticky;
static long fail_at, count;
/* Which file a descriptor is of; 0: none of ours. */
static uint32_t file_of_fd[FDS_MAX];
static char *path_of_file[FILES_MAX];
static uint32_t files = 1;

#define REAL(name) \
  static __typeof__(name) *real; \
  if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t raw_write(int fd, const void *bytes, size_t length) {
  REAL(write);
  return real(fd, bytes, length);
}

__attribute__((constructor)) static void begin(void) {
  root = getenv("FAULTS_ROOT");
  if (root == NULL) return;
  root_length = strlen(root);
  exempt = getenv("FAULTS_EXEMPT");
  const char *text = getenv("FAULTS_FAIL_AT");
  fail_at = text == NULL ? 0 : atol(text);
  text = getenv("FAULTS_ERRNO");
  if (text != NULL) fail_errno = atoi(text);
  sticky = getenv("FAULTS_STICKY") != NULL;
  text = getenv("FAULTS_JOURNAL");
  if (text != NULL) journal = open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("FAULTS_COUNT");
  if (root == NULL || path == NULL) return;
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char text[32];
  int length = snprintf(text, sizeof text, "%ld\n", count);
  if (fd < 0 || raw_write(fd, text, (size_t)length) != length) abort();
  close(fd);
}

static int is_ours(const char *path) {
  return root != NULL && path != NULL && strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == 0);
}

static int is_exempt(const char *path) {
  size_t length = strlen(path), tail = exempt == NULL ? 0 : strlen(exempt);
  return tail > 0 && length >= tail && strcmp(path + length - tail, exempt) == 0;
}

static int is_shared_memory(const char *path) {
  size_t length = strlen(path);
  return length >= 4 && strcmp(path + length - 4, "-shm") == 0;
}

static uint32_t file_of(int fd) {
  return fd >= 0 && fd < FDS_MAX ? file_of_fd[fd] : 0;
}

/* Whether this operation is the one that fails; sets errno then. */
static int fails(const char *path) {
  if (path == NULL || is_exempt(path)) return 0;
  count += 1;
  if (fail_at == 0 || count < fail_at || (count > fail_at && !sticky)) return 0;
  errno = fail_errno;
  return 1;
}

static void note(enum operation operation, uint32_t file, uint64_t offset, const void *bytes,
                 size_t length) {
  if (journal < 0) return;
  int saved = errno;
  uint8_t head[17] = {(uint8_t)operation};
  uint32_t length32 = (uint32_t)length;
  memcpy(head + 1, &file, 4);
  memcpy(head + 5, &offset, 8);
  memcpy(head + 13, &length32, 4);
  if (raw_write(journal, head, sizeof head) != sizeof head) abort();
  for (size_t done = 0; done < length;) {
    ssize_t written = raw_write(journal, (const char *)bytes + done, length - done);
    if (written <= 0) abort();
    done += (size_t)written;
  }
  errno = saved;
}

static void note_path(enum operation operation, uint32_t file, const char *path) {
  note(operation, file, 0, path, strlen(path));
}

/* The number under which the journal speaks of what lies at a path. */
static uint32_t number_of(const char *path) {
  for (uint32_t file = files - 1; file > 0; file -= 1) {
    if (path_of_file[file] != NULL && strcmp(path_of_file[file], path) == 0) return file;
  }
  if (files == FILES_MAX) abort();
  path_of_file[files] = strdup(path);
  return files++;
}

static void forget(const char *path) {
  for (uint32_t file = files - 1; file > 0; file -= 1) {
    if (path_of_file[file] != NULL && strcmp(path_of_file[file], path) == 0) {
      /* Its number stays taken: an open descriptor may still write to it. */
      path_of_file[file][0] = 0;
    }
  }
}

typedef int opener(const char *, int, ...);

static int open_file(opener *real, const char *path, int flags, mode_t mode) {
  if (!is_ours(path) || is_shared_memory(path)) return real(path, flags, mode);
  pthread_mutex_lock(&lock);
  int existed = access(path, F_OK) == 0;
  int changes = (flags & O_CREAT && !existed) || (flags & O_TRUNC && existed);
  int fd = changes && fails(path) ? -1 : real(path, flags, mode);
  if (fd >= 0 && fd < FDS_MAX) {
    int saved = errno;
    uint32_t file = number_of(path);
    file_of_fd[fd] = file;
    if (!existed) note_path(CREATE, file, path);
    else note_path(OPEN, file, path);
    if (existed && flags & O_TRUNC) note(TRUNCATE, file, 0, NULL, 0);
    errno = saved;
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define OPENER(name) \
  int name(const char *path, int flags, ...) { \
    va_list arguments; \
    va_start(arguments, flags); \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
    va_end(arguments); \
    REAL(name); \
    return open_file((opener *)real, path, flags, mode); \
  }
OPENER(open)
OPENER(open64)

static void forget_descriptor(int fd) {
  if (file_of(fd) == 0) return;
  pthread_mutex_lock(&lock);
  file_of_fd[fd] = 0;
  pthread_mutex_unlock(&lock);
}

int close(int fd) {
  REAL(close);
  forget_descriptor(fd);
  return real(fd);
}

/* libuv closes files by the bare system call. */
long syscall(long number, ...) {
  va_list list;
  long arguments[6];
  va_start(list, number);
  for (int index = 0; index < 6; index += 1) arguments[index] = va_arg(list, long);
  va_end(list);
  if (number == SYS_close) forget_descriptor((int)arguments[0]);
  REAL(syscall);
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
}

typedef ssize_t positioned(int, const void *, size_t, off64_t);

static ssize_t write_at(positioned *real, int fd, const void *bytes, size_t length, off64_t at) {
  uint32_t file = file_of(fd);
  if (file == 0) return real(fd, bytes, length, at);
  pthread_mutex_lock(&lock);
  ssize_t written = fails(path_of_file[file]) ? -1 : real(fd, bytes, length, at);
  if (written > 0) note(WRITE, file, (uint64_t)at, bytes, (size_t)written);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  REAL(pwrite);
  return write_at((positioned *)real, fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  REAL(pwrite64);
  return write_at((positioned *)real, fd, bytes, length, at);
}

/* Where a write without a place will go; the lock is held. */
static off64_t place_of(int fd) {
  struct stat state;
  if (fcntl(fd, F_GETFL) & O_APPEND && fstat(fd, &state) == 0) return state.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  uint32_t file = file_of(fd);
  if (file == 0) return raw_write(fd, bytes, length);
  pthread_mutex_lock(&lock);
  off64_t at = place_of(fd);
  ssize_t written = fails(path_of_file[file]) ? -1 : raw_write(fd, bytes, length);
  if (written > 0) note(WRITE, file, (uint64_t)at, bytes, (size_t)written);
  pthread_mutex_unlock(&lock);
  return written;
}

static void note_pieces(uint32_t file, off64_t at, const struct iovec *pieces, int number,
                        size_t written) {
  for (int index = 0; index < number && written > 0; index += 1) {
    size_t length = pieces[index].iov_len < written ? pieces[index].iov_len : written;
    note(WRITE, file, (uint64_t)at, pieces[index].iov_base, length);
    at += (off64_t)length;
    written -= length;
  }
}

ssize_t writev(int fd, const struct iovec *pieces, int number) {
  REAL(writev);
  uint32_t file = file_of(fd);
  if (file == 0) return real(fd, pieces, number);
  pthread_mutex_lock(&lock);
  off64_t at = place_of(fd);
  ssize_t written = fails(path_of_file[file]) ? -1 : real(fd, pieces, number);
  if (written > 0) note_pieces(file, at, pieces, number, (size_t)written);
  pthread_mutex_unlock(&lock);
  return written;
}

typedef ssize_t gatherer(int, const struct iovec *, int, off64_t);

static ssize_t gather_at(gatherer *real, int fd, const struct iovec *pieces, int number,
                         off64_t at) {
  uint32_t file = file_of(fd);
  if (file == 0) return real(fd, pieces, number, at);
  pthread_mutex_lock(&lock);
  ssize_t written = fails(path_of_file[file]) ? -1 : real(fd, pieces, number, at);
  if (written > 0) note_pieces(file, at, pieces, number, (size_t)written);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int number, off_t at) {
  REAL(pwritev);
  return gather_at((gatherer *)real, fd, pieces, number, at);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int number, off64_t at) {
  REAL(pwritev64);
  return gather_at((gatherer *)real, fd, pieces, number, at);
}

typedef int truncater(int, off64_t);

static int truncate_to(truncater *real, int fd, off64_t length) {
  uint32_t file = file_of(fd);
  if (file == 0) return real(fd, length);
  pthread_mutex_lock(&lock);
  int result = fails(path_of_file[file]) ? -1 : real(fd, length);
  if (result == 0) note(TRUNCATE, file, (uint64_t)length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t length) {
  REAL(ftruncate);
  return truncate_to((truncater *)real, fd, length);
}

int ftruncate64(int fd, off64_t length) {
  REAL(ftruncate64);
  return truncate_to((truncater *)real, fd, length);
}

typedef int syncer(int);

static int sync_file(syncer *real, int fd) {
  uint32_t file = file_of(fd);
  if (file == 0) return real(fd);
  pthread_mutex_lock(&lock);
  int result = fails(path_of_file[file]) ? -1 : real(fd);
  if (result == 0) note(SYNC, file, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) {
  REAL(fsync);
  return sync_file(real, fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  return sync_file(real, fd);
}

int rename(const char *from, const char *to) {
  REAL(rename);
  if (!is_ours(from) && !is_ours(to)) return real(from, to);
  pthread_mutex_lock(&lock);
  int result = fails(from) ? -1 : real(from, to);
  if (result == 0) {
    uint32_t file = number_of(from);
    forget(to);
    size_t length = strlen(from) + 1 + strlen(to);
    char *both = malloc(length + 1);
    strcpy(both, from);
    strcpy(both + strlen(from) + 1, to);
    note(RENAME, file, 0, both, length);
    free(both);
    free(path_of_file[file]);
    path_of_file[file] = strdup(to);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

typedef int path_operation(const char *);

static int change_path(path_operation *real, enum operation operation, const char *path) {
  if (!is_ours(path) || is_shared_memory(path)) return real(path);
  pthread_mutex_lock(&lock);
  int result = fails(path) ? -1 : real(path);
  if (result == 0) {
    note_path(operation, number_of(path), path);
    forget(path);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) {
  REAL(unlink);
  return change_path(real, UNLINK, path);
}

int rmdir(const char *path) {
  REAL(rmdir);
  return change_path(real, RMDIR, path);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  if (!is_ours(path)) return real(path, mode);
  pthread_mutex_lock(&lock);
  int result = access(path, F_OK) != 0 && fails(path) ? -1 : real(path, mode);
  if (result == 0) note_path(MKDIR, number_of(path), path);
  pthread_mutex_unlock(&lock);
  return result;
}
