#include "fs/row_lookup.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/heads.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct row_lookup {
	uint64_t *prints; /* lower halves, ascending, each once */
	size_t count;
	bool (*column)(void *arg, const char *name);
	void *arg;
	struct map *versions; /* by address: struct known */
};

struct known {
	struct row_index *index; /* NULL: none, or not to be used */
};

static int order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

struct row_lookup *row_lookup_new(const struct row_print *prints, size_t count, bool (*column)(void *arg, const char *name), void *arg)
{
	struct row_lookup *l = malloc(sizeof *l);
	if (!l)
		return NULL;
	*l = (struct row_lookup){ malloc((count + 1) * sizeof *l->prints), 0, column, arg, map_new() };
	if (!l->prints || !l->versions) {
		row_lookup_free(l);
		return NULL;
	}
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		if (prints[i].low || prints[i].high) /* else a record without values, which has no source */
			l->prints[n++] = prints[i].low;
	qsort(l->prints, n, sizeof *l->prints, order);
	for (size_t i = 0; i < n; i++)
		if (!l->count || l->prints[l->count - 1] != l->prints[i])
			l->prints[l->count++] = l->prints[i];
	return l;
}

static void free_known(void *arg)
{
	struct known *k = arg;
	row_index_close(k->index);
	free(k);
}

void row_lookup_free(struct row_lookup *l)
{
	if (!l)
		return;
	if (l->versions)
		map_free(l->versions, free_known);
	free(l->prints);
	free(l);
}

static int fetch_index(struct scan_version *v, struct row_index **ret, struct err *e)
{
	struct domain *d = v->loaded.domain->domain;
	char key[HEADS_KEY_SIZE];
	char *path = text_format("%s/tmp/rows.%d.%lld", domain_cache_folder(d), (int)getpid(), (long long)clock_mono_ns());
	rows_key(&v->loaded.info.manifest, key);
	int r = path ? store_get_file(domain_store(d), key, path, NULL, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = row_index_open(path, key, ret, e);
	if (path)
		unlink(path); /* the connection keeps it */
	free(path);
	return r;
}

void row_lookup_distrust(struct row_lookup *l, const struct scan_version *v, const char *why)
{
	struct known *k = map_gets(l->versions, v->address);
	log_warn("%s is scanned, as the index of its rows cannot be used: %s", v->address, why);
	if (!k)
		return;
	row_index_close(k->index);
	k->index = NULL;
}

/* NULL: the version has none to be used. */
static struct row_index *index_of(struct row_lookup *l, struct scan_version *v)
{
	struct known *k = map_gets(l->versions, v->address);
	struct err why = ERR_INIT;
	if (k)
		return k->index;
	k = calloc(1, sizeof *k);
	if (!k || map_sets(l->versions, v->address, k)) {
		free(k);
		return NULL;
	}
	int r = fetch_index(v, &k->index, &why);
	if (!r)
		r = row_index_probe(k->index, l->prints, l->count, &why);
	if (r && r != -ENOENT)
		row_lookup_distrust(l, v, why.text);
	return k->index;
}

int row_lookup_pieces(struct row_lookup *l, struct scan_version *v, const char *path, uint64_t size, bool head, struct row_piece **ret, size_t *ret_count)
{
	const struct contract *c = v->loaded.facts.contract;
	struct err why = ERR_INIT;
	struct row_index *x = c && row_index_asked(c, contract_object_for(c, path)) ? index_of(l, v) : NULL;
	int r = x ? row_index_pieces(x, path, size, head, l->column, l->arg, ret, ret_count, &why) : -ENOENT;
	if (r && r != -ENOENT)
		row_lookup_distrust(l, v, why.text);
	return r;
}
