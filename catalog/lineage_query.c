#include "catalog/lineage_query.h"

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_such_run[] = "%s: no such run; 'meshfs lineage runs' lists them";

int lineage_runs(struct lineage *l, const char *run, int (*each)(void *arg, const struct lineage_run_row *row), void *arg, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(l),
			   "SELECT id, uuid, name, purpose, user, command, parent, git_commit, params, host, mount, started_ns, coalesce(ended_ns, 0),"
			   " coalesce(exit_status, -1), (SELECT coalesce(sum(opens), 0) FROM inputs WHERE inputs.run = runs.id) FROM runs"
			   " WHERE ?1 IS NULL OR uuid = ?1 OR name = ?1 ORDER BY started_ns, id",
			   &s, e);
	if (r)
		return r;
	int64_t found = 0;
	db_bind_text(s, 1, run);
	while ((r = db_step(s, e)) == DB_ROW) {
		struct lineage_run_row row = {
			.row = db_int(s, 0), .id = db_text(s, 1), .name = db_text(s, 2), .purpose = db_text(s, 3), .user = db_text(s, 4),
			.command = db_text(s, 5), .parent = db_text(s, 6), .git_commit = db_text(s, 7), .params = db_text(s, 8),
			.host = db_text(s, 9), .mount = db_text(s, 10), .started_ns = db_int(s, 11), .ended_ns = db_int(s, 12),
			.exit_status = (int)db_int(s, 13), .reads = db_int(s, 14),
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

/* A run that lasted more than a day has several rows for one file. */
static int has_parts(struct lineage *l, bool *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(l), "SELECT EXISTS(SELECT 1 FROM runs WHERE sealed_parts > 0 OR coalesce(ended_ns, ?1) - started_ns >= ?2)",
			   &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, clock_now_ns());
	db_bind_int(s, 2, LINEAGE_PART_NS);
	r = db_step(s, e);
	*ret = r == DB_ROW && db_int(s, 0);
	db_finalize(s);
	return r < 0 ? r : 0;
}

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
		buf_addf(sql, " AND d.outcome = %d", f->outcome);
}

static int prepare_reads(struct lineage *l, const struct lineage_filter *f, const struct range *range, struct db_stmt **ret, struct err *e)
{
	bool parts = false;
	int r = has_parts(l, &parts, e);
	if (r)
		return r;
	struct buf sql = BUF_INIT;
	buf_adds(&sql, "SELECT r.name, r.uuid, r.purpose, r.user, p.pid, p.exe, p.command, v.address, v.product, v.version, f.path, d.view, d.policy,"
		       " d.rules, CASE d.outcome WHEN 1 THEN 'served' ELSE 'denied' END, ");
	buf_adds(&sql, parts ? "sum(x.opens), sum(x.bytes), min(x.first_ns), max(x.last_ns)" : "x.opens, x.bytes, x.first_ns, x.last_ns");
	buf_adds(&sql, " FROM reads x JOIN runs r ON r.id = x.run JOIN files f ON f.id = x.file JOIN versions v ON v.id = f.version"
		       " JOIN decisions d ON d.id = x.decision LEFT JOIN processes p ON p.id = x.process WHERE 1");
	add_conditions(f, range, &sql);
	if (parts)
		buf_adds(&sql, " GROUP BY x.run, x.file, x.decision");
	r = buf_check(&sql);
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
	while (!r && (r = db_step(s, e)) == DB_ROW) {
		struct lineage_read_row row = {
			.run = db_text(s, 0), .run_id = db_text(s, 1), .purpose = db_text(s, 2), .user = db_text(s, 3), .pid = db_int(s, 4),
			.exe = db_text(s, 5), .command = db_text(s, 6), .version_address = db_text(s, 7), .product = db_text(s, 8),
			.version = db_text(s, 9), .file = db_text(s, 10), .view = db_text(s, 11), .policy = db_text(s, 12),
			.rules = db_text(s, 13), .outcome = db_text(s, 14), .opens = db_int(s, 15), .bytes = db_int(s, 16),
			.first_ns = db_int(s, 17), .last_ns = db_int(s, 18),
		};
		r = each(arg, &row);
	}
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
		r = err_set(e, -ENOENT, "%s: no version of it matches '%s'", product, a->version);
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
