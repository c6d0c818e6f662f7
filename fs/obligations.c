#include "fs/obligations.h"

#include "catalog/base/clock.h"
#include "catalog/sla.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define YEARS_MAX 1000

/* The moment until which one retention lets data be kept; 0: it is no time. */
static time_t kept_until(const struct doc_node *property, int64_t published_ns)
{
	const char *unit = doc_get_text(property, "unit");
	time_t from = (time_t)(published_ns / NS_PER_S);
	int64_t whole = 0, ns;
	if (sla_duration(property, &ns))
		return 0;
	bool years = !strncasecmp(unit, "y", 1), months = !strncasecmp(unit, "mo", 2);
	struct tm tm;
	if ((!years && !months) || doc_int(doc_get(property, "value"), &whole) || whole > YEARS_MAX || !gmtime_r(&from, &tm))
		return from + (time_t)(ns / NS_PER_S);
	tm.tm_year += years ? (int)whole : 0;
	tm.tm_mon += months ? (int)whole : 0;
	return timegm(&tm);
}

static void read_retention(const struct contract *c, int64_t published_ns, char ret[11])
{
	const struct doc_node *list = doc_get(doc_root(contract_doc(c)), "slaProperties");
	time_t first = 0;
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *name = doc_get_text(doc_item(list, i), "property");
		time_t until = name && !strcmp(name, "retention") ? kept_until(doc_item(list, i), published_ns) : 0;
		if (until && (!first || until < first))
			first = until;
	}
	struct tm tm;
	ret[0] = '\0';
	if (first && gmtime_r(&first, &tm) && !strftime(ret, 11, "%Y-%m-%d", &tm))
		ret[0] = '\0'; /* beyond the year 9999 */
}

static void add_once(struct buf *lines, const char *text)
{
	size_t n = strlen(text);
	for (const char *line = buf_text(lines); *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") == n && !memcmp(line, text, n))
			return;
	if (strchr(text, '\n'))
		return;
	buf_adds(lines, text);
	buf_addc(lines, '\n');
}

int obligations_read(const struct contract *c, int64_t published_ns, struct obligations *ret)
{
	const struct contract_object *objects;
	*ret = (struct obligations){ .categories = BUF_INIT };
	read_retention(c, published_ns, ret->erase_by);
	for (size_t i = 0, n = contract_objects(c, &objects); i < n; i++) {
		for (size_t k = 0; k < objects[i].column_count; k++) {
			const struct contract_column *column = &objects[i].columns[k];
			if (column->classification)
				add_once(&ret->categories, column->classification);
			for (size_t t = 0; t < column->tag_count; t++)
				add_once(&ret->categories, column->tags[t]);
		}
	}
	int r = buf_check(&ret->categories);
	if (r)
		obligations_fini(ret);
	return r;
}

void obligations_fini(struct obligations *o)
{
	buf_free(&o->categories);
	*o = (struct obligations){ .categories = BUF_INIT };
}
