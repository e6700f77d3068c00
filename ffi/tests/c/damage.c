/* An entry that the disk has spoiled is told by group and index; everything else is read as ever. */
#include "check.h"

static const char *const SPOILED = "a command that the disk will spoil";

static void write_two_groups(const char *directory) {
    duramen_store *store = opened(directory);
    duramen_log *first = log_of(store, 1), *second = log_of(store, 2);
    append_text(first, 1, 7, SPOILED);
    append_text(first, 2, 7, "behind it");
    append_text(second, 1, 3, "of another group");
    OK(duramen_store_close(store, &error));
    duramen_log_free(first);
    duramen_log_free(second);
    duramen_store_free(store);
}

static void spoil(const char *directory) {
    static char bytes[256 << 10];
    char path[4096];
    snprintf(path, sizeof path, "%s/0000000000000001.seg", directory);
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL);
    size_t len = fread(bytes, 1, sizeof bytes, file), at = 0, wanted = strlen(SPOILED);
    while (at + wanted <= len && memcmp(bytes + at, SPOILED, wanted) != 0)
        at++;
    CHECK(at + wanted <= len);
    CHECK(fseek(file, (long)at, SEEK_SET) == 0 && fputc('A', file) == 'A' && fclose(file) == 0);
}

static void reads(const duramen_log *log, uint64_t index, const char *text) {
    duramen_entries *entries;
    OK(duramen_get(log, index, &entries, &error));
    const duramen_entry *entry = duramen_entries_data(entries);
    CHECK(entry->len == strlen(text) && memcmp(entry->data, text, entry->len) == 0);
    duramen_entries_free(entries);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    write_two_groups(argv[1]);
    spoil(argv[1]);
    duramen_store *store = opened(argv[1]);
    duramen_log *first = log_of(store, 1), *second = log_of(store, 2);
    duramen_entries *entries;
    FAILS(DURAMEN_CORRUPT, "entry 1 of group 1", duramen_get(first, 1, &entries, &error));
    CHECK(strstr(error.message, "term 7") != NULL && strstr(error.message, "0000000000000001.seg") != NULL);
    reads(first, 2, "behind it");
    reads(second, 1, "of another group");
    append_text(first, 3, 7, "the log goes on");
    duramen_log_free(first);
    duramen_log_free(second);
    duramen_store_free(store);
    return 0;
}
