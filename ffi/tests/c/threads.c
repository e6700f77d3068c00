/* One store, many threads: each writes a group of its own and reads all, through shared handles, until somebody closes the
 * store under them. */
#include "check.h"

#include <pthread.h>

#define THREADS 8
#define ENTRIES 20
#define FAILED ((void *)logs)

static duramen_log *logs[THREADS];
static duramen_store *store;

/* Each thread has an error of its own; nothing about errors is shared. */
static void *write_and_read(void *argument) {
    const uint64_t own = (uint64_t)(uintptr_t)argument;
    duramen_error mine;
    for (uint64_t index = 1; index <= ENTRIES; index++) {
        duramen_entry entry = {.index = index, .term = own, .data = &index, .len = sizeof(index)};
        if (duramen_append(logs[own], &entry, 1, index % 2 ? DURAMEN_BUFFERED : DURAMEN_DURABLE, NULL, &mine) != DURAMEN_OK) {
            fprintf(stderr, "append: %s\n", mine.message);
            return FAILED;
        }
        for (uint64_t group = 0; group < THREADS; group++) {
            bool present;
            uint64_t first, next;
            duramen_entries *entries;
            if (duramen_bounds(logs[group], &present, &first, &next, &mine) != DURAMEN_OK ||
                duramen_read(logs[group], first, next, UINT64_MAX, &entries, &mine) != DURAMEN_OK) {
                fprintf(stderr, "read: %s\n", mine.message);
                return FAILED;
            }
            duramen_entries_free(entries);
        }
    }
    return NULL;
}

static void *read_until_closed(void *unused) {
    (void)unused;
    duramen_error mine;
    duramen_entries *entries;
    while (duramen_read(logs[0], 1, ENTRIES + 1, UINT64_MAX, &entries, &mine) == DURAMEN_OK) {
        duramen_entries_free(entries);
    }
    return mine.code == DURAMEN_CLOSED ? NULL : FAILED;
}

static void in_threads(void *(*work)(void *), int close) {
    pthread_t threads[THREADS];
    for (uintptr_t own = 0; own < THREADS; own++) {
        CHECK(pthread_create(&threads[own], NULL, work, (void *)own) == 0);
    }
    if (close) {
        OK(duramen_store_close(store, &error));
    }
    for (int own = 0; own < THREADS; own++) {
        void *failed = NULL;
        CHECK(pthread_join(threads[own], &failed) == 0);
        CHECK(failed == NULL);
    }
}

int main(int words, char **word) {
    (void)words;
    store = opened(word[1]);
    for (uint64_t group = 0; group < THREADS; group++) {
        logs[group] = log_of(store, group);
    }
    in_threads(write_and_read, 0);
    in_threads(read_until_closed, 1);
    for (int group = 0; group < THREADS; group++) {
        duramen_log_free(logs[group]);
    }
    duramen_store_free(store);
    return 0;
}
