/* Changes that hold whatever the checks found, or for several of their results, in one line. */
#include "policy/diff_internal.h"

#include <stdio.h>
#include <string.h>

static void part(struct buf *ret, size_t start, const char *text)
{
	buf_adds(ret, ret->len > start ? " and " : "");
	buf_adds(ret, text);
}

static void quality_words(const struct quality *q, struct buf *ret)
{
	size_t start = ret->len;
	char text[64];
	if (!q->has) {
		buf_adds(ret, "unknown");
		return;
	}
	if (q->errors) {
		snprintf(text, sizeof text, "%lld error%s", (long long)q->errors, q->errors == 1 ? "" : "s");
		part(ret, start, text);
	}
	if (q->warnings) {
		snprintf(text, sizeof text, "%lld warning%s", (long long)q->warnings, q->warnings == 1 ? "" : "s");
		part(ret, start, text);
	}
	if (q->score < 1) {
		snprintf(text, sizeof text, "score %.3g", q->score);
		part(ret, start, text);
	}
	if (ret->len == start)
		buf_adds(ret, "good");
}

/* The state of the product, and the results of checks in it: none is named where only the good one is meant. */
static int set_facts(struct diff *x, struct found *f, const bool *holds)
{
	struct buf b = BUF_INIT;
	size_t count = 0, said = 0;
	for (size_t i = 0; i < x->quality_count; i++)
		count += holds[i];
	buf_adds(&b, f->c.facts);
	if (!(count == 1 && holds[0]) && x->quality_count > 1)
		buf_adds(&b, b.len ? ", " : "");
	if (count == x->quality_count && count > 1)
		buf_adds(&b, "any quality");
	else if (!(count == 1 && holds[0]))
		for (size_t i = 0; i < x->quality_count; i++)
			if (holds[i]) {
				buf_adds(&b, said++ ? " or " : "quality ");
				quality_words(&x->qualities[i], &b);
			}
	f->c.facts = buf_check(&b) ? NULL : arena_text(&x->atoms.arena, buf_text(&b), b.len);
	buf_free(&b);
	return f->c.facts ? 0 : diff_no_memory(x);
}

static int first_like(struct diff *x, struct map *firsts, size_t i, size_t *ret)
{
	const struct found *f = &x->found[i];
	struct buf key = BUF_INIT;
	buf_addf(&key, "%d|%s|%s|%s|%s|%s|%s|%u|%llx", f->c.loosened, f->c.product, f->c.facts, f->c.what, f->c.before, f->c.after, f->c.subject,
		 f->c.subjects, (unsigned long long)f->asked);
	size_t at = (size_t)(uintptr_t)map_gets(firsts, buf_text(&key));
	int r = buf_check(&key);
	if (!r && !at)
		r = map_sets(firsts, buf_text(&key), (void *)(uintptr_t)(i + 1));
	buf_free(&key);
	*ret = at ? at - 1 : i;
	return r ? diff_no_memory(x) : 0;
}

int diff_fold(struct diff *x)
{
	struct map *firsts = map_new();
	bool *holds = arena_alloc(&x->atoms.arena, x->found_count * x->quality_count + 1);
	int r = firsts && holds ? 0 : diff_no_memory(x);
	if (!r)
		memset(holds, 0, x->found_count * x->quality_count);
	for (size_t i = 0; i < x->found_count && !r; i++) {
		size_t first;
		r = first_like(x, firsts, i, &first);
		if (r)
			break;
		x->found[i].folded = first != i;
		holds[first * x->quality_count + x->found[i].quality] = true;
	}
	for (size_t i = 0; i < x->found_count && !r; i++)
		if (!x->found[i].folded)
			r = set_facts(x, &x->found[i], &holds[i * x->quality_count]);
	map_free(firsts, NULL);
	return r;
}
