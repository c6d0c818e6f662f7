#include "catalog/measures.h"

#include "catalog/contract.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/sla.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* -- the catalog ------------------------------------------------------------------------------- */

struct walk {
	struct snapshot *snapshot;
	const char *product;
	struct product_measures *m;
	struct digest contract;
};

/* Newest first: ends at the first that is good. */
static int on_version(void *arg, const struct version_info *v)
{
	struct walk *w = arg;
	struct version_checks checks;
	if (v->status != VERSION_ACTIVE)
		return 0;
	bool checked = !snapshot_checks(w->snapshot, w->product, &v->number, &checks);
	if (!*w->m->version) {
		memcpy(w->m->version, v->version, sizeof w->m->version);
		w->m->published_ns = v->published_ns;
		w->m->failed_errors = checked ? checks.failed_errors : -1;
		w->m->failed_warnings = checked ? checks.failed_warnings : -1;
		w->contract = v->contract;
	}
	if ((checked && checks.failed_errors > 0) || v->failures_reason)
		return 0;
	w->m->good_ns = v->published_ns;
	return 1;
}

static void read_frequency(struct snapshot *s, const struct digest *digest, struct product_measures *m, int64_t now_ns)
{
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	if (!snapshot_contract(s, digest, &text) && !contract_parse("contract.yaml", buf_text(&text), text.len, &c, NULL) &&
	    sla_frequency(c, &m->frequency_ns))
		m->overdue = now_ns - m->published_ns > m->frequency_ns;
	contract_unref(c);
	buf_free(&text);
}

int product_measures(struct snapshot *s, const char *product, int64_t now_ns, struct product_measures *ret)
{
	static const struct digest none;
	struct walk w = { .snapshot = s, .product = product, .m = ret };
	memset(ret, 0, sizeof *ret);
	ret->failed_errors = ret->failed_warnings = -1;
	int r = snapshot_versions(s, product, on_version, &w);
	if (r < 0)
		return r;
	if (*ret->version && !digest_equal(&w.contract, &none))
		read_frequency(s, &w.contract, ret, now_ns);
	return 0;
}

/* -- the lineage database --------------------------------------------------------------------------- */

static int read_uses(struct lineage *l, struct map *uses, struct err *e)
{
	struct db_stmt *q;
	int r = db_prepare(lineage_db(l),
			   "SELECT v.product, count(DISTINCT r.user), count(DISTINCT i.run), sum(i.opens), max(i.last_ns) FROM inputs i"
			   " JOIN versions v ON v.id = i.version JOIN runs r ON r.id = i.run JOIN decisions d ON d.id = i.decision"
			   " WHERE d.outcome = 1 GROUP BY v.product",
			   &q, e);
	if (r)
		return r;
	while ((r = db_step(q, e)) == DB_ROW) {
		struct product_use *u = malloc(sizeof *u);
		const char *product = db_text(q, 0);
		if (u)
			*u = (struct product_use){ db_int(q, 1), db_int(q, 2), db_int(q, 3), db_int(q, 4) };
		if (!u || !product || map_sets(uses, product, u)) {
			free(u);
			r = err_set(e, -ENOMEM, "out of memory");
			break;
		}
	}
	db_finalize(q);
	return r;
}

int product_uses(const char *lineage_db, struct map **ret, struct err *e)
{
	struct stat st;
	struct lineage *l = NULL;
	struct map *uses = map_new();
	if (!uses)
		return err_set(e, -ENOMEM, "out of memory");
	int r = stat(lineage_db, &st) ? 0 : lineage_open(lineage_db, &l, e);
	if (!r && l)
		r = read_uses(l, uses, e);
	lineage_close(l);
	if (r) {
		product_uses_free(uses);
		return r;
	}
	*ret = uses;
	return 0;
}

void product_uses_free(struct map *uses)
{
	map_free(uses, free);
}

const struct product_use *product_use_of(const struct map *uses, const char *domain, const char *product)
{
	static const struct product_use none;
	char key[2 * NAME_SIZE + 1];
	snprintf(key, sizeof key, "%s/%s", domain, product);
	const struct product_use *u = uses ? map_gets(uses, key) : NULL;
	return u ? u : &none;
}

/* -- ranking -------------------------------------------------------------------------------------- */

#define RANK_UNCHECKED 0.95 /* nothing is known for or against it */
#define RANK_WARNINGS 0.9
#define RANK_ERRORS 0.6
#define RANK_USE 0.15 /* for each tenfold of runs */
#define RANK_USE_MAX 0.5

double version_merit(struct snapshot *s, const char *product, const struct version_info *v)
{
	struct version_checks checks;
	if (v && v->failures_reason)
		return RANK_ERRORS;
	if (!v || snapshot_checks(s, product, &v->number, &checks))
		return RANK_UNCHECKED;
	return checks.failed_errors > 0 ? RANK_ERRORS : checks.failed_warnings > 0 ? RANK_WARNINGS : 1;
}

static double rank_status(const char *status)
{
	if (!status)
		return 1;
	return !strcmp(status, "deprecated") ? 0.5 : !strcmp(status, "retired") ? 0.25 : 1;
}

double product_rank(double relevance, const char *status, double merit, const struct product_use *use)
{
	const double more = use && use->runs > 0 ? RANK_USE * log10(1 + (double)use->runs) : 0;
	return round(1000 * relevance * merit * rank_status(status) * (1 + fmin(more, RANK_USE_MAX))) / 1000;
}
