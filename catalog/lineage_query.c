#include "catalog/lineage_query.h"

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_such_run[] = "%s: no such run; 'meshfs lineage runs' lists them";

#define SELECT_RUNS \
	"SELECT id, uuid, name, purpose, user, command, parent, git_commit, params, groups, host, mount, started_ns, coalesce(ended_ns, 0)," \
	" coalesce(exit_status, -1), (SELECT coalesce(sum(opens), 0) FROM inputs WHERE inputs.run = runs.id) FROM runs"

int lineage_runs(struct lineage *l, const char *run, int (*each)(void *arg, const struct lineage_run_row *row), void *arg, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(l), run ? SELECT_RUNS " WHERE uuid = ?1 OR name = ?1 ORDER BY started_ns, id" : SELECT_RUNS " ORDER BY started_ns, id", &s, e);
	if (r)
		return r;
	int64_t found = 0;
	if (run)
		db_bind_text(s, 1, run);
	while ((r = db_step(s, e)) == DB_ROW) {
		struct lineage_run_row row = {
			.row = db_int(s, 0), .id = db_text(s, 1), .name = db_text(s, 2), .purpose = db_text(s, 3), .user = db_text(s, 4),
			.command = db_text(s, 5), .parent = db_text(s, 6), .git_commit = db_text(s, 7), .params = db_text(s, 8),
			.groups = db_text(s, 9), .host = db_text(s, 10), .mount = db_text(s, 11), .started_ns = db_int(s, 12), .ended_ns = db_int(s, 13),
			.exit_status = (int)db_int(s, 14), .reads = db_int(s, 15),
		};
		found++;
		r = each(arg, &row);
		if (r)
			break;
	}
	db_finalize(s);
	if (!r && run && !found)
		r = err_set(e, -ENOENT, no_such_run, run);
	return r;
}

/* -- reads ----------------------------------------------------------------------------------- */

/* What a row must match: which version addresses (a range of texts), and which paths. */
struct range {
	char *version;     /* exactly this, or NULL */
	char *below;       /* every version below this prefix, with its slash; or NULL */
	const char *path;  /* this file or folder; "" for all */
};

static int range_of(const char *address, struct range *ret, struct err *e)
{
	struct address a;
	int r = address_parse(address, &a, e);
	if (r)
		return r;
	struct buf b = BUF_INIT;
	buf_addf(&b, "%s/", a.domain);
	if (a.product[0])
		buf_addf(&b, "%s/", a.product);
	if (a.version[0])
		buf_adds(&b, a.version);
	r = buf_check(&b);
	if (r) {
		buf_free(&b);
		return err_set(e, r, "no memory for an address");
	}
	*(a.version[0] ? &ret->version : &ret->below) = buf_take(&b);
	ret->path = a.path;
	return 0;
}

static void add_conditions(const struct lineage_filter *f, const struct range *range, struct buf *sql)
{
	if (f->run)
		buf_adds(sql, " AND x.run IN (SELECT id FROM runs WHERE uuid = ?1 OR name = ?1)");
	if (range->version)
		buf_adds(sql, " AND v.address = ?2");
	else if (range->below)
		buf_adds(sql, " AND v.address > ?2 AND v.address < substr(?2, 1, length(?2) - 1) || '0'");
	if (range->path && range->path[0])
		buf_adds(sql, " AND (f.path = ?3 OR (f.path > ?3 || '/' AND f.path < ?3 || '0'))");
	if (f->outcome)
		buf_adds(sql, f->outcome == LINEAGE_DENIED ? " AND x.decision < 0" : " AND x.decision > 0");
}

/*
 * The tables in the order in which they are walked: SQLite has no statistics to choose it by.  Whatever comes first, the days of one file in one run come one
 * after the other, so that each_file can add them up as they pass.
 */
static const char *order_of(const struct lineage_filter *f, const struct range *range)
{
	bool files = range->path && range->path[0], by_run = f->run && !files;
	if (by_run)
		return "runs r CROSS JOIN reads x ON x.run = r.id CROSS JOIN files f ON f.id = x.file CROSS JOIN versions v ON v.id = f.version";
	if (f->outcome == LINEAGE_DENIED && !files)
		return "reads x CROSS JOIN runs r ON r.id = x.run CROSS JOIN files f ON f.id = x.file CROSS JOIN versions v ON v.id = f.version";
	if (range->version || range->below)
		return "versions v CROSS JOIN files f ON f.version = v.id CROSS JOIN reads x ON x.file = f.id CROSS JOIN runs r ON r.id = x.run";
	return "reads x CROSS JOIN runs r ON r.id = x.run CROSS JOIN files f ON f.id = x.file CROSS JOIN versions v ON v.id = f.version";
}

static int prepare_reads(struct lineage *l, const struct lineage_filter *f, const struct range *range, struct db_stmt **ret, struct err *e)
{
	struct buf sql = BUF_INIT;
	buf_addf(&sql,
		 "SELECT r.name, r.uuid, r.purpose, r.user, p.pid, p.exe, p.command, v.address, v.product, v.version, f.path, d.view, d.policy, d.rules,"
		 " CASE d.outcome WHEN 1 THEN 'served' ELSE 'denied' END, x.opens, x.bytes, x.first_ns, x.last_ns, x.run, x.file, x.decision"
		 " FROM %s CROSS JOIN decisions d ON d.id = x.decision LEFT JOIN processes p ON p.id = x.process WHERE 1",
		 order_of(f, range));
	add_conditions(f, range, &sql);
	int r = buf_check(&sql);
	if (r)
		err_set(e, r, "no memory for a query");
	else
		r = db_prepare(lineage_db(l), buf_text(&sql), ret, e);
	buf_free(&sql);
	if (r)
		return r;
	if (f->run)
		db_bind_text(*ret, 1, f->run);
	if (range->version || range->below)
		db_bind_text(*ret, 2, range->version ? range->version : range->below);
	if (range->path && range->path[0])
		db_bind_text(*ret, 3, range->path);
	return 0;
}

/* One file of one run under one decision: its days so far. */
struct folded {
	int64_t run, file, decision;
	struct lineage_read_row row;
	struct buf texts; /* what the row points to */
};

#define TEXTS 15 /* columns of the query; the one numbered PID is none */
#define PID 4

static int keep_row(struct db_stmt *s, struct folded *f)
{
	const char *t[TEXTS];
	size_t offsets[TEXTS];
	buf_clear(&f->texts);
	for (int i = 0; i < TEXTS; i++) {
		t[i] = i == PID ? NULL : db_text(s, i);
		offsets[i] = f->texts.len;
		if (t[i])
			buf_add(&f->texts, t[i], strlen(t[i]) + 1);
	}
	if (buf_check(&f->texts))
		return -ENOMEM;
	for (int i = 0; i < TEXTS; i++)
		t[i] = t[i] ? f->texts.data + offsets[i] : NULL;
	f->row = (struct lineage_read_row){
		.run = t[0], .run_id = t[1], .purpose = t[2], .user = t[3], .pid = db_int(s, PID), .exe = t[5], .command = t[6],
		.version_address = t[7], .product = t[8], .version = t[9], .file = t[10], .view = t[11], .policy = t[12],
		.rules = t[13], .outcome = t[14], .opens = db_int(s, 15), .bytes = db_int(s, 16), .first_ns = db_int(s, 17), .last_ns = db_int(s, 18),
	};
	f->run = db_int(s, 19);
	f->file = db_int(s, 20);
	f->decision = db_int(s, 21);
	return 0;
}

/* Another day of the same row is added to it; false: it is another row. */
static bool add_day(struct db_stmt *s, struct folded *f)
{
	if (f->run != db_int(s, 19) || f->file != db_int(s, 20) || f->decision != db_int(s, 21))
		return false;
	int64_t first_ns = db_int(s, 17), last_ns = db_int(s, 18);
	f->row.opens += db_int(s, 15);
	f->row.bytes += db_int(s, 16);
	f->row.first_ns = first_ns < f->row.first_ns ? first_ns : f->row.first_ns;
	f->row.last_ns = last_ns > f->row.last_ns ? last_ns : f->row.last_ns;
	return true;
}

static int each_file(struct db_stmt *s, int (*each)(void *arg, const struct lineage_read_row *row), void *arg, struct err *e)
{
	struct folded f = { .texts = BUF_INIT };
	bool any = false;
	int r;
	while ((r = db_step(s, e)) == DB_ROW) {
		if (any && add_day(s, &f))
			continue;
		r = any ? each(arg, &f.row) : 0;
		if (!r && (r = keep_row(s, &f)))
			err_set(e, r, "no memory for a row");
		if (r)
			break;
		any = true;
	}
	if (!r && any)
		r = each(arg, &f.row);
	buf_free(&f.texts);
	return r;
}

static int nothing(void *arg, const struct lineage_run_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

int lineage_reads(struct lineage *l, const struct lineage_filter *filter, int (*each)(void *arg, const struct lineage_read_row *row),
		  void *arg, struct err *e)
{
	struct range range = { NULL, NULL, NULL };
	struct db_stmt *s = NULL;
	int r = filter->run ? lineage_runs(l, filter->run, nothing, NULL, e) : 0;
	if (!r && filter->address)
		r = range_of(filter->address, &range, e);
	if (!r)
		r = prepare_reads(l, filter, &range, &s, e);
	if (!r)
		r = each_file(s, each, arg, e);
	if (s)
		db_finalize(s);
	free(range.version);
	free(range.below);
	return r;
}

/* -- selectors ------------------------------------------------------------------------------- */

static int newest_match(struct lineage *l, const struct address *a, const struct version_selector *want, char ret[VERSION_SIZE], struct err *e)
{
	struct db_stmt *s;
	struct semver best, v;
	bool found = false;
	char product[2 * NAME_SIZE];
	snprintf(product, sizeof product, "%s/%s", a->domain, a->product);
	int r = db_prepare(lineage_db(l), "SELECT v.version FROM versions v LEFT JOIN publications p ON p.version = v.id"
					  " WHERE v.product = ? AND coalesce(p.withdrawn, 0) = 0",
			   &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, product);
	while ((r = db_step(s, e)) == DB_ROW) {
		const char *text = db_text(s, 0);
		if (!text || semver_parse(text, &v) || !version_selector_matches(want, &v) || (found && semver_compare(&v, &best) < 0))
			continue;
		best = v;
		found = true;
	}
	db_finalize(s);
	if (!r && !found)
		r = err_set(e, -ENOENT, "%s: no version of it matches '%s'; 'meshfs ls %s' lists them", product, a->version, product);
	if (!r)
		semver_format(&best, ret);
	return r;
}

int lineage_resolve(struct lineage *l, const char *what, char **ret, struct err *e)
{
	struct address a;
	struct version_selector want;
	char version[VERSION_SIZE];
	if (address_parse(what, &a, NULL) || !a.version[0] || version_selector_parse(a.version, &want) || want.parts == 3) {
		*ret = strdup(what);
	} else {
		int r = newest_match(l, &a, &want, version, e);
		if (r)
			return r;
		*ret = text_format("%s/%s/%s%s%s", a.domain, a.product, version, a.path[0] ? "/" : "", a.path);
	}
	return *ret ? 0 : err_set(e, -ENOMEM, "no memory for an address");
}

int lineage_is_known(struct lineage *l, const char *address, bool *ret, struct err *e)
{
	struct range range = { NULL, NULL, NULL };
	const struct lineage_filter all = { 0 };
	struct buf sql = BUF_INIT;
	struct db_stmt *s = NULL;
	int r = range_of(address, &range, e);
	if (r)
		return r;
	buf_adds(&sql, range.path[0] ? "SELECT 1 FROM versions v JOIN files f ON f.version = v.id WHERE 1" : "SELECT 1 FROM versions v WHERE 1");
	add_conditions(&all, &range, &sql);
	buf_adds(&sql, " LIMIT 1");
	r = buf_check(&sql) ? err_set(e, -ENOMEM, "no memory for a query") : db_prepare(lineage_db(l), buf_text(&sql), &s, e);
	if (!r) {
		db_bind_text(s, 2, range.version ? range.version : range.below);
		if (range.path[0])
			db_bind_text(s, 3, range.path);
		r = db_step(s, e);
		*ret = r == DB_ROW;
	}
	db_finalize(s);
	buf_free(&sql);
	free(range.version);
	free(range.below);
	return r < 0 ? r : 0;
}
