/* Tamper evidence: every seal computed anew, and what no seal can show. */
#include "catalog/lineage_seal.h"

#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_schema.h"
#include "catalog/lineage_seal_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_SLACK_NS 60000000000LL /* a clock that is set right may step back that far */
#define BROKEN_SHOWN "5"

struct check {
	struct lineage *l;
	void (*found)(void *arg, enum lineage_finding kind, const char *what);
	void *arg;
	int64_t offences;
};

static void tell(struct check *c, enum lineage_finding kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void tell(struct check *c, enum lineage_finding kind, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->offences += kind == LINEAGE_CHANGED;
	c->found(c->arg, kind, text);
}

/* -- seals ----------------------------------------------------------------------------------- */

static int has_seal(struct lineage *l, const char *sql, const struct seal *seal, bool *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), sql, &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, seal->run);
	db_bind_int(s, 2, seal->part);
	db_bind_text(s, 3, seal->digest);
	db_bind_int(s, 4, seal->rows);
	r = db_step(s, e);
	*ret = r == DB_ROW && db_int(s, 0);
	db_reset(s);
	return r < 0 ? r : 0;
}

static void compare(struct check *c, const struct seal *seal, const char *digest, int64_t rows)
{
	if (rows != seal->rows)
		tell(c, LINEAGE_CHANGED, "run %.64s %s %lld: %lld rows were sealed, %lld are there", seal->run, seal->kind, (long long)seal->part,
		     (long long)seal->rows, (long long)rows);
	else if (strcmp(digest, seal->digest) != 0)
		tell(c, LINEAGE_CHANGED, "run %.64s %s %lld: its rows are not those that were sealed", seal->run, seal->kind, (long long)seal->part);
}

/* A "run" seal is of all that the run read until then: reads that came late gave it a newer one. */
static int check_run(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	int64_t rows = 0;
	bool superseded = false;
	int r = has_seal(c->l, "SELECT EXISTS(SELECT 1 FROM seals WHERE run = ?1 AND kind = 'run' AND part > ?2 AND ?3 = ?3 AND ?4 = ?4)", seal, &superseded, e);
	if (r || superseded)
		return r;
	r = seal_digest_run(c->l, seal->run, -1, digest, &rows, e);
	if (!r)
		compare(c, seal, digest, rows);
	return r;
}

static int check_end(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	int64_t rows = 0;
	int r = seal_digest_run(c->l, seal->run, seal->part, digest, &rows, e);
	if (!r)
		compare(c, seal, digest, rows);
	return r;
}

static int check_reads(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	int64_t rows = 0;
	bool pruned = false;
	int r = has_seal(c->l, "SELECT EXISTS(SELECT 1 FROM seals WHERE run = ?1 AND kind = 'prune' AND part = ?2 AND ?3 = ?3 AND ?4 = ?4)", seal, &pruned, e);
	if (!r)
		r = seal_digest_part(c->l, seal->run, seal->part, digest, &rows, e);
	if (r)
		return r;
	if (!pruned)
		compare(c, seal, digest, rows);
	else if (rows)
		tell(c, LINEAGE_CHANGED, "run %.64s day %lld: pruned, but %lld reads stand there", seal->run, (long long)seal->part, (long long)rows);
	return 0;
}

static int check_prune(struct check *c, const struct seal *seal, struct err *e)
{
	bool fits = false;
	int r = has_seal(c->l, "SELECT EXISTS(SELECT 1 FROM seals WHERE run = ?1 AND kind = 'reads' AND part = ?2 AND digest = ?3 AND row_count = ?4)", seal,
			 &fits, e);
	if (!r && !fits)
		tell(c, LINEAGE_CHANGED, "run %.64s day %lld: what was pruned is not what was sealed", seal->run, (long long)seal->part);
	return r;
}

static int check_view(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	int r = seal_digest_named(c->l, seal->kind, seal->run, digest, e);
	if (!r && strcmp(digest, seal->digest) != 0)
		tell(c, LINEAGE_CHANGED, "view %.64s: its text is not the one that was sealed", seal->run);
	return r;
}

/* What could not be recorded only grows: the row counts at least what was sealed, and is as it was when it counts just that. */
static int check_gap(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	struct db_stmt *s;
	int r = db_cached(lineage_db(c->l), "SELECT lost FROM gaps WHERE journal = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, seal->run);
	r = db_step(s, e);
	int64_t lost = r == DB_ROW ? db_int(s, 0) : -1;
	db_reset(s);
	if (r >= 0)
		r = seal_digest_named(c->l, seal->kind, seal->run, digest, e);
	if (r < 0)
		return r;
	if (lost < seal->rows || (lost == seal->rows && strcmp(digest, seal->digest) != 0))
		tell(c, LINEAGE_CHANGED, "gap %.64s: %lld opens that are not on record were counted, and its row says otherwise", seal->run,
		     (long long)seal->rows);
	return 0;
}

static const struct {
	const char *kind;
	int (*check)(struct check *c, const struct seal *seal, struct err *e);
} kinds[] = {
	{ "reads", check_reads }, { "end", check_end }, { "run", check_run }, { "prune", check_prune }, { "view", check_view }, { "gap", check_gap },
};

static int check_content(struct check *c, const struct seal *seal, struct err *e)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(seal->kind, kinds[i].kind))
			return kinds[i].check(c, seal, e);
	tell(c, LINEAGE_CHANGED, "seal %lld is of no kind that there is: %.16s", (long long)seal->seq, seal->kind);
	return 0;
}

static const char *text_or_none(struct db_stmt *s, int column)
{
	const char *text = db_text(s, column);
	return text ? text : "";
}

/* Compares with the head that was kept.  True: this seal stands where the kept one did. */
static bool check_kept(struct check *c, const struct lineage_head *kept, const struct seal *seal, const char *stored)
{
	if (!kept || kept->seq != seal->seq)
		return false;
	if (strcmp(kept->chain, stored) != 0)
		tell(c, LINEAGE_CHANGED, "seal %lld is not the one that was kept: the chain was rewritten", (long long)seal->seq);
	return true;
}

static int check_seals(struct check *c, const struct lineage_head *kept, int64_t *ret_seals, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(c->l), "SELECT seq, kind, run, part, row_count, digest, chain, sealed_ns FROM seals ORDER BY seq", &s, e);
	if (r)
		return r;
	char before[SHA256_HEX_SIZE] = SEAL_NO_CHAIN, chain[SHA256_HEX_SIZE];
	int64_t expected = 1, last_ns = INT64_MIN;
	bool held = !kept || kept->seq == 0;
	while ((r = db_step(s, e)) == DB_ROW) {
		const char *stored = text_or_none(s, 6);
		struct seal seal = { .seq = db_int(s, 0), .kind = text_or_none(s, 1), .run = text_or_none(s, 2), .part = db_int(s, 3), .rows = db_int(s, 4),
				     .sealed_ns = db_int(s, 7) };
		snprintf(seal.digest, sizeof seal.digest, "%s", text_or_none(s, 5));
		if (seal.seq != expected)
			tell(c, LINEAGE_CHANGED, "seals %lld to %lld are missing", (long long)expected, (long long)seal.seq - 1);
		seal_chain(before, &seal, chain);
		if (strcmp(chain, stored) != 0)
			tell(c, LINEAGE_CHANGED, "seal %lld (%s %.64s) does not continue the chain: it, or one before it, was changed", (long long)seal.seq,
			     seal.kind, seal.run);
		held |= check_kept(c, kept, &seal, stored);
		if (last_ns > seal.sealed_ns && last_ns - CLOCK_SLACK_NS > seal.sealed_ns)
			tell(c, LINEAGE_NOTE, "seal %lld was made %lld s before the one that it follows: the clock was set back", (long long)seal.seq,
			     (long long)((last_ns - seal.sealed_ns) / 1000000000));
		r = check_content(c, &seal, e);
		if (r)
			break;
		last_ns = seal.sealed_ns;
		snprintf(before, sizeof before, "%s", stored);
		expected = seal.seq + (seal.seq < INT64_MAX);
	}
	db_finalize(s);
	if (!r && !held)
		tell(c, LINEAGE_CHANGED, "the chain ends at seal %lld, but seal %lld was kept: it was truncated, or an older database put in its place",
		     (long long)expected - 1, (long long)kept->seq);
	*ret_seals = expected - 1;
	return r;
}

/* -- what no seal shows ------------------------------------------------------------------------ */

/* Each gives the runs of which it holds. */
static const struct {
	enum lineage_finding kind;
	const char *sql, *what;
} rules[] = {
	{ LINEAGE_CHANGED,
	  "SELECT DISTINCT r.uuid FROM (SELECT DISTINCT run, part FROM reads) x CROSS JOIN runs r ON r.id = x.run"
	  " WHERE (x.part < r.sealed_parts OR r.unsealed = 0)"
	  " AND NOT EXISTS(SELECT 1 FROM seals s WHERE s.run = r.uuid AND s.kind = 'reads' AND s.part = x.part)",
	  "reads were added to a day that was sealed" },
	{ LINEAGE_CHANGED,
	  "SELECT DISTINCT s.run FROM seals s WHERE s.kind NOT IN ('view', 'gap') AND NOT EXISTS(SELECT 1 FROM runs r WHERE r.uuid = s.run)",
	  "sealed, but its row is gone" },
	{ LINEAGE_CHANGED,
	  "SELECT r.uuid FROM runs r WHERE r.unsealed = 0 AND NOT EXISTS(SELECT 1 FROM seals s WHERE s.run = r.uuid AND s.kind IN ('run', 'end'))",
	  "its seal is gone" },
	{ LINEAGE_CHANGED,
	  "SELECT DISTINCT s.run FROM seals s WHERE s.kind = 'run' AND EXISTS(SELECT 1 FROM seals o WHERE o.run = s.run AND o.kind = 'end')",
	  "a seal was added that would hide a change" },
	{ LINEAGE_CHANGED,
	  "SELECT r.uuid FROM runs r WHERE (r.pruned_ns IS NULL) = EXISTS(SELECT 1 FROM seals s WHERE s.run = r.uuid AND s.kind = 'prune')",
	  "whether it was pruned is not what its seals say" },
	{ LINEAGE_CHANGED,
	  "SELECT 'number ' || run FROM (SELECT DISTINCT run FROM reads UNION SELECT run FROM inputs) x WHERE NOT EXISTS(SELECT 1 FROM runs r WHERE r.id = x.run)"
	  " UNION ALL SELECT run FROM artifacts a WHERE NOT EXISTS(SELECT 1 FROM runs r WHERE r.uuid = a.run)",
	  "what it read or made is there, but its row is gone" },
	{ LINEAGE_CHANGED,
	  "SELECT r.uuid FROM inputs i JOIN runs r ON r.id = i.run WHERE NOT EXISTS(SELECT 1 FROM versions v WHERE v.id = i.version)"
	  " OR NOT EXISTS(SELECT 1 FROM decisions d WHERE d.id = i.decision)"
	  " OR i.late > (SELECT coalesce(max(part) + 1, 0) FROM seals s WHERE s.run = r.uuid AND s.kind = 'end') GROUP BY r.uuid",
	  "inputs were added that it did not read" },
	{ LINEAGE_CHANGED, /* of what is not sealed yet: totals that are not those of their rows */
	  "SELECT r.uuid FROM runs r WHERE r.unsealed = 1 AND r.pruned_ns IS NULL AND (EXISTS("
	  "SELECT f.version, x.decision, sum(x.opens), sum(x.bytes) FROM reads x JOIN files f ON f.id = x.file WHERE x.run = r.id GROUP BY 1, 2"
	  " EXCEPT SELECT version, decision, sum(opens), sum(bytes) FROM inputs WHERE run = r.id GROUP BY 1, 2) OR EXISTS("
	  "SELECT version, decision, sum(opens), sum(bytes) FROM inputs WHERE run = r.id GROUP BY 1, 2"
	  " EXCEPT SELECT f.version, x.decision, sum(x.opens), sum(x.bytes) FROM reads x JOIN files f ON f.id = x.file WHERE x.run = r.id GROUP BY 1, 2))",
	  "what it read of each version is not the sum of its reads" },
	{ LINEAGE_NOTE,
	  "SELECT uuid FROM runs r WHERE started_ns > 0 AND (ended_ns < started_ns OR EXISTS(SELECT 1 FROM inputs i WHERE i.run = r.id AND i.first_ns < r.started_ns))",
	  "it ended or read before it began: the clock was set back" },
};

static int check_rules(struct check *c, struct err *e)
{
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct db_stmt *s;
		int r = db_prepare(lineage_db(c->l), rules[i].sql, &s, e);
		if (r)
			return r;
		while ((r = db_step(s, e)) == DB_ROW)
			tell(c, rules[i].kind, "run %.64s: %s", text_or_none(s, 0), rules[i].what);
		db_finalize(s);
		if (r)
			return r;
	}
	return 0;
}

/* No offence, but no answer is whole for the time of one. */
static int note_gaps(struct check *c, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(c->l), "SELECT journal, lost, first, last, journal LIKE '%:damaged' FROM mesh_gaps ORDER BY first, journal", &s, e);
	if (r)
		return r;
	while ((r = db_step(s, e)) == DB_ROW)
		tell(c, LINEAGE_NOTE, "gap %.64s: %lld opens between %.32s and %.32s are not on record (%s)", text_or_none(s, 0), (long long)db_int(s, 1),
		     text_or_none(s, 2), text_or_none(s, 3), db_int(s, 4) ? "torn by a power cut" : "the journal was full, and lineage.on_full is serve");
	db_finalize(s);
	return r;
}

static void schema_found(void *arg, const char *what)
{
	tell(arg, LINEAGE_CHANGED, "%s", what);
}

/* An index that lacks a row hides it from some questions and not from others. */
static int check_file(struct check *c, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(c->l), "PRAGMA integrity_check(" BROKEN_SHOWN ")", &s, e);
	if (r)
		return r;
	while ((r = db_step(s, e)) == DB_ROW)
		if (strcmp(text_or_none(s, 0), "ok") != 0)
			tell(c, LINEAGE_CHANGED, "the database's file: %s", text_or_none(s, 0));
	db_finalize(s);
	return r;
}

int lineage_verify(struct lineage *l, const struct lineage_head *kept, lineage_found *found, void *arg, struct lineage_verified *ret, struct err *e)
{
	struct check c = { l, found, arg, 0 };
	int r = lineage_schema_check(lineage_db(l), schema_found, &c, e);
	if (!r)
		r = check_file(&c, e);
	if (!r)
		r = check_seals(&c, kept, &ret->seals, e);
	if (!r)
		r = check_rules(&c, e);
	if (!r)
		r = note_gaps(&c, e);
	ret->offences = c.offences;
	return r;
}
