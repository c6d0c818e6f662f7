/* meshfs lineage find: which product, version, file and row each record of a file came from. */
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"
#include "fs/find.h"
#include "fs/row_read.h"
#include "fs/scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int find_no_memory(struct find *f)
{
	return err_set(f->e, -ENOMEM, "out of memory");
}

/* -- where to look ------------------------------------------------------------------------------------ */

static int add_place(struct find *f, struct job *job, struct scan_version *v, const char *path)
{
	const struct version_facts *facts = &v->loaded.facts;
	struct place *more = realloc(job->places, (job->place_count + 1) * sizeof *more);
	if (!more)
		return find_no_memory(f);
	job->places = more;
	struct place *p = &more[job->place_count++];
	*p = (struct place){ text_format("%s/%s", v->address, path), text_format("%s/%s", facts->domain, facts->product), strdup(facts->version), strdup(path),
			     v, v->loaded.info.status == VERSION_WITHDRAWN };
	return p->address && p->product && p->version && p->file ? 0 : find_no_memory(f);
}

static int add_job(struct find *f, struct scan_version *v, const struct manifest_entry *entry, const char *path, const char *view)
{
	char content[SHA256_HEX_SIZE], contract[SHA256_HEX_SIZE];
	hex_format(entry->content.bytes, SHA256_SIZE, content);
	hex_format(v->loaded.info.contract.bytes, SHA256_SIZE, contract);
	char *key = text_format("%s %s %s %s %s", v->loaded.facts.domain, content, contract, view_format(path), view);
	struct job *job = key ? map_gets(f->by_key, key) : NULL;
	struct job **more = !key || job ? NULL : realloc(f->jobs, (f->job_count + 1) * sizeof *more);
	if (more) {
		f->jobs = more;
		job = calloc(1, sizeof *job);
		if (job)
			f->jobs[f->job_count++] = job;
		if (job && (!(job->path = strdup(path)) || !(job->view = strdup(view)) || map_sets(f->by_key, key, job)))
			job = NULL; /* it is freed with the others */
		if (job) {
			job->version = v;
			job->bytes = entry->size;
		}
	}
	free(key);
	return job ? add_place(f, job, v, path) : find_no_memory(f);
}

/* The file itself (without --run), and each view through which a run was served it. */
static int each_file(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e)
{
	struct find *f = arg;
	if (!path) {
		fprintf(stderr, "meshfs: %s was not looked at: %s\n", v->address, v->gone.text);
		return 0;
	}
	if (!path_is_tabular(path) || !row_readable(path)) {
		f->skipped += path_is_tabular(path);
		return 0;
	}
	int r = f->run ? 0 : add_job(f, v, entry, path, "");
	db_bind_text(f->views_of, 1, v->address);
	db_bind_text(f->views_of, 2, path);
	db_bind_text(f->views_of, 3, f->run);
	int row = 0;
	while (!r && (row = db_step(f->views_of, e)) == DB_ROW) {
		const char *view = db_text(f->views_of, 0);
		if (view && (view[0] || f->run))
			r = add_job(f, v, entry, path, view);
	}
	db_reset(f->views_of);
	return r ? r : row < 0 ? row : 0;
}

static int no_run(void *arg, const struct lineage_run_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

static int collect(struct find *f)
{
	int r = f->run ? lineage_runs(f->q.l, f->run, no_run, NULL, f->e) : 0;
	if (!r)
		r = db_prepare(lineage_db(f->q.l),
			       "SELECT DISTINCT d.view FROM versions v JOIN files f ON f.version = v.id JOIN reads x ON x.file = f.id"
			       " JOIN decisions d ON d.id = x.decision JOIN runs r ON r.id = x.run WHERE v.address = ?1 AND f.path = ?2 AND d.outcome = 1"
			       " AND (?3 IS NULL OR r.uuid = ?3 OR r.name = ?3)",
			       &f->views_of, f->e);
	if (!r)
		r = scan_walk(f->q.scan, f->q.address, each_file, f, f->e);
	if (f->views_of)
		db_finalize(f->views_of);
	return r;
}

static int load_texts(struct find *f)
{
	struct db_stmt *s = NULL;
	int r = db_prepare(lineage_db(f->q.l), "SELECT view, text FROM transforms", &s, f->e);
	while (!r && (r = db_step(s, f->e)) == DB_ROW) {
		char *text = strdup(db_text(s, 1));
		r = text && !map_sets(f->texts, db_text(s, 0), text) ? 0 : find_no_memory(f);
		if (r)
			free(text);
	}
	if (s)
		db_finalize(s);
	return r;
}

/* -- looking ------------------------------------------------------------------------------------------- */

static bool counts(void *arg, const char *name)
{
	return map_gets(((struct find *)arg)->names, name) != NULL;
}

static int add_match(struct find *f, uint32_t record, uint64_t row)
{
	if (f->match_count == f->match_room) {
		size_t room = f->match_room ? 2 * f->match_room : 1024;
		struct match *more = realloc(f->matches, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		f->matches = more;
		f->match_room = room;
	}
	f->matches[f->match_count++] = (struct match){ record, f->job, row };
	return 0;
}

static int look_up(struct find *f, const struct row_print *print, uint64_t row)
{
	int r = 0;
	if (!print->high && !print->low)
		return 0;
	for (uint32_t i = f->buckets[print->low & (f->bucket_count - 1)]; !r && i != NONE; i = f->next[i])
		if (f->prints[i].low == print->low && f->prints[i].high == print->high)
			r = add_match(f, i, row);
	return r;
}

static int on_source(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct find *f = arg;
	f->fed = number;
	return broken ? 0 : look_up(f, print, number + f->skipped_rows);
}

static int on_row(void *arg, uint64_t row, const struct row_print *print, bool broken)
{
	return broken ? 0 : look_up(arg, print, row);
}

/* The separator of the file; 0: it cannot be read, or is one of lines of JSON. */
static char find_separator(const struct scan_file *file, struct err *e)
{
	char head[ROW_HEAD_BYTES];
	size_t len = file->entry.size < sizeof head ? (size_t)file->entry.size : sizeof head;
	return len && file->source.read(file->source.arg, 0, head, len, e) ? 0 : row_separator(file->path, file->object, head, len);
}

/* The pieces that hold what is asked for, as an index of one of the places says: that place, or NULL: the file has to be scanned. */
static const struct place *indexed_pieces(struct find *f, const struct job *job, const struct scan_file *file, struct row_piece **ret, size_t *ret_count)
{
	const bool head = view_format(job->path)[0] != 'j';
	for (size_t i = 0; !job->view[0] && i < job->place_count; i++) {
		const struct place *p = &job->places[i];
		if (!row_lookup_pieces(f->lookup, p->scanned, p->file, file->entry.size, head, ret, ret_count))
			return p;
	}
	return NULL;
}

static int feed_pieces(struct find *f, struct row_prints *prints, const struct scan_file *file, const struct row_piece *pieces, size_t count,
		       bool *ret_wrong, struct err *e)
{
	struct buf room = BUF_INIT;
	uint64_t at = 0, rows = 0; /* where the last piece ended */
	int r = 0;
	for (size_t i = 0; !r && !*ret_wrong && i < count; i++) {
		const struct row_piece *p = &pieces[i];
		buf_clear(&room);
		char *to = buf_reserve(&room, p->length);
		r = to ? file->source.read(file->source.arg, p->start, to, p->length, e) : err_set(e, -ENOMEM, "out of memory");
		*ret_wrong = p->first_row <= rows || (p->start == at && p->first_row != rows + 1);
		f->skipped_rows = p->first_row - f->fed - 1;
		if (!r && !*ret_wrong)
			r = row_prints_feed(prints, to, p->length);
		at = p->start + p->length;
		rows = f->fed + f->skipped_rows;
		*ret_wrong |= at < file->entry.size && !row_prints_between(prints);
	}
	buf_free(&room);
	return r;
}

static int look_at_pieces(struct find *f, const struct job *job, const struct scan_file *file, const struct row_piece *pieces, size_t count, bool *ret_wrong,
			  struct err *e)
{
	const bool lines = view_format(job->path)[0] == 'j';
	const char separator = lines ? 0 : find_separator(file, e);
	const struct row_prints_config config = { job->path, separator, row_header(file->object), file->object, counts, on_source, f };
	struct row_prints *prints = NULL;
	f->fed = f->skipped_rows = 0;
	int r = lines || separator ? row_prints_new(&config, &prints) : -EIO;
	if (!r)
		r = feed_pieces(f, prints, file, pieces, count, ret_wrong, e);
	if (!r && !*ret_wrong)
		r = row_prints_end(prints);
	row_prints_free(prints);
	return r;
}

static int look_at_all(struct find *f, const struct job *job, const struct scan_file *file, struct err *e)
{
	struct transform *t = NULL;
	struct view_keys keys;
	const char *text = job->view[0] ? map_gets(f->texts, job->view) : NULL;
	int r = 0;
	scan_keys(f->q.scan, &keys);
	if (job->view[0])
		r = text ? scan_transform(f->q.scan, file, job->view, text, &t, e) : err_set(e, -ENOENT, "what the view did is not on record");
	const struct row_read read = { .source = file->source, .object = file->object, .transform = t, .keys = &keys, .progress = f->progress,
				       .column = counts, .each = on_row, .arg = f };
	if (!r)
		r = row_read(&read, e);
	transform_unref(t);
	return r;
}

/* With an index only what it names is read.  One that misleads is told of and forgotten, and the file is scanned. */
static int look_into(struct find *f, const struct job *job, struct err *e)
{
	struct scan_file file = { 0 };
	struct row_piece *pieces = NULL;
	size_t count = 0, before = f->match_count;
	bool wrong = false;
	int r = scan_file_open(f->q.scan, job->version, job->path, &file, e);
	if (r)
		return r;
	const struct place *indexed = indexed_pieces(f, job, &file, &pieces, &count);
	if (indexed && count)
		r = look_at_pieces(f, job, &file, pieces, count, &wrong, e);
	free(pieces);
	if (wrong) {
		row_lookup_distrust(f->lookup, indexed->scanned, "its pieces are not the file's");
		f->match_count = before;
		err_clear(e);
		indexed = NULL;
	}
	if (indexed)
		progress_add(f->progress, file.entry.size);
	else
		r = look_at_all(f, job, &file, e);
	if (r && e && !e->code)
		err_set(e, r, "its records cannot be read: %s", strerror(-r));
	scan_file_close(&file);
	return r;
}

static int look(struct find *f, bool quiet)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < f->job_count; i++)
		bytes += f->jobs[i]->bytes;
	f->progress = progress_start("looking for records", "B", bytes, quiet);
	int r = 0;
	for (size_t i = 0; !r && i < f->job_count; i++) {
		struct err why = ERR_INIT;
		f->job = (uint32_t)i;
		r = look_into(f, f->jobs[i], &why);
		if (r && r != -ENOMEM) { /* one file that cannot be looked at hides no other */
			fprintf(stderr, "meshfs: %s was not looked at: %s\n", f->jobs[i]->places[0].address, why.text);
			r = 0;
		}
	}
	progress_end(f->progress);
	return r ? find_no_memory(f) : 0;
}

static void find_fini(struct find *f)
{
	for (size_t i = 0; i < f->job_count; i++) {
		struct job *job = f->jobs[i];
		for (size_t p = 0; p < job->place_count; p++) {
			free(job->places[p].address);
			free(job->places[p].product);
			free(job->places[p].version);
			free(job->places[p].file);
		}
		free(job->places);
		free(job->path);
		free(job->view);
		free(job);
	}
	free(f->jobs);
	struct map *maps[] = { f->by_key, f->names, f->others };
	for (size_t i = 0; i < 3; i++)
		if (maps[i])
			map_free(maps[i], NULL);
	if (f->texts)
		map_free(f->texts, free);
	row_lookup_free(f->lookup);
	free(f->prints);
	free(f->next);
	free(f->buckets);
	free(f->matches);
	lineage_question_close(&f->q);
}

int lineage_verb_find(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct find f = { .e = e };
	const char *within = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "--in", 0, OPTION_TEXT, "ADDRESS", "look only there: a domain, product, version, folder or file", &within },
		{ "--run", 0, OPTION_TEXT, "R", "look only at what this run was served, as it was served", &f.run },
		{ "--column", 0, OPTION_LIST, "NAME", "compare only this column (may be repeated); default: all that the file has", &f.columns },
		{ "--summary", 0, OPTION_FLAG, NULL, "only how many records came from which version", &f.summary },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: a record and one of its sources, or a version", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage find FILE [--in ADDRESS] [--run R] [--column NAME] [--summary]",
			      "Which product, version, file and row each record of a file of records (CSV, JSONL, Parquet …) came from.\n"
			      "Records are compared by their values, with the masks of the views through which files were served.",
			      specs, 5, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "lineage find", "lineage find: wants one file");
	f.by_key = map_new();
	f.names = map_new();
	f.others = map_new();
	f.texts = map_new();
	r = f.by_key && f.names && f.others && f.texts ? find_ask_about(&f, argv[0]) : find_no_memory(&f);
	if (!r)
		r = lineage_question_open(inv, within, false, &f.q, e);
	if (!r)
		r = load_texts(&f);
	if (!r)
		r = collect(&f);
	if (!r && !(f.lookup = row_lookup_new(f.prints, f.count, counts, &f)))
		r = find_no_memory(&f);
	if (!r)
		r = look(&f, inv->quiet);
	if (!r)
		r = find_answer(&f, json, inv->quiet);
	find_fini(&f);
	return r;
}
