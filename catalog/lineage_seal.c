#include "catalog/lineage_seal.h"

#include "catalog/base/buf.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_seal_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- digests --------------------------------------------------------------------------------- */

/* printf is a quarter of the time of verifying. */
static void add_length(struct buf *b, size_t n)
{
	char text[24];
	size_t at = sizeof text;
	text[--at] = ':';
	do {
		text[--at] = (char)('0' + n % 10);
	} while (n /= 10);
	buf_add(b, text + at, sizeof text - at);
}

/* Every column of every row, each with its length, so that no two contents have one text. */
static int digest_rows(struct db_stmt *s, int columns, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct sha256 *h = sha256_new();
	struct buf b = BUF_INIT;
	int64_t rows = 0;
	int r = h ? 0 : err_set(e, -ENOMEM, "no memory for a digest");
	while (!r && (r = db_step(s, e)) == DB_ROW) {
		buf_clear(&b);
		for (int i = 0; i < columns; i++) {
			size_t len = 0;
			const char *text = db_text_n(s, i, &len);
			if (!text) {
				buf_adds(&b, "-,");
				continue;
			}
			add_length(&b, len);
			buf_add(&b, text, len);
			buf_addc(&b, ',');
		}
		buf_addc(&b, '\n');
		r = buf_check(&b);
		if (r)
			err_set(e, r, "no memory for a digest");
		else
			sha256_update(h, b.data, b.len);
		rows++;
	}
	struct digest d;
	if (h)
		sha256_final(h, &d);
	if (!r) {
		hex_format(d.bytes, sizeof d.bytes, ret);
		*ret_rows = rows;
	}
	sha256_free(h);
	buf_free(&b);
	return r;
}

#define PART_ROWS \
	"SELECT v.address, f.path, d.outcome, d.view, d.policy, d.rules, p.pid, p.started_ns, p.exe, p.command, x.opens, x.bytes, x.first_ns, x.last_ns" \
	" FROM runs r CROSS JOIN reads x ON x.run = r.id CROSS JOIN files f ON f.id = x.file CROSS JOIN versions v ON v.id = f.version" \
	" CROSS JOIN decisions d ON d.id = x.decision LEFT JOIN processes p ON p.id = x.process WHERE r.uuid = ?1"
#define PART_ORDER " ORDER BY v.address, f.path, d.outcome, d.view, d.policy, d.rules"

int seal_digest_part(struct lineage *l, const char *run, int64_t part, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct db_stmt *s;
	/* The first day is looked for among all days of a run, the later ones through the index that holds only them. */
	static const char first_day[] = PART_ROWS " AND x.part = 0" PART_ORDER, later_day[] = PART_ROWS " AND x.part > 0 AND x.part = ?2" PART_ORDER;
	int r = db_cached(lineage_db(l),
			  part ? later_day : first_day, &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	if (part)
		db_bind_int(s, 2, part);
	r = digest_rows(s, 14, ret, ret_rows, e);
	db_reset(s);
	return r;
}

int seal_digest_run(struct lineage *l, const char *run, int64_t late, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l),
			   "SELECT 1, uuid, name, user, uid, purpose, command, parent, git_commit, params, host, mount, started_ns, ended_ns, exit_status"
			   " FROM runs WHERE uuid = ?1 UNION ALL SELECT 2, path, sha256, size, recorded_ns, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
			   " NULL, NULL FROM (SELECT * FROM artifacts WHERE run = ?1 ORDER BY path, sha256)"
			   " UNION ALL SELECT 3, v.address, d.outcome, d.view, d.policy, d.rules, i.files, i.opens, i.bytes, i.first_ns, i.last_ns, NULL,"
			   " NULL, NULL, NULL FROM (SELECT * FROM inputs WHERE run = (SELECT id FROM runs WHERE uuid = ?1) AND (?2 < 0 OR late = ?2)) i"
			   " JOIN versions v ON v.id = i.version JOIN decisions d ON d.id = i.decision UNION ALL SELECT 4, groups, NULL, NULL, NULL, NULL, NULL,"
			   " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM runs WHERE uuid = ?1 AND groups IS NOT NULL ORDER BY 1, 2, 3, 4, 5, 6",
			  &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	db_bind_int(s, 2, late);
	r = digest_rows(s, 15, ret, ret_rows, e);
	db_reset(s);
	return r;
}

int seal_digest_named(struct lineage *l, const char *kind, const char *name, char ret[SHA256_HEX_SIZE], struct err *e)
{
	struct db_stmt *s;
	int64_t rows;
	int r = db_cached(lineage_db(l),
			  strcmp(kind, "view") ? "SELECT journal, lost, first_ns, last_ns FROM gaps WHERE journal = ?" :
						 "SELECT view, text, NULL, NULL FROM transforms WHERE view = ?",
			  &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, name);
	r = digest_rows(s, 4, ret, &rows, e);
	db_reset(s);
	return r;
}

/* -- the chain ------------------------------------------------------------------------------- */

void seal_chain(const char *before, const struct seal *s, char ret[SHA256_HEX_SIZE])
{
	struct digest d;
	char text[512]; /* whoever changed the database may have put any length there */
	int n = snprintf(text, sizeof text, "%.64s\n%lld\n%.16s\n%.64s\n%lld\n%lld\n%s\n%lld\n", before, (long long)s->seq, s->kind, s->run,
			 (long long)s->part, (long long)s->rows, s->digest, (long long)s->sealed_ns);
	sha256_of(text, (size_t)n, &d);
	hex_format(d.bytes, sizeof d.bytes, ret);
}

int lineage_seal_head(struct lineage *l, struct lineage_head *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "SELECT seq, chain FROM seals ORDER BY seq DESC LIMIT 1", &s, e);
	if (r)
		return r;
	ret->seq = 0;
	strcpy(ret->chain, SEAL_NO_CHAIN);
	r = db_step(s, e);
	if (r == DB_ROW) {
		ret->seq = db_int(s, 0);
		snprintf(ret->chain, sizeof ret->chain, "%s", db_text(s, 1) ? db_text(s, 1) : "");
	}
	db_reset(s);
	return r < 0 ? r : 0;
}

static int append_seal(struct lineage *l, struct seal *seal, struct err *e)
{
	struct lineage_head head;
	struct db_stmt *s;
	char chain[SHA256_HEX_SIZE];
	int r = lineage_seal_head(l, &head, e);
	if (!r && head.seq == INT64_MAX)
		r = err_set(e, -EBADMSG, "%s: no number is left for a seal: the seals were changed", lineage_path(l));
	if (r)
		return r;
	seal->seq = head.seq + 1;
	seal_chain(head.chain, seal, chain);
	r = db_cached(lineage_db(l), "INSERT INTO seals(seq, kind, run, part, row_count, digest, chain, sealed_ns) VALUES(?, ?, ?, ?, ?, ?, ?, ?)", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, seal->seq);
	db_bind_text(s, 2, seal->kind);
	db_bind_text(s, 3, seal->run);
	db_bind_int(s, 4, seal->part);
	db_bind_int(s, 5, seal->rows);
	db_bind_text(s, 6, seal->digest);
	db_bind_text(s, 7, chain);
	db_bind_int(s, 8, seal->sealed_ns);
	return db_run(s, e);
}

/* -- sealing --------------------------------------------------------------------------------- */

struct due {
	char run[LINEAGE_RUN_SIZE];
	int64_t id, started_ns, sealed_parts, old_seals, seals;
	bool ended;
};

/* Parts with rows that are over and not sealed yet, up to the day before `today` (all of an ended run). */
static int seal_parts(struct lineage *l, const struct due *d, int64_t now_ns, struct err *e)
{
	struct db_stmt *s;
	int64_t today = d->ended ? INT64_MAX : (now_ns - d->started_ns) / LINEAGE_PART_NS, next = d->sealed_parts;
	for (;;) {
		int r = db_cached(lineage_db(l),
				  "SELECT due, EXISTS(SELECT 1 FROM seals WHERE run = ?4 AND kind = 'reads' AND part = due) FROM"
				  " (SELECT coalesce((SELECT part FROM reads WHERE run = ?1 AND part = 0 AND ?2 <= 0 AND 0 < ?3 LIMIT 1),"
				  " (SELECT min(part) FROM reads WHERE run = ?1 AND part > 0 AND part >= ?2 AND part < ?3)) AS due) WHERE due IS NOT NULL",
				  &s, e);
		if (r)
			return r;
		db_bind_int(s, 1, d->id);
		db_bind_int(s, 2, next);
		db_bind_int(s, 3, today);
		db_bind_text(s, 4, d->run);
		r = db_step(s, e);
		int64_t part = r == DB_ROW ? db_int(s, 0) : 0;
		bool again = r == DB_ROW && db_int(s, 1); /* somebody set `sealed_parts` back: the seal that there is counts */
		db_reset(s);
		if (r <= 0)
			return r;
		next = part + 1;
		if (again)
			continue;
		struct seal seal = { .kind = "reads", .run = d->run, .part = part, .sealed_ns = now_ns };
		r = seal_digest_part(l, d->run, part, seal.digest, &seal.rows, e);
		if (!r)
			r = append_seal(l, &seal, e);
		if (!r)
			r = db_cached(lineage_db(l), "UPDATE runs SET sealed_parts = ? WHERE id = ?", &s, e);
		if (r)
			return r;
		db_bind_int(s, 1, next);
		db_bind_int(s, 2, d->id);
		r = db_run(s, e);
		if (r)
			return r;
	}
}

static int seal_one(struct lineage *l, const struct due *d, int64_t now_ns, struct err *e)
{
	int r = seal_parts(l, d, now_ns, e);
	if (r || !d->ended)
		return r;
	bool old = d->old_seals > 0;
	struct seal seal = { .kind = old ? "run" : "end", .run = d->run, .part = old ? d->old_seals : d->seals, .sealed_ns = now_ns };
	r = seal_digest_run(l, d->run, old ? -1 : seal.part, seal.digest, &seal.rows, e);
	return r ? r : append_seal(l, &seal, e);
}

/* Seals a row for which `due` gives: name, number of the seal, count.  The digest is of what `row` gives for the name. */
static int seal_named(struct lineage *l, const char *kind, const char *due, int64_t now_ns, struct err *e)
{
	for (;;) {
		struct db_stmt *s;
		char name[SHA256_HEX_SIZE];
		int r = db_cached(lineage_db(l), due, &s, e);
		if (r)
			return r;
		r = db_step(s, e);
		struct seal seal = { .kind = kind, .run = name, .part = db_int(s, 1), .rows = db_int(s, 2), .sealed_ns = now_ns };
		snprintf(name, sizeof name, "%s", r == DB_ROW && db_text(s, 0) ? db_text(s, 0) : "");
		db_reset(s);
		if (r <= 0)
			return r;
		r = seal_digest_named(l, kind, name, seal.digest, e);
		if (!r)
			r = append_seal(l, &seal, e);
		if (r)
			return r;
	}
}

/* The texts of views, and what could not be recorded. */
static int seal_rest(struct lineage *l, int64_t now_ns, struct err *e)
{
	int r = seal_named(l, "view",
			   "SELECT view, 0, 1 FROM transforms t WHERE NOT EXISTS(SELECT 1 FROM seals WHERE run = substr(t.view, 1, 64) AND kind = 'view') LIMIT 1",
			   now_ns, e);
	return r ? r
		 : seal_named(l, "gap",
			      "SELECT journal, (SELECT coalesce(max(part) + 1, 0) FROM seals WHERE run = substr(g.journal, 1, 64) AND kind = 'gap') AS number, lost FROM gaps g"
			      " WHERE lost > (SELECT coalesce(max(row_count), 0) FROM seals WHERE run = substr(g.journal, 1, 64) AND kind = 'gap') LIMIT 1",
			      now_ns, e);
}

static int list_due(struct lineage *l, int64_t now_ns, struct due **ret, size_t *ret_count, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(l),
			   "SELECT id, uuid, started_ns, sealed_parts, ended_ns IS NOT NULL, (SELECT coalesce(max(part) + 1, 0) FROM seals WHERE run = uuid AND kind = 'run'),"
			   " (SELECT coalesce(max(part) + 1, 0) FROM seals WHERE run = uuid AND kind = 'end')"
			   " FROM runs WHERE unsealed = 1 AND (ended_ns IS NOT NULL OR started_ns <= ?1)",
			   &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, now_ns - LINEAGE_PART_NS);
	while ((r = db_step(s, e)) == DB_ROW) {
		if (*ret_count % 64 == 0) {
			struct due *more = realloc(*ret, (*ret_count + 64) * sizeof *more);
			if (!more) {
				r = err_set(e, -ENOMEM, "no memory to seal the lineage");
				break;
			}
			*ret = more;
		}
		struct due *d = &(*ret)[(*ret_count)++];
		*d = (struct due){ .id = db_int(s, 0), .started_ns = db_int(s, 2), .sealed_parts = db_int(s, 3), .ended = db_int(s, 4),
				   .old_seals = db_int(s, 5), .seals = db_int(s, 6) };
		snprintf(d->run, sizeof d->run, "%s", db_text(s, 1) ? db_text(s, 1) : "");
	}
	db_finalize(s);
	return r;
}

int lineage_seal_due(struct lineage *l, int64_t now_ns, struct err *e)
{
	struct due *due = NULL;
	size_t count = 0;
	int r = list_due(l, now_ns, &due, &count, e);
	for (size_t i = 0; i < count && !r; i++) {
		struct db_stmt *s;
		r = seal_one(l, &due[i], now_ns, e);
		if (r || !due[i].ended)
			continue;
		r = db_cached(lineage_db(l), "UPDATE runs SET unsealed = 0 WHERE id = ?", &s, e);
		if (!r) {
			db_bind_int(s, 1, due[i].id);
			r = db_run(s, e);
		}
	}
	free(due);
	return r ? r : seal_rest(l, now_ns, e);
}

/* -- pruning (lineage_prune.c) ------------------------------------------------------------------ */

int lineage_seal_pruned(struct lineage *l, const char *run, int64_t part, int64_t now_ns, struct err *e)
{
	struct db_stmt *s;
	char digest[SHA256_HEX_SIZE];
	int64_t rows = 0;
	int r = db_cached(lineage_db(l), "SELECT row_count, digest FROM seals WHERE run = ?1 AND kind = 'reads' AND part = ?2", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	db_bind_int(s, 2, part);
	r = db_step(s, e);
	struct seal seal = { .kind = "prune", .run = run, .part = part, .rows = r == DB_ROW ? db_int(s, 0) : 0, .sealed_ns = now_ns };
	snprintf(seal.digest, sizeof seal.digest, "%s", r == DB_ROW && db_text(s, 1) ? db_text(s, 1) : "");
	db_reset(s);
	if (r >= 0)
		r = seal_digest_part(l, run, part, digest, &rows, e);
	if (!r && (rows != seal.rows || strcmp(digest, seal.digest) != 0))
		r = err_set(e, -EBADMSG, "run %.64s day %lld: its reads are not those that were sealed", run, (long long)part);
	return r < 0 ? r : append_seal(l, &seal, e);
}
