/* Single values against logicalType and logicalTypeOptions; counts against operators. */
#include "catalog/quality_check.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool time_of_day(const char *t, size_t n, int64_t *ret_ns)
{
	char copy[80] = "1970-01-01T";
	if (n < 5 || n > 60)
		return false;
	memcpy(copy + 11, t, n);
	return clock_parse_text(copy, n + 11, ret_ns) == 0;
}

bool check_moment(const struct check *c, struct cell *v, int64_t *ret_ns)
{
	if (c->dates && v->kind != VALUE_MOMENT)
		return date_format_read(c->dates, v->text, v->len, ret_ns);
	return c->type == TYPE_TIME ? time_of_day(v->text, v->len, ret_ns) : cell_moment(v, ret_ns);
}

/* Of what has a type: a timestamp at midnight is as good as a date (pandas knows no other). */
static bool is_whole_day(int64_t ns)
{
	return ns == INT64_MIN || ns == INT64_MAX || ns % (86400 * NS_PER_S) == 0;
}

static bool equal_any_case(const char *t, size_t n, const char *word)
{
	return strlen(word) == n && strncasecmp(t, word, n) == 0;
}

static bool item_is_right(void *arg, struct cell *item)
{
	struct check *c = arg;
	if (item->kind == VALUE_NULL || c->kind == CHECK_NULL)
		return c->kind != CHECK_NULL || item->kind != VALUE_NULL;
	uint64_t wrong = 0;
	check_values(c, item, 1, &wrong, 1);
	return !wrong;
}

/* `r`: 1 right, 0 wrong, or -errno. */
static bool judged(struct check *c, int r)
{
	if (r == -ENOMEM)
		atomic_store(&c->no_memory, true);
	return r == 1;
}

/* Another check says of what is no array, or no object, that it is none. */
static bool is_container(struct check *c, const struct cell *v, enum value_kind kind)
{
	if (!c->container && !c->item)
		return v->kind == kind;
	if (v->kind != kind)
		return true;
	const int r = c->item ? container_each(v, item_is_right, c->item) : container_fits(c->container, v);
	return judged(c->item ? c->item : c, r);
}

static bool has_type(struct check *c, struct cell *v)
{
	const char *t = v->text;
	const size_t n = v->len;
	int64_t ns;
	double number;
	switch (c->type) {
	case TYPE_NONE:
		return true;
	case TYPE_STRING:
		return v->kind == VALUE_TEXT;
	case TYPE_INTEGER:
		if (c->integers)
			return integer_form_fits(c->integers, v);
		return cell_is_integer(v) || (v->kind == VALUE_NUMBER && cell_number(v, &number) && number == floor(number));
	case TYPE_NUMBER:
		return cell_is_number(v) && v->kind != VALUE_BOOL;
	case TYPE_BOOLEAN:
		return v->kind == VALUE_BOOL || (v->kind == VALUE_TEXT && (equal_any_case(t, n, "true") || equal_any_case(t, n, "false")));
	case TYPE_DATE:
		return (v->kind == VALUE_MOMENT || c->dates || n == 10) && check_moment(c, v, &ns) && (v->kind != VALUE_MOMENT || is_whole_day(ns));
	case TYPE_TIMESTAMP:
	case TYPE_TIME:
		return check_moment(c, v, &ns);
	case TYPE_OBJECT:
		return is_container(c, v, VALUE_OBJECT);
	case TYPE_ARRAY:
		return is_container(c, v, VALUE_ARRAY);
	}
	return false;
}

static size_t characters(const char *t, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)t[i] & 0xc0) != 0x80;
	return count;
}

static bool all_in(const char *t, size_t n, const char *set)
{
	for (size_t i = 0; i < n; i++)
		if (!t[i] || !strchr(set, t[i]))
			return false;
	return n > 0;
}

static bool is_ipv4(const char *t, size_t n)
{
	for (size_t i = 0, parts = 1; i < n; i++, parts++) {
		unsigned v = 0, digits = 0;
		for (; i < n && isdigit((unsigned char)t[i]) && digits < 4; i++, digits++)
			v = v * 10 + (unsigned)(t[i] - '0');
		if (!digits || digits > 3 || v > 255)
			return false;
		if (i == n)
			return parts == 4;
		if (t[i] != '.')
			return false;
	}
	return false;
}

static bool is_uuid(const char *t, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? t[i] != '-' : !isxdigit((unsigned char)t[i]))
			return false;
	}
	return true;
}

static bool is_email(const char *t, size_t n)
{
	const char *at = memchr(t, '@', n);
	if (!at || at == t || memchr(t, ' ', n))
		return false;
	const char *domain = at + 1, *dot = memrchr(domain, '.', (size_t)(t + n - domain));
	return dot && dot > domain && dot + 1 < t + n && !memchr(domain, '@', (size_t)(t + n - domain));
}

static bool is_hostname(const char *t, size_t n)
{
	return n <= 253 && n && t[0] != '-' && t[0] != '.' &&
	       all_in(t, n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
}

static bool is_uri(const char *t, size_t n)
{
	const char *colon = memchr(t, ':', n);
	return colon && colon > t && isalpha((unsigned char)*t) && !memchr(t, ' ', n) && colon + 1 < t + n;
}

static bool is_ipv6(const char *t, size_t n)
{
	return n >= 2 && memchr(t, ':', n) && all_in(t, n, "0123456789abcdefABCDEF:.");
}

value_judge *check_format(const char *name)
{
	static const struct {
		const char *name;
		value_judge *judge;
	} known[] = { { "email", is_email }, { "uuid", is_uuid }, { "ipv4", is_ipv4 }, { "ipv6", is_ipv6 }, { "hostname", is_hostname }, { "uri", is_uri } };
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (!strcmp(name, known[i].name))
			return known[i].judge;
	return NULL;
}

static bool in_range(const struct check *c, struct cell *v)
{
	if (c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP || c->type == TYPE_TIME) {
		int64_t ns;
		if (!check_moment(c, v, &ns))
			return false;
		return (!c->has_low || (c->low_exclusive ? ns > c->low_ns : ns >= c->low_ns)) &&
		       (!c->has_high || (c->high_exclusive ? ns < c->high_ns : ns <= c->high_ns));
	}
	double n;
	if (!cell_number(v, &n))
		return false;
	return (!c->has_low || (c->low_exclusive ? n > c->low : n >= c->low)) &&
	       (!c->has_high || (c->high_exclusive ? n < c->high : n <= c->high));
}

static bool has_length(const struct check *c, const char *t, size_t n)
{
	if (!c->has_low && (double)n <= c->high) /* a character has a byte at least */
		return true;
	const double count = (double)characters(t, n);
	return (!c->has_low || count >= c->low) && (!c->has_high || count <= c->high);
}

int word_set_init(struct word_set *s, const struct doc_node *list)
{
	double number;
	s->words = calloc(doc_count(list) ? doc_count(list) : 1, sizeof *s->words);
	if (!s->words)
		return -ENOMEM;
	if (doc_count(list) > WORD_SET_PLAIN_MAX && !(s->map = map_new()))
		return -ENOMEM;
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *text = doc_text(doc_item(list, i));
		if (!text)
			continue;
		s->words[s->count].text = text;
		s->words[s->count].len = strlen(text);
		s->words[s->count].number = doc_double(doc_item(list, i), &number) ? NAN : number;
		if (s->map && map_set(s->map, text, strlen(text), &s->words[s->count], NULL))
			return -ENOMEM;
		s->count++;
	}
	return 0;
}

void word_set_fini(struct word_set *s)
{
	map_free(s->map, NULL);
	free(s->words);
}

bool word_set_has(const struct word_set *s, const char *text, size_t len)
{
	if (s->map)
		return map_get(s->map, text, len) != NULL;
	for (size_t i = 0; i < s->count; i++)
		if (s->words[i].len == len && !memcmp(s->words[i].text, text, len))
			return true;
	return false;
}

bool word_set_has_cell(const struct word_set *s, struct cell *v, enum logical_type type)
{
	double number;
	if (word_set_has(s, v->text, v->len))
		return true;
	if ((type != TYPE_INTEGER && type != TYPE_NUMBER) || !cell_number(v, &number))
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (s->words[i].number == number)
			return true;
	return false;
}

static inline __attribute__((always_inline)) bool is_right(struct check *c, enum check_kind kind, struct cell *v)
{
	double number;
	if (kind == CHECK_TYPE)
		return has_type(c, v);
	if (v->kind == VALUE_OBJECT || v->kind == VALUE_ARRAY)
		return true; /* the other checks are of scalars */
	switch (kind) {
	case CHECK_LENGTH:
		return has_length(c, v->text, v->len);
	case CHECK_PATTERN:
		return judged(c, pattern_match(c->pattern, v->text, v->len));
	case CHECK_FORMAT:
		return c->judge(v->text, v->len);
	case CHECK_RANGE:
	case CHECK_FRESH:
		return in_range(c, v);
	case CHECK_MULTIPLE: {
		if (!cell_number(v, &number))
			return false;
		double ratio = number / c->low;
		return fabs(ratio - round(ratio)) < 1e-9 * fmax(1, fabs(ratio));
	}
	case CHECK_VALUES:
		return word_set_has_cell(&c->words, v, c->type);
	default:
		return true;
	}
}

static inline __attribute__((always_inline)) void each_value(struct check *c, enum check_kind kind, struct cell *values, size_t count, uint64_t *wrong, uint64_t bit)
{
	for (size_t i = 0; i < count; i++)
		if (is_right(c, kind, &values[i]) == (kind == CHECK_FRESH)) /* that one counts what is right */
			wrong[i] |= bit;
}

/* One loop for each kind, so that a value does not choose among them. */
void check_values(struct check *c, struct cell *values, size_t count, uint64_t *wrong, uint64_t bit)
{
	switch (c->kind) {
	case CHECK_TYPE:
		each_value(c, CHECK_TYPE, values, count, wrong, bit);
		break;
	case CHECK_LENGTH:
		each_value(c, CHECK_LENGTH, values, count, wrong, bit);
		break;
	case CHECK_PATTERN:
		each_value(c, CHECK_PATTERN, values, count, wrong, bit);
		break;
	case CHECK_FORMAT:
		each_value(c, CHECK_FORMAT, values, count, wrong, bit);
		break;
	case CHECK_RANGE:
		each_value(c, CHECK_RANGE, values, count, wrong, bit);
		break;
	case CHECK_FRESH:
		each_value(c, CHECK_FRESH, values, count, wrong, bit);
		break;
	case CHECK_MULTIPLE:
		each_value(c, CHECK_MULTIPLE, values, count, wrong, bit);
		break;
	case CHECK_VALUES:
		each_value(c, CHECK_VALUES, values, count, wrong, bit);
		break;
	default: /* of no single value */
		break;
	}
}

bool check_compare(const struct check *c, double v)
{
	switch (c->comparison) {
	case MUST_BE:
		return v == c->wanted;
	case MUST_NOT_BE:
		return v != c->wanted;
	case MUST_EXCEED:
		return v > c->wanted;
	case MUST_REACH:
		return v >= c->wanted;
	case MUST_UNDERCUT:
		return v < c->wanted;
	case MUST_NOT_EXCEED:
		return v <= c->wanted;
	case MUST_LIE_BETWEEN:
		return v >= c->wanted && v <= c->wanted_high;
	case MUST_NOT_LIE_BETWEEN:
		return v < c->wanted || v > c->wanted_high;
	}
	return false;
}

void check_expected(const struct check *c, struct buf *out)
{
	static const char *const words[] = { "must be",	     "must not be",	 "must be greater than", "must be at least",
					     "must be less than", "must be at most", "must be between",	     "must not be between" };
	buf_addf(out, "%s %g", words[c->comparison], c->wanted);
	if (c->comparison >= MUST_LIE_BETWEEN)
		buf_addf(out, " and %g", c->wanted_high);
	if (c->percent)
		buf_adds(out, " percent");
	if (c->counted) /* what is told of a passed check too */
		buf_addf(out, " %s", c->counted);
}

static const char *type_words(enum logical_type t)
{
	static const char *const words[] = {
		[TYPE_STRING] = "texts", [TYPE_INTEGER] = "integers", [TYPE_NUMBER] = "numbers", [TYPE_BOOLEAN] = "booleans", [TYPE_DATE] = "dates",
		[TYPE_TIMESTAMP] = "timestamps", [TYPE_TIME] = "times", [TYPE_OBJECT] = "objects", [TYPE_ARRAY] = "arrays",
	};
	return (size_t)t < sizeof words / sizeof *words && words[t] ? words[t] : "of its type";
}

void check_counted(const struct check *c, struct buf *out)
{
	static const char *const words[] = {
		[CHECK_LENGTH] = "values of a wrong length", [CHECK_PATTERN] = "values that do not match the pattern",
		[CHECK_RANGE] = "values out of range", [CHECK_FRESH] = "values as new as wanted", [CHECK_MULTIPLE] = "values that are no multiple",
		[CHECK_VALUES] = "values that are not among the valid ones", [CHECK_NULL] = "records without a value",
		[CHECK_MISSING] = "records whose value is missing", [CHECK_DISTINCT] = "repetitions of a value",
		[CHECK_BROKEN] = "records that do not parse", [CHECK_ABSENT] = "columns that a file lacks",
		[CHECK_UNKNOWN] = "columns that are not declared", [CHECK_ROWS] = "rows",
		[CHECK_ENCODING] = "files that are not UTF-8",
		[CHECK_CLAIMS] = "files that another table describes too",
		[CHECK_REPEATED] = "columns that a head names more than once",
	};
	if (c->counted) /* check_expected says it */
		return;
	if (c->kind == CHECK_TYPE)
		buf_addf(out, "values that are no %s", type_words(c->type));
	else if (c->kind == CHECK_FORMAT)
		buf_addf(out, "values that are no %s", c->format ? c->format : "such text");
	else if (c->kind == CHECK_DISTINCT && (c->column < 0 || c->columns))
		buf_adds(out, "repetitions of a key");
	else if ((size_t)c->kind < sizeof words / sizeof *words && words[c->kind])
		buf_adds(out, words[c->kind]);
}

void check_offender(struct check *c, const char *file, uint64_t row)
{
	pthread_mutex_lock(&c->lock);
	if (c->offender_count < QUALITY_OFFENDERS_MAX) {
		char *copy = strdup(file);
		if (copy)
			c->offenders[c->offender_count++] = (struct offender){ copy, row };
	}
	pthread_mutex_unlock(&c->lock);
}

void check_name(struct check *c, const char *column, size_t len)
{
	enum { LONGEST = 300 };
	char *safe = text_printable(column, len < 80 ? len : 80);
	pthread_mutex_lock(&c->lock);
	if (safe && c->names.len < LONGEST && !strstr(buf_text(&c->names), safe))
		buf_addf(&c->names, "%s%s", c->names.len ? ", " : "", safe);
	pthread_mutex_unlock(&c->lock);
	free(safe);
}
