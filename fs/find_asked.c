/* The records that lineage find looks for. */
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "fs/find.h"
#include "fs/row_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORDS_MAX (1u << 28)

static int on_asked(void *arg, uint64_t row, const struct row_print *print, bool broken)
{
	struct find *f = arg;
	(void)row;
	if (f->count == f->room) {
		uint32_t room = f->room ? 2 * f->room : 1024;
		struct row_print *more = room > RECORDS_MAX ? NULL : realloc(f->prints, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		f->prints = more;
		f->room = room;
	}
	f->prints[f->count++] = broken ? (struct row_print){ 0, 0 } : *print;
	return 0;
}

static bool is_asked(void *arg, const char *name)
{
	struct find *f = arg;
	for (size_t i = 0; i < f->columns.count; i++)
		if (!strcmp(f->columns.items[i], name))
			return true;
	return !f->columns.count;
}

static int on_asked_column(void *arg, const char *name)
{
	struct find *f = arg;
	return map_sets(is_asked(f, name) ? f->names : f->others, name, f);
}

static int read_local(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	int r = io_pread_full(*(int *)arg, bytes, len, offset);
	return r ? err_set(e, r, "it cannot be read: %s", r == -ENODATA ? "it became shorter" : strerror(-r)) : 0;
}

static int read_asked(struct find *f, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		int code = errno;
		if (fd >= 0)
			close(fd);
		return err_set(f->e, -code, "%s: %s", path, code == ENOENT ? "no such file" : strerror(code));
	}
	const struct row_read read = { .source = { read_local, &fd, (uint64_t)st.st_size, path },
				       .column = is_asked, .each = on_asked, .seen = on_asked_column, .arg = f };
	int r = S_ISREG(st.st_mode) ? row_read(&read, f->e) : err_set(f->e, -EINVAL, "it is no regular file");
	close(fd);
	return r ? err_prefix(f->e, r, "%s", path) : 0;
}

static int add_name(const struct map *m, const char ***list, size_t *count)
{
	const void *key;
	size_t len, i = 0;
	void *value;
	while (map_next(m, &i, &key, &len, &value)) {
		const char **more = realloc(*list, (*count + 1) * sizeof *more);
		char *name = more ? strndup(key, len) : NULL;
		if (more)
			*list = more;
		if (!name)
			return -ENOMEM;
		(*list)[(*count)++] = name;
	}
	return 0;
}

static int no_such_column(struct find *f, const char *name)
{
	const char **list = NULL;
	size_t count = 0;
	const char *near = add_name(f->names, &list, &count) || add_name(f->others, &list, &count) ? NULL : text_nearest(name, list, count);
	int r = near ? err_set(f->e, -ENOENT, "--column: the file has no column %s (did you mean '%s'?)", name, near)
		     : err_set(f->e, -ENOENT, "--column: the file has no column %s", name);
	while (count)
		free((char *)(uintptr_t)list[--count]);
	free(list);
	return r;
}

static int index_records(struct find *f)
{
	f->bucket_count = 1024;
	while (f->bucket_count < f->count)
		f->bucket_count *= 2;
	f->buckets = malloc(f->bucket_count * sizeof *f->buckets);
	f->next = malloc(((size_t)f->count + 1) * sizeof *f->next);
	if (!f->buckets || !f->next)
		return find_no_memory(f);
	memset(f->buckets, 0xff, f->bucket_count * sizeof *f->buckets);
	for (uint32_t i = f->count; i--;) {
		uint32_t *bucket = &f->buckets[f->prints[i].low & (f->bucket_count - 1)];
		f->next[i] = *bucket;
		*bucket = i;
	}
	for (size_t i = 0; i < f->columns.count; i++)
		if (!map_gets(f->names, f->columns.items[i]))
			return no_such_column(f, f->columns.items[i]);
	return 0;
}

int find_ask_about(struct find *f, const char *path)
{
	int r = 0;
	if (!access(path, R_OK) && !row_readable(path))
		r = err_set(f->e, -EOPNOTSUPP, text_ends(path, ".parquet") ? "%s: Parquet is read by an engine, and there is none here (libduckdb.so, or MESHFS_DUCKDB)"
									   : "%s: only CSV, TSV, PSV and JSONL files (.gz and .zst too) and Parquet are read",
			    path);
	if (!r)
		r = read_asked(f, path);
	return r ? r : index_records(f);
}
