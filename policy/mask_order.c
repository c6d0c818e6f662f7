/* Masks as values: their text, and which of two is stricter. */
#include "policy/transform.h"

#include <string.h>

static const char *const names[] = { "drop", "null", "redact", "hmac", "year", "month", "zip3", "round", "top", "scrub", "partial", "keep" };

const char *mask_kind_name(enum mask_kind kind)
{
	return names[kind];
}

bool mask_equal(const struct mask *a, const struct mask *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case MASK_REDACT:
		return a->keep_length == b->keep_length;
	case MASK_HMAC:
		return !strcmp(a->key, b->key);
	case MASK_ROUND:
	case MASK_TOP:
		return a->number == b->number;
	case MASK_PARTIAL:
		return a->number == b->number && a->last == b->last;
	case MASK_SCRUB:
		return a->entities == b->entities;
	default:
		return true;
	}
}

void mask_text(const struct mask *m, struct buf *ret)
{
	static const char *const entities[] = { "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "URL" };
	buf_adds(ret, names[m->kind]);
	switch (m->kind) {
	case MASK_REDACT:
		if (m->keep_length)
			buf_adds(ret, " keep length");
		break;
	case MASK_HMAC:
		buf_addf(ret, " key %s", m->key);
		break;
	case MASK_ROUND:
	case MASK_TOP:
		buf_addf(ret, " %.15g", m->number);
		break;
	case MASK_PARTIAL:
		buf_addf(ret, " %s %.0f", m->last ? "last" : "first", m->number);
		break;
	case MASK_SCRUB:
		for (int i = 0; m->entities != SCRUB_ALL && i < 7; i++)
			if (m->entities >> i & 1)
				buf_addf(ret, " %s", entities[i]);
		break;
	default:
		break;
	}
}

void mask_words(const struct mask *m, struct buf *ret)
{
	static const char *const words[] = {
		"not there", "emptied", "a constant in its place", "a keyed token in its place, the same for the same value", "only the year", "only the year and month",
		"only the first three digits, none where few people live", "rounded to multiples of", "for everything above it",
		"what identifies people in the text is replaced by its kind", "only the", "as it is",
	};
	if (m->kind == MASK_TOP)
		buf_addf(ret, "%.15g %s", m->number, words[m->kind]);
	else if (m->kind == MASK_PARTIAL)
		buf_addf(ret, "%s %s %.0f %s", words[m->kind], m->last ? "last" : "first", m->number, m->number == 1 ? "character" : "characters");
	else if (m->kind == MASK_REDACT && m->keep_length)
		buf_adds(ret, "as many stars as it has characters");
	else
		buf_adds(ret, words[m->kind]);
	if (m->kind == MASK_ROUND)
		buf_addf(ret, " %.15g", m->number);
}

/*
 * Which is stricter: -1 a, 1 b, 0 neither.  The language lists kinds strictest first; within and between generalisations two masks are
 * ordered only when what one shows follows from what the other shows.
 */
static int order(const struct mask *a, const struct mask *b)
{
	bool a_general = a->kind >= MASK_YEAR && a->kind <= MASK_TOP, b_general = b->kind >= MASK_YEAR && b->kind <= MASK_TOP;
	if (a->kind == b->kind) {
		switch (a->kind) {
		case MASK_REDACT:
			return a->keep_length ? 1 : -1;
		case MASK_TOP:
			return a->number < b->number ? -1 : 1;
		case MASK_PARTIAL:
			return a->last != b->last ? 0 : a->number < b->number ? -1 : 1;
		case MASK_SCRUB:
			return (a->entities & b->entities) == b->entities ? -1 : (a->entities & b->entities) == a->entities ? 1 : 0;
		default:
			return 0;
		}
	}
	if (a_general && b_general) {
		if (a->kind == MASK_YEAR && b->kind == MASK_MONTH)
			return -1;
		return a->kind == MASK_MONTH && b->kind == MASK_YEAR ? 1 : 0;
	}
	if ((a->kind == MASK_SCRUB && (b_general || b->kind == MASK_PARTIAL)) || (b->kind == MASK_SCRUB && (a_general || a->kind == MASK_PARTIAL)))
		return 0;
	return a->kind < b->kind ? -1 : 1;
}

/*
 * Two that cannot be ordered give null, and a third cannot undo that: else a mask more (hmac beside year and zip3) would show more.  Only
 * drop is stricter still.
 */
void mask_strictest(const struct mask *list, size_t count, struct mask *ret)
{
	struct mask m = { .kind = MASK_KEEP };
	for (size_t i = 0; i < count; i++)
		if (list[i].kind < m.kind || (list[i].kind == m.kind && !mask_equal(&list[i], &m) && order(&list[i], &m) < 0))
			m = list[i];
	for (size_t i = 0; i < count && m.kind > MASK_NULL; i++)
		for (size_t k = 0; k < i; k++)
			if (!mask_equal(&list[i], &list[k]) && !order(&list[i], &list[k]))
				m = (struct mask){ .kind = MASK_NULL };
	*ret = m;
}

void mask_combine(const struct mask *a, const struct mask *b, struct mask *ret)
{
	struct mask both[] = { *a, *b };
	mask_strictest(both, 2, ret);
}
