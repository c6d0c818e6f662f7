#include "fs/where.h"

#include "catalog/base/map.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"
#include "fs/row_read.h"
#include "fs/scan.h"
#include "policy/attribute.h"
#include "policy/condition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ask {
	struct lineage *l;
	struct scan *scan;
	const struct expr *where;
	struct map *counted; /* content and view → struct counted */
	struct map *views;   /* hash → text, owned */
	struct progress *progress;
	struct where_answer answer;
	uint64_t looked_at;   /* files that have the columns */
	struct err no_column; /* of the first that has not; code 0: all have */
	struct err *e;
};

struct counted {
	int64_t rows;
	char *masks;
	struct err why; /* code 0: counted */
	bool no_column; /* that is why */
};

static void free_counted(void *arg)
{
	struct counted *c = arg;
	free(c->masks);
	free(c);
}

static void free_hit(struct where_hit *h)
{
	char *texts[] = { h->run, h->run_id, h->user, h->purpose, h->version, h->file, h->view, h->masks, h->policy, h->rules };
	for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
		free(texts[k]);
}

void where_answer_free(struct where_answer *a)
{
	for (size_t i = 0; i < a->hit_count; i++)
		free_hit(&a->hits[i]);
	for (size_t i = 0; i < a->gone_count; i++) {
		free(a->gone[i].address);
		free(a->gone[i].why);
		free(a->gone[i].version);
	}
	for (size_t i = 0; i < a->source_count; i++) {
		free(a->sources[i].version);
		free(a->sources[i].file);
	}
	free(a->hits);
	free(a->gone);
	free(a->sources);
	*a = (struct where_answer){ 0 };
}

static int no_memory(struct ask *q)
{
	return err_set(q->e, -ENOMEM, "out of memory");
}

/* -- counting ---------------------------------------------------------------------------------- */

/* The view's filter and the question, as one transform that keeps every column as it is. */
static int combine(struct ask *q, const struct scan_file *f, const struct transform *view, struct transform **ret, struct err *e)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	struct expr *asked = NULL, *both = NULL;
	int r = condition_bind(q->where, f->object, &asked, e);
	if (r)
		return r;
	struct expr *list[] = { asked, view ? view->filter : NULL };
	both = expr_and(list, view && view->filter ? 2 : 1);
	*ret = both ? transform_new(NULL, 0, &keep, both, f->version->loaded.facts.contract, f->object) : NULL;
	expr_free(asked);
	expr_free(both);
	return *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

struct names {
	struct map *seen;
	const char **list; /* keys of `seen`'s */
	size_t count;
};

static int keep_name(void *arg, const char *name)
{
	struct names *n = arg;
	if (map_gets(n->seen, name))
		return 0;
	const char **more = n->count & (n->count - 1) ? n->list : realloc(n->list, 2 * (n->count + 1) * sizeof *more);
	char *copy = more ? strdup(name) : NULL;
	if (more)
		n->list = more;
	if (!copy || map_sets(n->seen, name, copy)) {
		free(copy);
		return -ENOMEM;
	}
	n->list[n->count++] = copy;
	return 0;
}

/* The columns of the file and of the contract's object that claims it. */
static int read_names(const struct scan_file *f, struct names *ret, struct err *e)
{
	int r = ret->seen ? row_columns(&f->source, f->object, keep_name, ret, e) : -ENOMEM;
	for (size_t i = 0; !r && f->object && i < f->object->column_count; i++)
		r = keep_name(ret, f->object->columns[i].name);
	return r;
}

/* No row found, or no look possible: is that because a column was misspelt?  What neither the contract nor the file's first records name is told of. */
static int check_columns(struct ask *q, const struct scan_file *f, bool *ret_absent, struct err *e)
{
	const struct expr_column *columns;
	size_t count = expr_columns(q->where, &columns);
	struct names names = { .seen = map_new() };
	int r = read_names(f, &names, e);
	for (size_t i = 0; !r && i < count; i++) {
		if (map_gets(names.seen, columns[i].name))
			continue;
		const char *near = text_nearest(columns[i].name, names.list, names.count);
		*ret_absent = true;
		r = near ? err_set(e, -ENOENT, "it has no column %s (did you mean '%s'?)", columns[i].name, near)
			 : err_set(e, -ENOENT, "it has no column %s", columns[i].name);
	}
	if (names.seen)
		map_free(names.seen, free);
	free(names.list);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* A wrong question is the asker's to mend; anything else is one file that could not be looked at. */
static bool is_question(const struct err *why)
{
	return why->code == -EINVAL || why->code == -ENOMEM || why->code == -EINTR;
}

static int count_file(struct ask *q, const struct scan_file *f, const char *view, struct counted *ret, struct err *e)
{
	struct transform *recorded = NULL, *t = NULL;
	const char *text = view[0] ? map_gets(q->views, view) : NULL;
	int r = 0;
	if (view[0])
		r = text ? scan_transform(q->scan, f, view, text, &recorded, e)
			 : err_set(e, -ENOENT, "what the view %.12s did is not on record", view);
	if (!r && recorded) {
		struct buf b = BUF_INIT;
		transform_summary(recorded, &b);
		ret->masks = buf_take(&b);
	}
	if (!r)
		r = combine(q, f, recorded, &t, e);
	if (!r)
		r = scan_count(q->scan, f, t, q->progress, &ret->rows, e);
	if (r ? !is_question(e) : !ret->rows) {
		struct err why = ERR_INIT;
		int wrong = check_columns(q, f, &ret->no_column, &why);
		if (wrong && (!r || ret->no_column)) {
			err_clear(e);
			r = err_move(e, &why);
		}
	}
	transform_unref(t);
	transform_unref(recorded);
	return r;
}

/* What is the same for equal content is looked at once: the content, the columns' types, the view. */
static char *memo_key(const struct scan_file *f, const char *view)
{
	char content[SHA256_HEX_SIZE], contract[SHA256_HEX_SIZE];
	hex_format(f->entry.content.bytes, SHA256_SIZE, content);
	hex_format(f->version->loaded.info.contract.bytes, SHA256_SIZE, contract);
	return text_format("%s %s %s %s %s %s", f->version->loaded.facts.domain, content, contract, f->object ? f->object->name : "", view_format(f->path), view);
}

static int counted_of(struct ask *q, struct scan_version *v, const char *path, const char *view, const struct counted **ret)
{
	struct scan_file f = { 0 };
	struct counted *c = calloc(1, sizeof *c), *old;
	if (!c)
		return no_memory(q);
	int r = scan_file_open(q->scan, v, path, &f, &c->why);
	char *key = r ? text_format("%s %s %s", v->address, path, view) : memo_key(&f, view);
	if (key && (old = map_gets(q->counted, key))) {
		free_counted(c);
		c = old;
	} else if (!key || map_sets(q->counted, key, c)) {
		free_counted(c);
		c = NULL;
	} else if (!r) {
		count_file(q, &f, view, c, &c->why);
	}
	free(key);
	scan_file_close(&f);
	if (!c)
		return no_memory(q);
	*ret = c;
	q->looked_at += !c->why.code;
	if (c->no_column && !q->no_column.code)
		q->no_column = c->why;
	return c->why.code && is_question(&c->why) ? err_move(q->e, &c->why) : 0;
}

/* -- what is on record ------------------------------------------------------------------------------ */

/* Takes over the texts. */
static int append_gone(struct ask *q, char *name, char *why, char *version, bool has_version)
{
	struct where_answer *a = &q->answer;
	struct where_gone *more = name && why && (version || !has_version) ? realloc(a->gone, (a->gone_count + 1) * sizeof *more) : NULL;
	if (!more) {
		free(name);
		free(why);
		free(version);
		return no_memory(q);
	}
	a->gone = more;
	more[a->gone_count++] = (struct where_gone){ name, why, 1, version, false };
	return 0;
}

static int add_gone(struct ask *q, const char *address, const char *file, const char *why)
{
	struct where_answer *a = &q->answer;
	char *name = file ? text_format("%s/%s", address, file) : strdup(address);
	for (size_t i = 0; name && i < a->gone_count; i++) {
		if (!strcmp(a->gone[i].address, name)) {
			a->gone[i].runs++;
			free(name);
			return 0;
		}
	}
	return append_gone(q, name, strdup(why), NULL, false);
}

/* Told once a version: a product may hold many files of other columns. */
static int add_no_column(struct ask *q, const char *address, const char *file, const char *why)
{
	struct where_answer *a = &q->answer;
	char *name = text_format("%s/%s", address, file);
	for (size_t i = 0; name && i < a->gone_count; i++) {
		if (a->gone[i].version && !strcmp(a->gone[i].version, address)) {
			a->gone[i].more |= strcmp(a->gone[i].address, name) != 0;
			free(name);
			return 0;
		}
	}
	return append_gone(q, name, strdup(why), strdup(address), true);
}

static int add_uncounted(struct ask *q, const char *address, const char *file, const struct counted *c)
{
	return c->no_column ? add_no_column(q, address, file, c->why.text) : add_gone(q, address, file, c->why.text);
}

struct rows { /* reads, copied out of the database */
	struct ask *q;
	struct where_hit *list;
	size_t count, room;
};

static char *copy(const char *text, bool *failed)
{
	char *c = text ? strdup(text) : NULL;
	*failed |= text && !c;
	return c;
}

static int keep_row(void *arg, const struct lineage_read_row *row)
{
	struct rows *rows = arg;
	bool failed = false;
	if (!path_is_tabular(row->file))
		return 0; /* no rows */
	if (rows->count == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 64;
		struct where_hit *more = realloc(rows->list, room * sizeof *more);
		if (!more)
			return no_memory(rows->q);
		rows->list = more;
		rows->room = room;
	}
	rows->list[rows->count++] = (struct where_hit){
		.run = copy(row->run, &failed), .run_id = copy(row->run_id, &failed), .user = copy(row->user, &failed),
		.purpose = copy(row->purpose, &failed), .version = copy(row->version_address, &failed), .file = copy(row->file, &failed),
		.view = copy(row->view, &failed), .policy = copy(row->policy, &failed), .rules = copy(row->rules, &failed),
		.opens = row->opens, .first_ns = row->first_ns, .last_ns = row->last_ns,
	};
	return failed ? no_memory(rows->q) : 0;
}

static uint64_t bytes_of(struct ask *q, const struct rows *rows)
{
	uint64_t total = 0;
	for (size_t i = 0; i < rows->count; i++) {
		struct scan_version *v;
		struct manifest_entry entry;
		if (!scan_version(q->scan, rows->list[i].version, &v, NULL) && v->manifest && !manifest_resolve(v->manifest, rows->list[i].file, &entry))
			total += entry.size;
	}
	return total;
}

static int ask_row(struct ask *q, struct where_hit *hit)
{
	struct scan_version *v;
	const struct counted *c;
	int r = scan_version(q->scan, hit->version, &v, q->e);
	if (r)
		return r;
	if (!v->manifest)
		return add_gone(q, hit->version, NULL, v->gone.text);
	r = counted_of(q, v, hit->file, hit->view, &c);
	if (r)
		return r;
	if (c->why.code)
		return add_uncounted(q, hit->version, hit->file, c);
	if (!c->rows)
		return 0;
	struct where_hit *more = realloc(q->answer.hits, (q->answer.hit_count + 1) * sizeof *more);
	if (!more)
		return no_memory(q);
	q->answer.hits = more;
	hit->rows = c->rows;
	hit->withdrawn = v->loaded.info.status == VERSION_WITHDRAWN;
	hit->masks = c->masks ? strdup(c->masks) : NULL;
	more[q->answer.hit_count++] = *hit;
	*hit = (struct where_hit){ 0 }; /* the answer owns its texts now */
	return 0;
}

/* Of a pruned run only the versions are known. */
static int ask_pruned(struct ask *q, const char *address, const char *run)
{
	struct db_stmt *s;
	size_t n = strlen(address);
	int r = db_prepare(lineage_db(q->l),
			   "SELECT v.address, r.name FROM inputs i JOIN runs r ON r.id = i.run JOIN versions v ON v.id = i.version"
			   " JOIN decisions d ON d.id = i.decision WHERE r.pruned_ns IS NOT NULL AND d.outcome = 1 AND (?1 IS NULL OR r.name = ?1 OR r.uuid = ?1)"
			   " GROUP BY v.id, r.id",
			   &s, q->e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	while (!r && (r = db_step(s, q->e)) == DB_ROW) {
		const char *version = db_text(s, 0);
		size_t m = strlen(version);
		size_t both = n < m ? n : m;
		bool covered = !strncmp(version, address, both) && (!version[both] || version[both] == '/') && (!address[both] || address[both] == '/');
		char *why = covered ? text_format("the reads of run %s were pruned; it was served files of this version", db_text(s, 1)) : NULL;
		char *what = covered ? text_format("%s (run %s)", version, db_text(s, 1)) : NULL;
		r = !covered ? 0 : why && what ? add_gone(q, what, NULL, why) : no_memory(q);
		free(why);
		free(what);
	}
	db_finalize(s);
	return r;
}

static int ask_reads(struct ask *q, const char *address, const char *run, bool quiet)
{
	struct rows rows = { .q = q };
	struct lineage_filter filter = { .run = run, .address = address, .outcome = LINEAGE_SERVED };
	int r = lineage_reads(q->l, &filter, keep_row, &rows, q->e);
	if (!r)
		q->progress = progress_start("looking at rows", "B", bytes_of(q, &rows), quiet);
	for (size_t i = 0; !r && i < rows.count; i++)
		r = ask_row(q, &rows.list[i]);
	progress_end(q->progress);
	q->progress = NULL;
	for (size_t i = 0; i < rows.count; i++)
		free_hit(&rows.list[i]); /* what the answer did not take */
	free(rows.list);
	return r;
}

/* -- what the catalog holds --------------------------------------------------------------------------- */

static int add_source(struct ask *q, const struct scan_version *v, const char *path, int64_t count)
{
	struct where_answer *a = &q->answer;
	struct where_source *more = realloc(a->sources, (a->source_count + 1) * sizeof *more);
	if (!more)
		return no_memory(q);
	a->sources = more;
	struct where_source *s = &more[a->source_count];
	*s = (struct where_source){ strdup(v->address), strdup(path), count, v->loaded.info.status == VERSION_WITHDRAWN };
	if (s->version && s->file) {
		a->source_count++;
		return 0;
	}
	free(s->version);
	free(s->file);
	return no_memory(q);
}

static int measure_file(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e)
{
	(void)v;
	(void)e;
	if (path && path_is_tabular(path))
		*(uint64_t *)arg += entry->size;
	return 0;
}

static int ask_file(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e)
{
	struct ask *q = arg;
	const struct counted *c;
	(void)entry;
	(void)e;
	if (!path)
		return add_gone(q, v->address, NULL, v->gone.text);
	if (!path_is_tabular(path))
		return 0;
	int r = counted_of(q, v, path, "", &c);
	if (r)
		return r;
	if (c->why.code)
		return add_uncounted(q, v->address, path, c);
	return c->rows ? add_source(q, v, path, c->rows) : 0;
}

static int ask_sources(struct ask *q, const char *address, bool quiet)
{
	uint64_t bytes = 0;
	int r = scan_walk(q->scan, address, measure_file, &bytes, q->e);
	if (!r)
		q->progress = progress_start("looking at versions", "B", bytes, quiet);
	if (!r)
		r = scan_walk(q->scan, address, ask_file, q, q->e);
	progress_end(q->progress);
	q->progress = NULL;
	return r;
}

static int load_views(struct ask *q)
{
	struct db_stmt *s = NULL;
	int r = db_prepare(lineage_db(q->l), "SELECT view, text FROM transforms", &s, q->e);
	while (!r && (r = db_step(s, q->e)) == DB_ROW) {
		char *text = strdup(db_text(s, 1));
		r = text && !map_sets(q->views, db_text(s, 0), text) ? 0 : no_memory(q);
		if (r)
			free(text);
	}
	if (s)
		db_finalize(s);
	return r;
}

int where_ask(struct lineage *l, struct scan *s, const char *address, const char *run, const struct expr *where, bool sources, bool quiet,
	      struct where_answer *ret, struct err *e)
{
	struct err why = ERR_INIT;
	struct ask q = { .l = l, .scan = s, .where = where, .counted = map_new(), .views = map_new(), .e = &why };
	int r = q.counted && q.views ? load_views(&q) : no_memory(&q);
	if (!r)
		r = ask_reads(&q, address, run, quiet);
	if (!r)
		r = ask_pruned(&q, address, run);
	if (!r && sources)
		r = ask_sources(&q, address, quiet);
	if (!r && q.no_column.code && !q.looked_at)
		r = err_set_kind(&why, ERR_PARSE, -EINVAL, "--where: no file that could be looked at has such a column: %s", q.no_column.text);
	if (q.counted)
		map_free(q.counted, free_counted);
	if (q.views)
		map_free(q.views, free);
	if (r) {
		where_answer_free(&q.answer);
		return err_move(e, &why);
	}
	q.answer.looked_at = q.looked_at;
	*ret = q.answer;
	return 0;
}
