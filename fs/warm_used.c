/* The views that a product's readers used last, for its next version: known from the lineage database of this mesh. */
#include "fs/warm.h"

#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "fs/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READERS_MAX 16 /* those who read last; others wait for their sizes once */

struct reader_facts {
	char *user, *purpose; /* purpose NULL: none */
	uid_t uid;
};

/* Who was served a view of the version that was read last, of all but the new one. */
static const char readers_sql[] =
	"WITH served AS (SELECT i.version, r.user, r.uid, r.purpose, i.last_ns FROM versions v JOIN inputs i ON i.version = v.id"
	" JOIN decisions d ON d.id = i.decision JOIN runs r ON r.id = i.run"
	" WHERE v.product = ?1 AND v.version <> ?2 AND d.outcome = ?3 AND d.view <> '')"
	" SELECT user, uid, purpose FROM served WHERE version = (SELECT version FROM served ORDER BY last_ns DESC LIMIT 1)"
	" GROUP BY user, uid, purpose ORDER BY max(last_ns) DESC LIMIT ?4";

static void facts_fini(struct reader_facts *f, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(f[i].user);
		free(f[i].purpose);
	}
}

static int read_facts(struct db *db, const char *product, const char *version, struct reader_facts *f, size_t *count, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(db, readers_sql, &s, e), row = 0;
	if (r)
		return r;
	db_bind_text(s, 1, product);
	db_bind_text(s, 2, version);
	db_bind_int(s, 3, LINEAGE_SERVED);
	db_bind_int(s, 4, READERS_MAX);
	while (!r && (row = db_step(s, e)) == DB_ROW && *count < READERS_MAX) {
		struct reader_facts *x = &f[(*count)++];
		const char *purpose = db_text(s, 2);
		*x = (struct reader_facts){ strdup(db_text(s, 0)), purpose ? strdup(purpose) : NULL, (uid_t)db_int(s, 1) };
		if (!x->user || (purpose && !x->purpose))
			r = err_set(e, -ENOMEM, "no memory");
	}
	db_finalize(s);
	return r ? r : row < 0 ? row : 0;
}

/* A mesh without records has no readers; nor has one whose records are another user's. */
static int last_readers(const struct mesh_config *mesh, const struct address *a, struct reader_facts *f, size_t *ret_count, struct err *e)
{
	struct lineage *l = NULL;
	*ret_count = 0;
	if (access(mesh->lineage_db, R_OK | W_OK))
		return 0;
	char *product = text_format("%s/%s", a->domain, a->product);
	int r = product ? lineage_open(mesh->lineage_db, &l, e) : err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = read_facts(lineage_db(l), product, a->version, f, ret_count, e);
	lineage_close(l);
	free(product);
	return r;
}

bool warm_has_used(const struct mesh_config *mesh, const struct address *a)
{
	struct reader_facts facts[READERS_MAX];
	struct err e = ERR_INIT;
	size_t count = 0;
	if (last_readers(mesh, a, facts, &count, &e))
		log_info("%s", e.text);
	facts_fini(facts, count);
	return count > 0;
}

static int warm_reader(const struct warm_means *by, const struct reader_facts *f, const struct address *a, struct warm_counts *ret, struct err *e)
{
	struct identity who = { 0 };
	struct subject s = { .user = f->user, .uid = f->uid };
	struct warmer *w;
	if (!identity_of(f->user, &who, NULL))
		identity_subject(&who, &s);
	s.purpose = f->purpose;
	int r = warm_begin(by, &s, true, &w, e);
	if (!r) {
		r = warm_address(w, a, e);
		r = warm_end(w, r, ret, e);
	}
	identity_fini(&who);
	return r;
}

int warm_used(const struct warm_means *by, const struct address *a, struct warm_counts *ret, struct err *e)
{
	struct reader_facts facts[READERS_MAX];
	size_t count = 0;
	int r = last_readers(by->c->browse.mesh, a, facts, &count, e);
	for (size_t i = 0; i < count && !r; i++) {
		struct warm_counts n = { 0 };
		r = warm_reader(by, &facts[i], a, &n, e);
		warm_counts_add(ret, &n);
	}
	facts_fini(facts, count);
	return r;
}

void warm_published(const struct warm_means *by, const struct address *a)
{
	struct warm_counts n = { 0 };
	struct err e = ERR_INIT;
	int r = warm_views(by, a, &n, &e);
	if (!r)
		r = warm_used(by, a, &n, &e);
	if (r == -EINTR)
		log_info("%s/%s/%s: its views are computed when they are needed", a->domain, a->product, a->version);
	else if (r || n.failed)
		log_warn("%s/%s/%s: its views are not computed yet: %s", a->domain, a->product, a->version, r ? e.text : n.first);
}
