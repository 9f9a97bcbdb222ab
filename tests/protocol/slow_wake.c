// Preloaded into the program under test: a thread that wakes all threads that wait on a condition sleeps first. Only the
// timing changes, so the output must not. It widens the gap between a change of shared state and its being noticed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLEEP_MICROSECONDS 30000

// Rust's standard library reaches the futex through this function.
long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    int wakes = number == SYS_futex && ((int)arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;
    if (wakes && (int)arguments[2] == INT_MAX) usleep(SLEEP_MICROSECONDS);
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
