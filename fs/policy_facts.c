#include "fs/policy_facts.h"

#include "catalog/base/doc.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gathering {
	struct policy_sources *sources;
	const char *domain;
};

int policy_sources_copy(struct policy_sources *s, const struct policy_source *item)
{
	struct policy_source *more = realloc(s->items, (s->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	s->items = more;
	char *name = strdup(item->name), *text = malloc(item->len + 1);
	if (!name || !text) {
		free(name);
		free(text);
		return -ENOMEM;
	}
	memcpy(text, item->text, item->len);
	text[item->len] = '\0';
	s->items[s->count++] = (struct policy_source){ .name = name, .text = text, .len = item->len, .domain = item->domain };
	return 0;
}

static int add_source(void *arg, const char *name, const char *text, size_t len)
{
	struct gathering *g = arg;
	char *label = text_format("%s:%s", g->domain, name);
	struct policy_source item = { .name = label, .text = text, .len = len, .domain = g->domain };
	int r = label ? policy_sources_copy(g->sources, &item) : -ENOMEM;
	free(label);
	return r;
}

int policy_sources_add(struct policy_sources *s, const char *domain, struct snapshot *snapshot)
{
	struct gathering g = { s, domain };
	return snapshot_policies(snapshot, add_source, &g);
}

void policy_sources_remove(struct policy_sources *s, size_t at)
{
	free((char *)s->items[at].name);
	free((char *)s->items[at].text);
	s->count--;
	memmove(&s->items[at], &s->items[at + 1], (s->count - at) * sizeof *s->items);
}

void policy_sources_drop(struct policy_sources *s, const char *domain)
{
	for (size_t i = s->count; i-- > 0;)
		if (!strcmp(s->items[i].domain, domain))
			policy_sources_remove(s, i);
}

void policy_sources_free(struct policy_sources *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free((char *)s->items[i].name);
		free((char *)s->items[i].text);
	}
	free(s->items);
	*s = (struct policy_sources){ 0 };
}

/* The counts of quality.json (catalog/quality.h).  One that cannot be read is no result, which counts as failed. */
static bool read_quality(const char *json, struct version_facts *f)
{
	struct doc *d = NULL;
	if (!json || doc_parse("quality.json", json, strlen(json), &d, NULL))
		return false;
	const struct doc_node *root = doc_root(d);
	bool all = !doc_int(doc_get(root, "failed_errors"), &f->failed_errors) && !doc_int(doc_get(root, "failed_warnings"), &f->failed_warnings) &&
		   !doc_double(doc_get(root, "score"), &f->quality_score);
	doc_free(d);
	return all;
}

void version_facts_of(const char *domain, const char *product, const struct version_info *info, struct contract *contract,
		      struct version_facts *ret)
{
	*ret = (struct version_facts){ .domain = domain,
				       .product = product,
				       .version = info->version,
				       .contract = contract,
				       .published_ns = info->published_ns };
	ret->has_quality = read_quality(info->quality_json, ret);
}
