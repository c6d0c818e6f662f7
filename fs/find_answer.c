/* What lineage find found. */
#include "catalog/base/json.h"
#include "fs/find.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
	uint32_t record;
	uint64_t row;
	const struct place *place;
	const char *view;
};

static int order(const void *a, const void *b)
{
	const struct source *x = a, *y = b;
	if (x->record != y->record)
		return x->record < y->record ? -1 : 1;
	int c = strcmp(x->place->address, y->place->address);
	if (c || x->row != y->row)
		return c ? c : x->row < y->row ? -1 : 1;
	return strcmp(x->view, y->view);
}

static void print_source(const struct source *s, uint32_t record, bool json)
{
	struct buf b = BUF_INIT;
	struct json j;
	if (json) {
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_int(&j, "record", record + 1);
		json_field_text(&j, "address", s ? s->place->address : NULL);
		json_field_text(&j, "product", s ? s->place->product : NULL);
		json_field_text(&j, "version", s ? s->place->version : NULL);
		json_field_text(&j, "file", s ? s->place->file : NULL);
		json_key(&j, "row");
		s ? json_int(&j, (int64_t)s->row) : json_null(&j);
		json_field_text(&j, "view", s ? s->view : NULL);
		json_field_text(&j, "status", !s ? NULL : s->place->withdrawn ? "withdrawn" : "active");
		json_close(&j, '}');
	} else if (s) {
		buf_addf(&b, "record %lu: ", (unsigned long)record + 1);
		browse_add_safe(&b, s->place->address);
		buf_addf(&b, " row %llu", (unsigned long long)s->row);
		if (s->view[0])
			buf_addf(&b, ", through view %.12s", s->view);
		if (s->place->withdrawn)
			buf_adds(&b, " (withdrawn)");
	} else {
		buf_addf(&b, "record %lu: not found", (unsigned long)record + 1);
	}
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

/* -- how many came from where ---------------------------------------------------------------------- */

struct total { /* of a version */
	const struct place *place;
	uint64_t records, files;
	uint32_t last; /* record that was counted, and one */
	struct map *seen; /* its files */
};

static void free_total(void *arg)
{
	struct total *t = arg;
	map_free(t->seen, NULL);
	free(t);
}

static struct total *total_of(struct map *totals, const char *version)
{
	struct total *t = map_gets(totals, version);
	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (t && (!(t->seen = map_new()) || map_sets(totals, version, t))) {
		if (t->seen)
			map_free(t->seen, NULL);
		free(t);
		t = NULL;
	}
	return t;
}

/* A record counts once for each version that holds it. */
static int add_source(struct map *totals, const struct source *s)
{
	struct total *t = total_of(totals, s->place->scanned->address);
	if (!t)
		return -ENOMEM;
	t->place = s->place;
	t->records += t->last != s->record + 1;
	t->last = s->record + 1;
	if (map_gets(t->seen, s->place->file))
		return 0;
	t->files++;
	return map_sets(t->seen, s->place->file, t);
}

static int by_records(const void *a, const void *b)
{
	const struct total *const *x = a, *const *y = b;
	if ((*x)->records != (*y)->records)
		return (*x)->records > (*y)->records ? -1 : 1;
	return strcmp((*x)->place->scanned->address, (*y)->place->scanned->address);
}

static void print_total(const struct total *t, uint64_t records, bool json)
{
	struct buf b = BUF_INIT;
	struct json j;
	if (json) {
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "address", t ? t->place->scanned->address : NULL);
		json_field_text(&j, "product", t ? t->place->product : NULL);
		json_field_text(&j, "version", t ? t->place->version : NULL);
		json_field_int(&j, "records", (int64_t)records);
		json_field_int(&j, "files", t ? (int64_t)t->files : 0);
		json_field_text(&j, "status", !t ? NULL : t->place->withdrawn ? "withdrawn" : "active");
		json_close(&j, '}');
	} else if (t) {
		buf_addf(&b, "%llu record%s from %s, %llu file%s%s", (unsigned long long)records, records == 1 ? "" : "s", t->place->scanned->address,
			 (unsigned long long)t->files, t->files == 1 ? "" : "s", t->place->withdrawn ? " (withdrawn)" : "");
	} else {
		buf_addf(&b, "%llu record%s not found", (unsigned long long)records, records == 1 ? "" : "s");
	}
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static int print_summary(struct find *f, const struct source *list, size_t count, uint32_t found, bool json)
{
	struct map *totals = map_new();
	int r = totals ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < count; i++)
		r = add_source(totals, &list[i]);
	const size_t n = totals ? map_count(totals) : 0;
	const struct total **order = calloc(n + 1, sizeof *order);
	void *value;
	if (!r && order)
		for (size_t i = 0, at = 0; map_next(totals, &at, NULL, NULL, &value); i++)
			order[i] = value;
	if (!r && order && n)
		qsort(order, n, sizeof *order, by_records);
	for (size_t i = 0; !r && order && i < n; i++)
		print_total(order[i], order[i]->records, json);
	if (!r && order && found < f->count)
		print_total(NULL, f->count - found, json);
	r = r || !order ? find_no_memory(f) : 0;
	free(order);
	if (totals)
		map_free(totals, free_total);
	return r;
}

/* -- where each came from ----------------------------------------------------------------------------- */

static int list_sources(struct find *f, struct source **ret, size_t *ret_count)
{
	size_t total = 0, n = 0;
	for (size_t i = 0; i < f->match_count; i++)
		total += f->jobs[f->matches[i].job]->place_count;
	struct source *list = calloc(total + 1, sizeof *list);
	if (!list)
		return find_no_memory(f);
	for (size_t i = 0; i < f->match_count; i++) {
		const struct job *job = f->jobs[f->matches[i].job];
		for (size_t p = 0; p < job->place_count; p++)
			list[n++] = (struct source){ f->matches[i].record, f->matches[i].row, &job->places[p], job->view };
	}
	qsort(list, n, sizeof *list, order);
	*ret = list;
	*ret_count = n;
	return 0;
}

static uint32_t count_found(const struct source *list, size_t count)
{
	uint32_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += !i || list[i].record != list[i - 1].record;
	return found;
}

static void print_sources(const struct find *f, const struct source *list, size_t count, bool json)
{
	size_t at = 0;
	for (uint32_t record = 0; record < f->count; record++) {
		const struct source *last = NULL;
		for (; at < count && list[at].record == record; at++) {
			/* A row that is the same in the file and through its views is told once. */
			if (!last || strcmp(last->place->address, list[at].place->address) != 0 || last->row != list[at].row)
				print_source(&list[at], record, json);
			last = &list[at];
		}
		if (!last)
			print_source(NULL, record, json);
	}
}

int find_answer(struct find *f, bool json, bool quiet)
{
	struct source *list = NULL;
	size_t count = 0;
	int r = list_sources(f, &list, &count);
	if (r)
		return r;
	const uint32_t found = count_found(list, count);
	if (f->summary)
		r = print_summary(f, list, count, found, json);
	else
		print_sources(f, list, count, json);
	free(list);
	if (!quiet && f->skipped)
		fprintf(stderr, "meshfs: %llu Parquet file%s not looked into: there is no engine for it here (libduckdb.so, or MESHFS_DUCKDB)\n",
			(unsigned long long)f->skipped, f->skipped == 1 ? " was" : "s were");
	if (!r && !json)
		printf("%lu of %lu records found\n", (unsigned long)found, (unsigned long)f->count);
	return r;
}
