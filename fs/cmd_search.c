/* search: products by their words, over all domains, best first. */
#include "catalog/base/json.h"
#include "catalog/base/log.h"
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
	struct browse_domain *d;
	struct found *items;
	size_t count, room;
};

static int add_hit(void *arg, const struct search_hit *h)
{
	struct hits *hits = arg;
	if (!browse_sees(hits->b, hits->d, h->product, NULL, NULL))
		return 0;
	if (hits->count == hits->room) {
		size_t room = hits->room ? hits->room * 2 : 64;
		struct found *more = realloc(hits->items, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		hits->items = more;
		hits->room = room;
	}
	struct found *f = &hits->items[hits->count];
	snprintf(f->address, sizeof f->address, "%s/%s", hits->d->config->name, h->product);
	f->title = h->title ? strdup(h->title) : NULL;
	f->score = h->score;
	hits->count++;
	return 0;
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
			      "the start of a word is enough.",
			      specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (!words)
		return options_wrong(e, "search", "search wants a word");
	r = parse_limit(limit_text, &limit, e);
	if (!r)
		r = browse_open(inv, NULL, &b, e);
	if (r)
		return r;
	struct hits hits = { .b = &b };
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
	buf_free(&out);
	free(hits.items);
	browse_close(&b);
	return 0;
}
