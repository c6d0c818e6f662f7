#include "fs/search_folder.h"

#include "catalog/measures.h"
#include "fs/node.h"
#include "fs/state.h"
#include "fs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16
#define HITS_MAX 200

struct hit {
	struct domain_host *domain;
	char product[NAME_SIZE];
	double score;
};

struct hits {
	struct session *session;
	struct domain_host *domain;
	struct snapshot *snapshot;
	struct hit items[HITS_MAX];
	size_t count;
};

struct newest {
	double score;
	const char *status;
	bool met;
};

static int on_newest(void *arg, struct slot *slot, enum outcome outcome)
{
	struct newest *n = arg;
	n->met = true;
	n->score = product_rank(n->score, n->status, outcome == OUTCOME_ALLOW ? &slot->info : NULL, NULL);
	return 1;
}

/* Use is not asked for here: the lineage database is not for every session, and no handler waits for it. */
static double rank(struct hits *h, const struct search_hit *found)
{
	struct product_info p;
	if (snapshot_product(h->snapshot, found->product, &p))
		return found->score;
	struct newest n = { .score = found->score, .status = p.status };
	tree_versions(h->session, h->domain, h->snapshot, found->product, on_newest, &n);
	if (!n.met)
		n.score = product_rank(n.score, p.status, NULL, NULL);
	product_info_fini(&p);
	return n.score;
}

static int add_hit(void *arg, const struct search_hit *found)
{
	struct hits *h = arg;
	if (h->count == HITS_MAX)
		return 1;
	if (!tree_product_visible(h->session, h->domain, h->snapshot, found->product))
		return 0;
	struct hit *hit = &h->items[h->count++];
	hit->domain = h->domain;
	hit->score = rank(h, found);
	snprintf(hit->product, sizeof hit->product, "%s", found->product);
	return 0;
}

static int better(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	int r = strcmp(x->domain->config->name, y->domain->config->name);
	return r ? r : strcmp(x->product, y->product);
}

static size_t split(char *text, const char *ret_words[WORDS_MAX])
{
	size_t count = 0;
	char *rest = text;
	for (char *word; count < WORDS_MAX && (word = strtok_r(rest, " ,+\t", &rest));)
		ret_words[count++] = word;
	return count;
}

int search_folder_list(struct session *s, const char *words, int (*each)(void *arg, const char *name), void *arg)
{
	const char *list[WORDS_MAX];
	int r = 0;
	char *copy = strdup(words);
	struct hits *h = calloc(1, sizeof *h);
	if (!copy || !h) {
		r = -ENOMEM;
		goto out;
	}
	size_t count = split(copy, list);
	h->session = s;
	for (size_t i = 0; count && i < s->mesh->domain_count; i++) {
		h->domain = &s->mesh->domains[i];
		h->snapshot = domain_snapshot(h->domain->domain);
		if (!h->snapshot)
			continue;
		snapshot_search(h->snapshot, list, count, add_hit, h);
		snapshot_unref(h->snapshot);
	}
	qsort(h->items, h->count, sizeof h->items[0], better);
	for (size_t i = 0; i < h->count && !r; i++) {
		char name[2 * NAME_SIZE];
		snprintf(name, sizeof name, "%s@%s", h->items[i].product, h->items[i].domain->config->name);
		r = each(arg, name);
	}
out:
	free(copy);
	free(h);
	return r;
}

int search_folder_target(struct session *s, const char *name, char ret_target[SEARCH_TARGET_SIZE])
{
	char product[NAME_SIZE];
	const char *at = strchr(name, '@');
	if (!at || at == name || (size_t)(at - name) >= sizeof product)
		return -ENOENT;
	snprintf(product, sizeof product, "%.*s", (int)(at - name), name);
	struct domain_host *h = mesh_domain_host(s->mesh, at + 1);
	struct snapshot *snapshot = h && !name_check("product", product, NULL) ? domain_snapshot(h->domain) : NULL;
	if (!snapshot)
		return -ENOENT;
	bool visible = tree_product_visible(s, h, snapshot, product);
	snapshot_unref(snapshot);
	if (!visible)
		return -ENOENT;
	snprintf(ret_target, SEARCH_TARGET_SIZE, "../../../%s/%s", h->config->name, product);
	return 0;
}
