#include "policy/transform.h"

#include "policy/expr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int order_actions(const void *a, const void *b)
{
	return strcmp(((const struct column_action *)a)->column, ((const struct column_action *)b)->column);
}

/* Is there an action on a column that `name` stands in? */
static bool is_covered(const struct column_action *actions, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(actions[i].column);
		if (actions[i].mask.kind != MASK_KEEP && !strncmp(name, actions[i].column, n) && name[n] == '.')
			return true;
	}
	return false;
}

static bool is_below(const char *name, const char *path)
{
	size_t n = strlen(path);
	return !strncmp(name, path, n) && name[n] == '.';
}

/* An object under the mask of a value gives null anyway.  A text in its place may hold what should stand in its members: the strictest of what is
 * said of any of them is done to it. */
static bool tighten(const struct transform *t, const struct column_action *actions, size_t count, struct column_action *a)
{
	struct mask *list = malloc((count + 2) * sizeof *list);
	size_t n = 0;
	bool members = false;
	if (!list)
		return false;
	list[n++] = a->mask;
	for (size_t i = 0; i < count; i++)
		if (actions[i].mask.kind != MASK_KEEP && is_below(actions[i].column, a->column))
			list[n++] = actions[i].mask;
	for (size_t i = 0; t->object && i < t->object->column_count && !members; i++)
		members = is_below(t->object->columns[i].name, a->column);
	if (members && t->unnamed.kind != MASK_KEEP)
		list[n++] = t->unnamed;
	for (size_t i = 0; i < n; i++)
		if (list[i].kind == MASK_DROP) /* of a member: the column itself stays */
			list[i].kind = MASK_NULL;
	mask_strictest(list, n, &a->mask);
	free(list);
	return true;
}

static bool copy_actions(struct transform *t, const struct column_action *actions, size_t count)
{
	t->actions = calloc(count + 1, sizeof *t->actions);
	if (!t->actions)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (actions[i].mask.kind == MASK_KEEP || is_covered(actions, count, actions[i].column))
			continue;
		struct column_action *a = &t->actions[t->action_count];
		a->mask = actions[i].mask;
		a->column = strdup(actions[i].column);
		if (!a->column)
			return false;
		t->action_count++;
		if (a->mask.kind > MASK_NULL && !tighten(t, actions, count, a))
			return false;
	}
	if (t->action_count)
		qsort(t->actions, t->action_count, sizeof *t->actions, order_actions);
	return true;
}

static void quote(struct buf *b, const char *text)
{
	buf_addc(b, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *text);
	}
	buf_addc(b, '"');
}

/* What the contract says of the file's columns shapes the view too: types, names, whether there is a header. */
static void object_text(const struct contract_object *o, struct buf *b)
{
	struct buf json = BUF_INIT;
	struct digest d;
	char hex[SHA256_HEX_SIZE];
	if (o->node)
		doc_to_json(o->node, &json);
	for (size_t i = 0; !o->node && i < o->column_count; i++)
		buf_addf(&json, "%s %d\n", o->columns[i].name, (int)o->columns[i].type);
	if (buf_check(&json))
		b->failed = true;
	sha256_of(buf_text(&json), json.len, &d);
	hex_format(d.bytes, sizeof d.bytes, hex);
	buf_addf(b, "object %s\n", hex);
	buf_free(&json);
}

static bool make_text(struct transform *t)
{
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < t->action_count; i++) {
		buf_adds(&b, "column ");
		quote(&b, t->actions[i].column);
		buf_addc(&b, ' ');
		mask_text(&t->actions[i].mask, &b);
		buf_addc(&b, '\n');
	}
	if (t->unnamed.kind != MASK_KEEP) {
		buf_adds(&b, "unnamed ");
		mask_text(&t->unnamed, &b);
		buf_addc(&b, '\n');
	}
	if (t->filter) {
		buf_adds(&b, "rows ");
		expr_text(t->filter, &b);
		buf_addc(&b, '\n');
	}
	if (t->object)
		object_text(t->object, &b);
	t->text = buf_take(&b);
	return t->text != NULL;
}

static void add_fingerprint(struct sha256 *h, const struct mask *m)
{
	if (m->kind == MASK_HMAC)
		sha256_update(h, m->key_fingerprint, sizeof m->key_fingerprint);
}

static bool make_hash(struct transform *t)
{
	struct sha256 *h = sha256_new();
	char head[32];
	if (!h)
		return false;
	int n = snprintf(head, sizeof head, "view %d\n", VIEW_CODE_VERSION);
	sha256_update(h, head, (size_t)n);
	sha256_update(h, t->text, strlen(t->text));
	for (size_t i = 0; i < t->action_count; i++)
		add_fingerprint(h, &t->actions[i].mask);
	add_fingerprint(h, &t->unnamed);
	sha256_final(h, &t->hash);
	sha256_free(h);
	return true;
}

struct transform *transform_new(const struct column_action *actions, size_t count, const struct mask *unnamed, const struct expr *filter,
				struct contract *contract, const struct contract_object *object)
{
	struct transform *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->refs = 1;
	t->unnamed = *unnamed;
	t->contract = contract ? contract_ref(contract) : NULL;
	t->object = object;
	if (!copy_actions(t, actions, count) || (filter && !(t->filter = expr_copy(filter))) || !make_text(t) || !make_hash(t)) {
		transform_unref(t);
		return NULL;
	}
	return t;
}

struct transform *transform_ref(struct transform *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void transform_unref(struct transform *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < t->action_count; i++)
		free(t->actions[i].column);
	free(t->actions);
	expr_free(t->filter);
	contract_unref(t->contract);
	free(t->text);
	free(t);
}

static void summary_list(const struct transform *t, bool drops, struct buf *ret, bool *any)
{
	bool first = true;
	for (size_t i = 0; i < t->action_count; i++) {
		const struct column_action *a = &t->actions[i];
		if ((a->mask.kind == MASK_DROP) != drops)
			continue;
		buf_adds(ret, first ? (*any ? "; " : "") : ", ");
		if (first)
			buf_adds(ret, drops ? "drops " : "masks ");
		buf_adds(ret, a->column);
		if (!drops) {
			buf_adds(ret, " (");
			mask_text(&a->mask, ret);
			buf_addc(ret, ')');
		}
		first = false;
		*any = true;
	}
}

void transform_summary(const struct transform *t, struct buf *ret)
{
	bool any = false;
	summary_list(t, true, ret, &any);
	summary_list(t, false, ret, &any);
	if (t->unnamed.kind != MASK_KEEP) {
		buf_adds(ret, any ? "; columns that the contract does not name: " : "columns that the contract does not name: ");
		mask_text(&t->unnamed, ret);
		any = true;
	}
	if (t->filter) {
		buf_adds(ret, any ? "; rows where " : "rows where ");
		expr_words(t->filter, ret);
	}
}
