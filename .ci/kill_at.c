/* Kills a process at its n-th file operation below a folder, or only counts them.

       cc -O2 -shared -fPIC -o kill_at.so kill_at.c -ldl
       LD_PRELOAD=kill_at.so KILL_BELOW=FOLDER [KILL_AT=n] [KILL_COUNT=FILE] COMMAND

   Counted is what changes a disk: opening to write, writing, renaming, making and removing,
   synchronising. The kill comes before every first of three operations, after every second, and of
   every third, where it is a write, in the middle. KILL_COUNT names a file of 8 bytes that holds
   the number so far. A program that has forked calls kill_at_arm instead of having it in its
   environment. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { GO_ON, AMID, AFTER };
static char below[PATH_MAX];
static size_t length;
static long at, *count, own;

#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

void kill_at_arm(const char *folder, long n, const char *counter) {
    length = 0;
    count = &own;
    own = 0;
    at = n;
    if (counter && *counter) {
        int file = open(counter, O_RDWR | O_CREAT, 0600);
        if (file < 0 || ftruncate(file, sizeof(long))) _exit(98);
        count = mmap(0, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        *count = 0;
    }
    if (!realpath(folder, below)) _exit(99);
    length = strlen(below);
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("KILL_BELOW"), *n = getenv("KILL_AT");
    if (folder) kill_at_arm(folder, n ? atol(n) : 0, getenv("KILL_COUNT"));
}

static int is_below(const char *path) {
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int step(int inside) {
    if (!inside) return GO_ON;
    long n = __sync_add_and_fetch(count, 1);
    if (!at || n != at) return GO_ON;
    if (n % 3 == 1) die();
    return n % 3 ? AFTER : AMID;
}

static int of_file(int file) {
    if (!length) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static int of_path(int folder, const char *path) {
    if (!length || !path) return 0;
    if (path[0] == '/') return is_below(path);
    char whole[PATH_MAX];
    if (folder != AT_FDCWD) return of_file(folder);
    return getcwd(whole, sizeof whole) && is_below(whole);
}

#define AROUND(inside, call) do { int what = step(inside); __auto_type result = call; if (what) die(); return result; } while (0)
#define WRITES(flags) ((flags) & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))
#define MODE(last) mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, last); mode = va_arg(a, mode_t); va_end(a); }
#define OPEN(name) int name(const char *path, int flags, ...) { NEXT(name); MODE(flags) AROUND(WRITES(flags) && of_path(AT_FDCWD, path), next(path, flags, mode)); }
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { NEXT(name); MODE(flags) AROUND(WRITES(flags) && of_path(folder, path), next(folder, path, flags, mode)); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define WRITE(name, given, ...) { NEXT(name); int what = step(of_file(file)); if (what == AMID) size = (size + 1) / 2; \
    ssize_t result = next(file, given, size, ##__VA_ARGS__); if (what) die(); return result; }
ssize_t write(int file, const void *data, size_t size) WRITE(write, data)
ssize_t pwrite(int file, const void *data, size_t size, off_t place) WRITE(pwrite, data, place)
ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) WRITE(pwrite64, data, place)
ssize_t writev(int file, const struct iovec *data, int size) WRITE(writev, data)

int fsync(int file) { NEXT(fsync); AROUND(of_file(file), next(file)); }
int fdatasync(int file) { NEXT(fdatasync); AROUND(of_file(file), next(file)); }
int ftruncate(int file, off_t size) { NEXT(ftruncate); AROUND(of_file(file), next(file, size)); }
int ftruncate64(int file, off64_t size) { NEXT(ftruncate64); AROUND(of_file(file), next(file, size)); }
int rename(const char *from, const char *to) { NEXT(rename); AROUND(of_path(AT_FDCWD, to), next(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { NEXT(renameat); AROUND(of_path(b, to), next(a, from, b, to)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { NEXT(renameat2); AROUND(of_path(b, to), next(a, from, b, to, flags)); }
int mkdir(const char *path, mode_t mode) { NEXT(mkdir); AROUND(of_path(AT_FDCWD, path), next(path, mode)); }
int mkdirat(int folder, const char *path, mode_t mode) { NEXT(mkdirat); AROUND(of_path(folder, path), next(folder, path, mode)); }
int unlink(const char *path) { NEXT(unlink); AROUND(of_path(AT_FDCWD, path), next(path)); }
int unlinkat(int folder, const char *path, int flags) { NEXT(unlinkat); AROUND(of_path(folder, path), next(folder, path, flags)); }
int rmdir(const char *path) { NEXT(rmdir); AROUND(of_path(AT_FDCWD, path), next(path)); }
