/* What the C tests share: checks that say where they failed and what the library said, and a store to work on.
 * Every program gets a fresh directory as its argument. */
#ifndef CHECK_H
#define CHECK_H

#include <duramen.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The caller's error of every checked call. */
static duramen_error error;

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: not so: %s; last error: %s\n", __FILE__, __LINE__, #condition, error.message); \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* The call succeeds, and its error says so. */
#define OK(call)                                                        \
    do {                                                                \
        duramen_status status_ = (call);                                \
        CHECK(status_ == DURAMEN_OK);                                   \
        CHECK(error.code == DURAMEN_OK && error.message[0] == '\0');    \
    } while (0)

/* The call fails with this status, and its message contains these words. */
#define FAILS(expected, words, call)                                    \
    do {                                                                \
        duramen_status status_ = (call);                                \
        CHECK(status_ == (expected));                                   \
        CHECK(error.code == (expected));                                \
        CHECK(strstr(error.message, (words)) != NULL);                  \
    } while (0)

static inline duramen_store *opened(const char *directory) {
    duramen_store *store = NULL;
    OK(duramen_store_open(directory, NULL, &store, &error));
    return store;
}

static inline duramen_log *log_of(const duramen_store *store, uint64_t group) {
    duramen_log *log = NULL;
    OK(duramen_store_log(store, group, &log, &error));
    return log;
}

static inline duramen_entry entry_of(uint64_t index, uint64_t term, const char *text) {
    duramen_entry entry = {.index = index, .term = term, .data = text, .len = strlen(text)};
    return entry;
}

static inline void append_text(const duramen_log *log, uint64_t index, uint64_t term, const char *text) {
    duramen_entry entry = entry_of(index, term, text);
    OK(duramen_append(log, &entry, 1, DURAMEN_DURABLE, NULL, &error));
}

#endif
