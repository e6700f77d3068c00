/* Handles in every order: languages with garbage collectors free them as they like. */
#include "check.h"

static uint64_t position;

/* The store goes first; its log still writes, and the directory stays locked until the log goes too. */
static void log_outlives_its_store(const char *directory) {
    duramen_store *store = opened(directory);
    duramen_log *log = log_of(store, 0);
    duramen_store_free(store);
    append_text(log, 1, 1, "written after the store was freed");
    OK(duramen_sync(log, &position, &error));
    duramen_log_free(log);
}

static void entries_outlive_everything(const char *directory) {
    duramen_store *store = opened(directory);
    duramen_log *log = log_of(store, 0);
    duramen_entries *entries;
    OK(duramen_get(log, 1, &entries, &error));
    OK(duramen_store_close(store, &error));
    duramen_store_free(store);
    duramen_log_free(log);
    const duramen_entry *entry = duramen_entries_data(entries);
    CHECK(entry->len == 33 && memcmp(entry->data, "written after the store was freed", 33) == 0);
    duramen_entries_free(entries);
}

/* Options serve several openings, and none of them needs the options afterwards. */
static void options_are_reused_and_freed_early(const char *directory) {
    duramen_options *options = duramen_options_new();
    duramen_store *first, *second;
    OK(duramen_options_set_create(options, false, &error));
    OK(duramen_store_open(directory, options, &first, &error));
    OK(duramen_store_open(directory, options, &second, &error));
    duramen_options_free(options);

    /* Two openings share the store; the end of one is not the end of the other. */
    duramen_log *of_first = log_of(first, 0), *of_second = log_of(second, 0);
    OK(duramen_store_close(first, &error));
    FAILS(DURAMEN_CLOSED, "closed", duramen_sync(of_first, NULL, &error));
    append_text(of_second, 2, 1, "y");
    duramen_log_free(of_second);
    duramen_log_free(of_first);
    duramen_store_free(second);
    duramen_store_free(first);
}

static void freed_without_closing(const char *directory) {
    duramen_store *store = opened(directory);
    duramen_log *log = log_of(store, 0), *same = log_of(store, 0);
    append_text(log, 3, 1, "z");
    duramen_log_free(log);
    duramen_log_free(same);
    duramen_store_free(store);

    uint64_t count;
    store = opened(directory);
    log = log_of(store, 0);
    OK(duramen_count(log, &count, &error));
    CHECK(count == 3);
    duramen_store_free(store);
    duramen_log_free(log);
}

int main(int words, char **word) {
    (void)words;
    log_outlives_its_store(word[1]);
    entries_outlive_everything(word[1]);
    options_are_reused_and_freed_early(word[1]);
    freed_without_closing(word[1]);
    return 0;
}
