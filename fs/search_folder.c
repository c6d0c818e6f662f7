#include "fs/search_folder.h"

#include "catalog/measures.h"
#include "fs/node.h"
#include "fs/state.h"
#include "fs/tree.h"
#include "fs/virtual.h"

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
	const char *const *words;
	size_t word_count;
	struct domain_host *domain;
	struct snapshot *snapshot;
	struct hit items[HITS_MAX];
	size_t count;
};

struct newest {
	const struct hits *hits;
	const char *product, *latest; /* `latest` is what the snapshot's words are of */
	const char *status;
	double score;
	bool found;
};

/* Of a version that is not served whole, or is not the one that the snapshot's words are of, only what its contract tells this session counts. */
static bool own_words_match(struct newest *n, struct slot *slot)
{
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	struct vnode version = { .slot = slot };
	int r = version_contract(n->hits->session, &version, &text, NULL);
	if (!r)
		r = contract_parse("contract.yaml", buf_text(&text), text.len, &c, NULL);
	bool match = (!r || r == -ENOENT) && search_contract(n->product, c, n->hits->words, n->hits->word_count, &n->score);
	contract_unref(c);
	buf_free(&text);
	return match;
}

static int on_newest(void *arg, struct slot *slot, enum outcome outcome)
{
	struct newest *n = arg;
	const bool newest = n->latest && !strcmp(n->latest, slot->info.version);
	n->found = (newest && outcome == OUTCOME_ALLOW) || own_words_match(n, slot);
	double merit = version_merit(n->hits->snapshot, n->product, outcome == OUTCOME_ALLOW ? &slot->info : NULL);
	n->score = product_rank(n->score, newest ? n->status : NULL, merit, NULL);
	return 1;
}

/* Is it found by what this session may see of it, and how well?  Use is not asked for here: the lineage database is not for every session, and no
 * handler waits for it. */
static bool is_found(struct hits *h, const struct search_hit *found, double *ret_score)
{
	struct product_info p;
	if (snapshot_product(h->snapshot, found->product, &p))
		return false;
	struct newest n = { .hits = h, .product = found->product, .latest = p.latest, .status = p.status, .score = found->score };
	tree_versions(h->session, h->domain, h->snapshot, found->product, on_newest, &n);
	*ret_score = n.score;
	product_info_fini(&p);
	return n.found;
}

static int add_hit(void *arg, const struct search_hit *found)
{
	struct hits *h = arg;
	if (h->count == HITS_MAX)
		return 1;
	double score;
	if (!is_found(h, found, &score))
		return 0;
	struct hit *hit = &h->items[h->count++];
	hit->domain = h->domain;
	hit->score = score;
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
	h->words = list;
	h->word_count = count;
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
