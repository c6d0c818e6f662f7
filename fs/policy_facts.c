#include "fs/policy_facts.h"

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

void version_facts_of(const char *domain, const char *product, const struct version_info *info, struct contract *contract,
		      struct version_facts *ret)
{
	*ret = (struct version_facts){ .domain = domain,
				       .product = product,
				       .version = info->version,
				       .contract = contract,
				       .published_ns = info->published_ns };
}

/* Results that cannot be read are no results, which count as failed. */
void version_facts_check(const struct policy *policy, struct snapshot *snapshot, const struct version_info *info, struct version_facts *f)
{
	struct version_checks c;
	if (!snapshot || !info->checked || (policy && !policy_asks_checks(policy)) || snapshot_checks(snapshot, f->product, &info->number, &c))
		return;
	f->has_quality = true;
	f->failed_errors = c.failed_errors;
	f->failed_warnings = c.failed_warnings;
	f->quality_score = c.score;
}
