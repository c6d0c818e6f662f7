/* search: products by their words, over all domains, best first: relevance, quality and use (product_rank). */
#include "catalog/base/json.h"
#include "catalog/base/log.h"
#include "catalog/measures.h"
#include "fs/browse.h"
#include "fs/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 50

struct found {
	char address[2 * NAME_SIZE + 1];
	char *title;
	double score;
};

struct hits {
	struct browse *b;
	const char *const *words;
	size_t word_count;
	struct browse_domain *d;
	const struct map *uses; /* NULL: not for the caller, or there is no database */
	struct found *items;
	size_t count, room;
};

/* What is known of a hit for the caller: `version` when `there`. */
struct seen {
	struct product_info p;
	struct version_info version;
	bool there, told; /* told: all of it may be */
};

/* What the snapshot says is of the newest version of all: where the caller may not be told of all of that, his contract has to hold the words. */
static bool is_found(const struct hits *h, const struct search_hit *hit, struct seen *seen, double *score)
{
	struct product_info all;
	struct contract *c = NULL;
	if (!h->b->policy)
		return true;
	if (snapshot_product(h->d->snapshot, hit->product, &all))
		return false;
	const bool newest = seen->there && all.latest && !strcmp(all.latest, seen->p.latest);
	product_info_fini(&all);
	if (newest && seen->told)
		return true;
	if (seen->there && browse_contract(h->b, h->d, hit->product, &seen->version, &c, NULL))
		return false;
	const bool match = search_contract(hit->product, c, h->words, h->word_count, score);
	contract_unref(c);
	return match;
}

static int keep_hit(struct hits *hits, const struct search_hit *h, const struct seen *seen, double score)
{
	if (hits->count == hits->room) {
		size_t room = hits->room ? hits->room * 2 : 64;
		struct found *more = realloc(hits->items, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		hits->items = more;
		hits->room = room;
	}
	/* Of its checks only who may be told of all of the newest version knows; of its use, who holds the mesh. */
	const struct product_use *use = hits->uses ? product_use_of(hits->uses, hits->d->config->name, h->product) : NULL;
	struct found *f = &hits->items[hits->count++];
	snprintf(f->address, sizeof f->address, "%s/%s", hits->d->config->name, h->product);
	f->title = seen->p.title ? strdup(seen->p.title) : NULL;
	double merit = version_merit(hits->d->snapshot, h->product, seen->told ? &seen->version : NULL);
	f->score = product_rank(score, seen->p.status, merit, use);
	return 0;
}

static int add_hit(void *arg, const struct search_hit *h)
{
	struct hits *hits = arg;
	struct seen seen = { .there = false };
	double score = h->score;
	int r = 0;
	if (browse_product(hits->b, hits->d, h->product, &seen.p, NULL))
		return 0;
	seen.there = seen.p.latest && !snapshot_version(hits->d->snapshot, h->product, seen.p.latest, &seen.version);
	seen.told = seen.there && browse_outcome(hits->b, hits->d, h->product, &seen.version, NULL) == OUTCOME_ALLOW;
	if (is_found(hits, h, &seen, &score))
		r = keep_hit(hits, h, &seen, score);
	if (seen.there)
		version_info_fini(&seen.version);
	product_info_fini(&seen.p);
	return r;
}

static int better(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return strcmp(x->address, y->address);
}

static void print(const struct found *f, bool json, struct buf *out)
{
	struct json j;
	if (!json) {
		buf_addf(out, "%7.2f  ", f->score);
		browse_add_titled(out, 40, f->address, f->title);
		return;
	}
	json_start(&j, out);
	json_open(&j, '{');
	json_field_text(&j, "address", f->address);
	json_field_double(&j, "score", f->score);
	json_field_text(&j, "title", f->title);
	json_close(&j, '}');
	buf_addc(out, '\n');
}

/* Nothing was found: says so, and which product has a name like one of the words. */
static void tell_nothing(const struct hits *h)
{
	char near[NAME_SIZE];
	for (size_t i = 0; i < h->word_count; i++)
		for (size_t d = 0; d < h->b->count; d++)
			if (browse_nearest(h->b, &h->b->domains[d], h->words[i], near)) {
				fprintf(stderr, "meshfs: nothing was found (did you mean '%s'? %s/%s)\n", near, h->b->domains[d].config->name, near);
				return;
			}
	fprintf(stderr, "meshfs: nothing was found; every word must be there: try fewer, or 'meshfs ls'\n");
}

static int parse_limit(const char *text, size_t *ret, struct err *e)
{
	char *end = NULL;
	if (!text)
		return 0;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno || *end || !n || *text == '-')
		return options_wrong(e, "search", "--limit %s: wants a number of 1 or more", text);
	*ret = n;
	return 0;
}

int cmd_search(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	bool json = false;
	const char *limit_text = NULL;
	size_t limit = LIMIT_DEFAULT;
	const struct option_spec specs[] = {
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: address score title", &json },
		{ "--limit", 0, OPTION_TEXT, "N", "at most so many (default 50)", &limit_text },
	};
	struct browse b;
	struct buf out = BUF_INIT;
	int words;
	(void)ret_status;
	int r = options_parse("search WORD… [--json] [--limit N]",
			      "Finds products by names, descriptions, columns and tags, over all domains, best first. Every word must be there;\n"
			      "the start of a word is enough. Failing checks and deprecation lower a product's rank, use raises it.",
			      specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (!words)
		return options_wrong(e, "search", "search wants a word");
	bool any = false; /* punctuation beside a word asks for nothing; an empty argument is a variable that nobody set */
	for (int i = 0; i < words; i++) {
		any |= search_is_word(argv[i]);
		if (!*argv[i] || (!any && i == words - 1))
			return options_wrong(e, "search", "search '%s': a word has a letter or a digit", argv[i]);
	}
	r = parse_limit(limit_text, &limit, e);
	if (!r)
		r = browse_open(inv, NULL, &b, e);
	if (r)
		return r;
	struct map *uses = NULL;
	if (!b.policy && product_uses(b.mesh->lineage_db, &uses, NULL))
		uses = NULL; /* a database that cannot be opened is doctor's to tell */
	struct hits hits = { .b = &b, .words = (const char *const *)argv, .word_count = (size_t)words, .uses = uses };
	for (size_t i = 0; i < b.count; i++) {
		hits.d = &b.domains[i];
		int failed = hits.d->snapshot ? snapshot_search(hits.d->snapshot, (const char *const *)argv, (size_t)words, add_hit, &hits) : 0;
		if (failed)
			log_warn("%s: its catalog cannot be searched: %s", hits.d->config->name, strerror(-failed));
	}
	if (hits.count)
		qsort(hits.items, hits.count, sizeof *hits.items, better);
	for (size_t i = 0; i < hits.count; i++) {
		if (i < limit)
			print(&hits.items[i], json, &out);
		free(hits.items[i].title);
	}
	browse_print(&out);
	if (!hits.count && !json && !inv->quiet)
		tell_nothing(&hits);
	buf_free(&out);
	free(hits.items);
	product_uses_free(uses);
	browse_close(&b);
	return 0;
}
