#include "policy/scrub.h"

#include "catalog/entity.h"

struct scrubbing {
	const char *text;
	size_t kept; /* up to here the text is in `out` */
	struct buf *out;
};

static void replace(void *arg, unsigned entity, size_t start, size_t len)
{
	struct scrubbing *s = arg;
	buf_add(s->out, s->text + s->kept, start - s->kept);
	buf_addf(s->out, "<%s>", entity_name(entity));
	s->kept = start + len;
}

void scrub_text(unsigned entities, const char *text, size_t len, struct buf *ret)
{
	struct scrubbing s = { text, 0, ret };
	entity_find(entities, text, len, replace, &s);
	buf_add(ret, text + s.kept, len - s.kept);
}
