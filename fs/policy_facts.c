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

static int add_source(void *arg, const char *name, const char *text, size_t len)
{
	struct gathering *g = arg;
	struct policy_sources *s = g->sources;
	struct policy_source *more = realloc(s->items, (s->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	s->items = more;
	char *label = text_format("%s:%s", g->domain, name), *copy = malloc(len + 1);
	if (!label || !copy) {
		free(label);
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	s->items[s->count++] = (struct policy_source){ .name = label, .text = copy, .len = len, .domain = g->domain };
	return 0;
}

int policy_sources_add(struct policy_sources *s, const char *domain, struct snapshot *snapshot)
{
	struct gathering g = { s, domain };
	return snapshot_policies(snapshot, add_source, &g);
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
