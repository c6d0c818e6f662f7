#include "catalog/sla.h"

#include <string.h>
#include <strings.h>

#define DAY_NS (86400 * NS_PER_S)

const char *sla_duration(const struct doc_node *property, int64_t *ret_ns)
{
	static const struct {
		const char *names[5];
		int64_t ns;
	} units[] = {
		{ { "s", "sec", "second", "seconds" }, NS_PER_S },
		{ { "min", "minute", "minutes" }, 60 * NS_PER_S },
		{ { "h", "hr", "hour", "hours" }, 3600 * NS_PER_S },
		{ { "d", "day", "days" }, DAY_NS },
		{ { "w", "week", "weeks" }, 7 * DAY_NS },
		{ { "mo", "month", "months" }, 31 * DAY_NS },
		{ { "y", "yr", "year", "years" }, 366 * DAY_NS },
	};
	const char *unit = doc_get_text(property, "unit");
	double value;
	if (doc_double(doc_get(property, "value"), &value) || !(value >= 0))
		return "its value is no number of 0 or more";
	if (!unit)
		return "it has no unit";
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		for (size_t k = 0; k < 5 && units[i].names[k]; k++)
			if (!strcasecmp(unit, units[i].names[k])) {
				if (value > (double)(INT64_MAX / 2 / units[i].ns))
					return "it is longer than a time can be";
				*ret_ns = (int64_t)(value * (double)units[i].ns);
				return NULL;
			}
	return "its unit is none of s, min, h, d, w, month, y";
}

bool sla_frequency(const struct contract *c, int64_t *ret_ns)
{
	const struct doc_node *list = doc_get(doc_root(contract_doc(c)), "slaProperties");
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *name = doc_get_text(doc_item(list, i), "property");
		if (name && !strcmp(name, "frequency") && !sla_duration(doc_item(list, i), ret_ns) && *ret_ns > 0)
			return true;
	}
	return false;
}

const char *sla_element(const struct contract *c, const struct doc_node *property)
{
	const char *element = doc_get_text(property, "element");
	return element ? element : doc_get_text(doc_root(contract_doc(c)), "slaDefaultElement");
}
