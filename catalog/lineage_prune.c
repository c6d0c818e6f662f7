/* Retention: reads are deleted by the day once they are old enough, and a seal says so. */
#include "catalog/lineage.h"

#include "catalog/db.h"
#include "catalog/lineage_seal.h"

#include <errno.h>
#include <stdio.h>

struct pruning {
	struct lineage *l;
	struct lineage_prune *how;
};

struct old_run {
	int64_t id, parts; /* its days with lower numbers are old: all of an ended run, of another those that are over and sealed */
	char uuid[LINEAGE_RUN_SIZE];
};

static int delete_of_run(struct pruning *p, const char *sql, const struct old_run *run, int64_t number, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(p->l), sql, &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, run->id);
	db_bind_int(s, 2, number);
	return db_run(s, e);
}

static int prune_part(struct pruning *p, const struct old_run *run, int64_t part, struct err *e)
{
	struct err why = ERR_INIT;
	int r = lineage_seal_pruned(p->l, run->uuid, part, p->how->now_ns, &why);
	if (r == -EBADMSG) { /* it stays: whoever asks 'lineage verify' wants to see it */
		p->how->changed++;
		return 0;
	}
	if (r)
		return err_move(e, &why);
	/* the later days through the index that holds only them */
	r = part ? delete_of_run(p, "DELETE FROM reads WHERE run = ?1 AND part > 0 AND part = ?2", run, part, e)
		 : delete_of_run(p, "DELETE FROM reads WHERE run = ?1 AND part = 0 AND ?2 = 0", run, part, e);
	p->how->rows += r ? 0 : db_changes(lineage_db(p->l));
	return r;
}

/* What is not sealed cannot be said to have been there: it stays. */
static int prune_run(struct pruning *p, const struct old_run *run, struct err *e)
{
	struct db_stmt *s;
	int64_t pruned = 0;
	int r = db_prepare(lineage_db(p->l),
			   "SELECT part FROM seals WHERE run = ?1 AND kind = 'reads' AND part < ?2"
			   " AND part NOT IN (SELECT part FROM seals WHERE run = ?1 AND kind = 'prune') ORDER BY part",
			   &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run->uuid);
	db_bind_int(s, 2, run->parts);
	while (!p->how->more && (r = db_step(s, e)) == DB_ROW) {
		int64_t changed = p->how->changed;
		r = prune_part(p, run, db_int(s, 0), e);
		if (r)
			break;
		pruned += changed == p->how->changed;
		p->how->more = p->how->rows_max && p->how->rows >= p->how->rows_max;
	}
	db_finalize(s);
	if (r || !pruned)
		return r;
	p->how->runs++;
	r = delete_of_run(p, "DELETE FROM processes WHERE run = ?1 AND ?2 = 0 AND NOT EXISTS(SELECT 1 FROM reads WHERE reads.run = ?1)", run, 0, e);
	return r ? r : delete_of_run(p, "UPDATE runs SET pruned_ns = ?2 WHERE id = ?1", run, p->how->now_ns, e);
}

static int prune_all(struct pruning *p, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(p->l),
			   "SELECT id, uuid, iif(ended_ns < ?1, 9223372036854775807, min(sealed_parts, (?1 - started_ns) / ?2)) AS parts FROM runs"
			   " WHERE (ended_ns < ?1 AND unsealed = 0 AND (pruned_ns IS NULL OR EXISTS(SELECT 1 FROM reads WHERE reads.run = runs.id)))"
			   " OR (coalesce(ended_ns, ?1) >= ?1 AND sealed_parts > 0 AND started_ns <= ?1 - ?2)",
			   &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, p->how->before_ns);
	db_bind_int(s, 2, LINEAGE_PART_NS);
	while (!p->how->more && (r = db_step(s, e)) == DB_ROW) {
		struct old_run run = { .id = db_int(s, 0), .parts = db_int(s, 2) };
		snprintf(run.uuid, sizeof run.uuid, "%s", db_text(s, 1));
		r = prune_run(p, &run, e);
		if (r)
			break;
	}
	db_finalize(s);
	if (!r && p->how->rows && !p->how->more)
		r = db_exec(lineage_db(p->l), "DELETE FROM files WHERE NOT EXISTS(SELECT 1 FROM reads WHERE reads.file = files.id)", e);
	return r;
}

int lineage_prune(struct lineage *l, struct lineage_prune *how, struct err *e)
{
	struct pruning p = { l, how };
	how->runs = how->rows = how->changed = 0;
	how->more = false;
	int r = lineage_begin(l, e);
	if (!r)
		r = lineage_seal_due(l, how->now_ns, e);
	if (!r)
		r = prune_all(&p, e);
	if (!r && !how->dry_run)
		r = lineage_commit(l, e);
	if (r || how->dry_run)
		lineage_rollback(l);
	return r;
}
