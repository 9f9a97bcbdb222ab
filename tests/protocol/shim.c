// Preloaded into the program under test: stops, kills or fails it at a chosen file operation.
//
//   SHIM="RULE;RULE;..."    RULE = [+]OPERATION|WHEN|PATH|ACTION[|N]
//
//   OPERATION  linkat, rename, unlink, fsync, write or stat
//   WHEN       before or after the system does it
//   PATH       part of the path that it is about (of two paths, the new one); with `$` at its end, the end of the path
//   ACTION     stop, kill, eio, enospc, or note, which does nothing
//   N          the rule fires at the N-th match, by default the first; `N+`: at the N-th and at all later ones
//   +          the rule counts matches only after the rule before it has fired
//
// Each rule that fires prints a line that starts with "[shim]" to stderr.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_RULES 16

struct rule {
    char *operation, *when, *path, *action;
    int nth, and_later, waits;
    atomic_int matches, fired;
};

static struct rule rules[MOST_RULES];
static int rule_count;

__attribute__((constructor)) static void read_rules(void) {
    char *text = getenv("SHIM"), *next_rule = NULL;
    if (!text) return;
    // The program's children are not tested.
    text = strdup(text);
    unsetenv("SHIM");
    for (char *word = strtok_r(text, ";", &next_rule); word && rule_count < MOST_RULES;
         word = strtok_r(NULL, ";", &next_rule)) {
        struct rule *rule = &rules[rule_count++];
        char *next_field = NULL;
        if (*word == '+') rule->waits = 1, word++;
        rule->operation = strtok_r(word, "|", &next_field);
        rule->when = strtok_r(NULL, "|", &next_field);
        rule->path = strtok_r(NULL, "|", &next_field);
        rule->action = strtok_r(NULL, "|", &next_field);
        char *nth = strtok_r(NULL, "|", &next_field);
        if (!rule->operation || !rule->when || !rule->path || !rule->action) {
            dprintf(2, "[shim] a rule is not complete\n");
            _exit(99);
        }
        rule->nth = nth ? atoi(nth) : 1;
        rule->and_later = nth && strchr(nth, '+');
    }
}

static int is_about(const struct rule *rule, const char *path) {
    size_t wanted = strlen(rule->path), length = strlen(path);
    if (wanted && rule->path[wanted - 1] == '$') {
        wanted--;
        return length >= wanted && !strncmp(path + length - wanted, rule->path, wanted);
    }
    return strstr(path, rule->path) != NULL;
}

// Gives the error with which the operation has to fail, or 0.
static int reach(const char *operation, const char *when, const char *path) {
    int error = 0;
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->operation, operation) || strcmp(rule->when, when) || !is_about(rule, path)) continue;
        if (rule->waits && i > 0 && !atomic_load(&rules[i - 1].fired)) continue;
        int match = atomic_fetch_add(&rule->matches, 1) + 1;
        if (match != rule->nth && !(rule->and_later && match > rule->nth)) continue;
        dprintf(2, "[shim] %s %s %s: %s\n", when, operation, path, rule->action);
        if (!strcmp(rule->action, "stop")) {
            kill(getpid(), SIGSTOP);
            // The signal may reach this thread a little later.
            usleep(100000);
        }
        if (!strcmp(rule->action, "kill")) kill(getpid(), SIGKILL);
        if (!strcmp(rule->action, "eio")) error = EIO;
        if (!strcmp(rule->action, "enospc")) error = ENOSPC;
        // Not before: another thread could meet the next rule while this one is still about to stop the process.
        atomic_store(&rule->fired, 1);
    }
    return error;
}

static const char *path_of(int descriptor, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, size - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define BEFORE(operation, path) \
    do { \
        int error = reach(operation, "before", path); \
        if (error) return errno = error, -1; \
    } while (0)

#define AFTER(operation, path) \
    do { \
        int kept = errno, error = reach(operation, "after", path); \
        errno = kept; \
        if (error) return errno = error, -1; \
    } while (0)

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    BEFORE("linkat", to);
    int result = real(from_folder, from, to_folder, to, flags);
    AFTER("linkat", to);
    return result;
}

int link(const char *from, const char *to) {
    REAL(link);
    BEFORE("linkat", to);
    int result = real(from, to);
    AFTER("linkat", to);
    return result;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    BEFORE("rename", to);
    int result = real(from, to);
    AFTER("rename", to);
    return result;
}

int unlink(const char *path) {
    REAL(unlink);
    BEFORE("unlink", path);
    int result = real(path);
    AFTER("unlink", path);
    return result;
}

// How Rust's standard library looks at a file, and so the first thing that it does to one that is read.
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *found) {
    REAL(statx);
    char buffer[4096];
    // An open file has no path of its own.
    const char *about = rule_count && !*path ? path_of(folder, buffer, sizeof buffer) : path;
    BEFORE("stat", about);
    int result = real(folder, path, flags, mask, found);
    AFTER("stat", about);
    return result;
}

int fsync(int descriptor) {
    REAL(fsync);
    char buffer[4096];
    const char *path = rule_count ? path_of(descriptor, buffer, sizeof buffer) : "";
    BEFORE("fsync", path);
    int result = real(descriptor);
    AFTER("fsync", path);
    return result;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    REAL(write);
    // Messages of the program are not tested.
    if (descriptor <= 2 || !rule_count) return real(descriptor, bytes, count);
    char buffer[4096];
    const char *path = path_of(descriptor, buffer, sizeof buffer);
    BEFORE("write", path);
    ssize_t result = real(descriptor, bytes, count);
    AFTER("write", path);
    return result;
}
