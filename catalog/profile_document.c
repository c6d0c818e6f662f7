#include "catalog/profile_document.h"

#include "catalog/base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of files that hold records, or other files: what is in them no check and no rule on columns sees. */
static const char *const of_records[] = { "7z", "arrow", "avro", "bz2", "csv", "db", "dbf", "dta", "feather", "gz", "h5", "hdf5", "ipc", "json", "jsonl", "ndjson", "ods",
					  "orc", "parq", "parquet", "pickle", "pkl", "psv", "rar", "rdata", "rds", "sas7bdat", "sav", "sqlite", "sqlite3", "tar", "tgz",
					  "tsv", "xls", "xlsb", "xlsm", "xlsx", "xml", "xz", "zip", "zst" };

static const char *ending(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
	return dot && dot > base && dot[1] ? dot : "";
}

static bool may_hold_records(const char *path)
{
	const char *dot = ending(path);
	for (size_t i = 0; *dot && i < sizeof of_records / sizeof *of_records; i++)
		if (!strcasecmp(dot + 1, of_records[i]))
			return true;
	return false;
}

static int by_ending(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	int order = strcmp(ending(x), ending(y));
	return order ? order : strcmp(x, y);
}

void profile_quoted(struct buf *out, const char *text)
{
	buf_addc(out, '"');
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addf(out, "\\%c", *p);
		else if ((unsigned char)*p < 0x20)
			buf_addf(out, "\\x%02x", (unsigned char)*p);
		else
			buf_addc(out, *p);
	}
	buf_addc(out, '"');
}

/* In a comment a name is as harmless as a quoted one. */
static void leave_out(struct buf *out, const char *first, size_t count)
{
	buf_adds(out, "  # Left out: ");
	profile_quoted(out, first);
	if (count > 1)
		buf_addf(out, " and %zu more %s", count - 1, ending(first));
	buf_adds(out, ", which may hold records that no check can read (those of .csv .tsv .psv .jsonl .ndjson .parquet, in small letters, are).\n"
		      "  # Rules on rows and columns deny them; if they hold nothing to protect, name them here as physicalType: document.\n");
}

static void write_one(struct buf *out, const char *name, const char *files)
{
	buf_adds(out, "  - name: ");
	profile_quoted(out, name);
	buf_adds(out, "\n    physicalName: ");
	profile_quoted(out, files);
	buf_adds(out, "\n    physicalType: document\n");
}

static void write_many(struct buf *out, const char *dot)
{
	char *name = text_format("%s files", dot + 1), *glob = text_format("**%s", dot);
	if (name && glob)
		write_one(out, name, glob);
	free(name);
	free(glob);
}

size_t profile_documents(char **paths, size_t count, struct buf *out)
{
	size_t written = 0, same;
	if (count)
		qsort(paths, count, sizeof *paths, by_ending);
	for (size_t i = 0; i < count; i += same) {
		const char *dot = ending(paths[i]);
		for (same = 1; *dot && i + same < count && !strcmp(ending(paths[i + same]), dot);)
			same++;
		if (may_hold_records(paths[i])) {
			leave_out(out, paths[i], same);
			continue;
		}
		if (same > 1 && !strpbrk(dot, "*?"))
			write_many(out, dot);
		else
			for (size_t k = 0; k < same; k++)
				write_one(out, paths[i + k], paths[i + k]);
		written++;
	}
	return written;
}
