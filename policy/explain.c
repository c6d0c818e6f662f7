/* Decisions in words, and the contract as the subject may see it. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "policy/decide_internal.h"
#include "policy/explain.h"
#include "policy/view.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- one rule in words ---------------------------------------------------------------- */

static void names_words(const char **names, size_t count, struct buf *ret)
{
	for (size_t i = 0; i < count; i++)
		buf_addf(ret, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
}

static void selector_words(const struct rule *r, struct buf *ret)
{
	for (size_t i = 0; i < r->selector_count; i++) {
		const struct selector *s = &r->selectors[i];
		buf_adds(ret, i ? ", and " : "");
		switch (s->kind) {
		case SELECT_NAMED:
			buf_adds(ret, s->count == 1 ? "the column " : "the columns ");
			break;
		case SELECT_TAGGED:
			buf_adds(ret, "columns tagged ");
			break;
		case SELECT_CLASSIFIED:
			buf_adds(ret, "columns classified ");
			break;
		case SELECT_UNCLASSIFIED:
			buf_adds(ret, "columns without a classification");
			break;
		case SELECT_ALL:
			buf_adds(ret, "every column");
			break;
		}
		names_words(s->names, s->count, ret);
	}
}

static void conditions_words(const struct rule *r, struct buf *ret)
{
	for (size_t i = 0; i < r->when_count; i++) {
		buf_adds(ret, i ? " and " : ", when ");
		expr_words(r->when[i], ret);
	}
	for (size_t i = 0; i < r->unless_count; i++) {
		buf_adds(ret, i ? " or " : ", unless ");
		expr_words(r->unless[i], ret);
	}
}

void rule_words(const struct rule *r, struct buf *ret)
{
	switch (r->kind) {
	case RULE_PERMIT:
		buf_adds(ret, r->publish ? "permits publishing" : "permits reading");
		break;
	case RULE_DENY:
		buf_adds(ret, "denies reading");
		break;
	case RULE_HIDE:
		buf_adds(ret, "hides it");
		break;
	case RULE_FILTER:
		buf_adds(ret, "shows only rows where ");
		expr_words(r->rows, ret);
		break;
	case RULE_DROP:
		buf_adds(ret, "leaves out ");
		selector_words(r, ret);
		break;
	case RULE_MASK:
		buf_adds(ret, "masks ");
		selector_words(r, ret);
		buf_adds(ret, " by ");
		mask_text(&r->mask, ret);
		break;
	case RULE_REQUIRE:
		buf_adds(ret, "requires the session to have ");
		for (size_t i = 0; i < r->have_count; i++)
			buf_addf(ret, "%sa %s", i ? " and " : "", attribute_specs[r->have[i]].name);
		break;
	case RULE_EXEMPT:
		buf_adds(ret, "exempts from ");
		names_words(r->from, r->from_count, ret);
		buf_addf(ret, " until %s", r->until_text);
		break;
	}
	conditions_words(r, ret);
	if (r->reason)
		buf_addf(ret, "; \"%s\"", r->reason);
}

static void rule_line(const struct rule *r, const char *mark, struct buf *ret)
{
	buf_addf(ret, "  %s%s ", mark, r->id);
	rule_words(r, ret);
	buf_addf(ret, "\n      %s:%d (policy %s, version %s)\n", r->file->path, r->line, r->file->name, r->file->version);
}

/* -- a version ------------------------------------------------------------------------------ */

static void subject_words(const struct subject *s, struct buf *ret)
{
	buf_addf(ret, "user %s", s->user ? s->user : "unknown");
	for (size_t i = 0; i < s->group_count; i++)
		buf_addf(ret, "%s%s", i ? ", " : s->group_count > 1 ? ", groups " : ", group ", s->groups[i]);
	if (s->purpose)
		buf_addf(ret, ", purpose %s", s->purpose);
	else
		buf_adds(ret, ", no purpose");
	if (s->run)
		buf_addf(ret, ", run %s", s->run);
}

/* What the version's rules may do to any of its files: the strictest view. */
static unsigned char *possible(const struct version_decision *d)
{
	unsigned char *bits = calloc(d->entry_count / 8 + 1, 1);
	for (size_t i = 0; bits && i < d->entry_count; i++) {
		bool lifted = false;
		for (size_t k = 0; k < d->entry_count; k++) {
			const struct entry *x = &d->entries[k];
			lifted |= x->rule->kind == RULE_EXEMPT && x->reach == REACH_ALL && !x->pending && exempt_names(x->rule, d->entries[i].rule);
		}
		if (!lifted)
			bits[i / 8] |= (unsigned char)(1u << (i % 8));
	}
	return bits;
}

/* Is there anything that the exempt lifts? */
static bool lifts_some(const struct version_decision *d, const struct rule *exempt)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (exempt_names(exempt, d->entries[i].rule))
			return true;
	return false;
}

static void mask_line(const struct mask *m, struct buf *ret)
{
	if (m->kind != MASK_DROP) {
		mask_text(m, ret);
		buf_adds(ret, ": ");
	}
	mask_words(m, ret);
	buf_addc(ret, '\n');
}

static void column_words(const struct version_decision *d, const unsigned char *bits, struct buf *ret)
{
	const struct contract_object *objects;
	size_t count = d->facts.contract ? contract_objects(d->facts.contract, &objects) : 0;
	struct mask unnamed;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; !objects[i].document && k < objects[i].column_count; k++) {
			struct mask m;
			if (decide_mask(d, bits, &objects[i].columns[k], &m) || m.kind == MASK_KEEP)
				continue;
			buf_addf(ret, "  %s.%s: ", objects[i].name ? objects[i].name : "", objects[i].columns[k].name);
			mask_line(&m, ret);
		}
	}
	if (count && !decide_mask(d, bits, NULL, &unnamed) && unnamed.kind != MASK_KEEP) {
		buf_adds(ret, "  columns that the contract does not name: ");
		mask_line(&unnamed, ret);
	}
}

void version_decision_explain(struct version_decision *d, struct buf *ret)
{
	static const char *const words[] = { "all of it may be read", "it may be read, as the rules below leave it", "it may not be read",
					     "it is hidden" };
	buf_addf(ret, "%s/%s/%s for ", d->facts.domain, d->facts.product, d->facts.version);
	subject_words(&d->subject, ret);
	buf_addf(ret, ":\n%s.\n", words[version_decision_outcome(d)]);
	if (!d->policy || d->broken) {
		buf_addf(ret, "\n%s%s\n", d->broken ? "The domain's policy does not load: " : "There is no policy: everything is denied.",
			 d->broken ? d->broken : "");
		return;
	}
	unsigned char *bits = possible(d);
	bool permit = false, columns_bound = false;
	buf_adds(ret, "\nRules that made it so:\n");
	for (size_t i = 0; bits && i < d->entry_count; i++) {
		const struct entry *n = &d->entries[i];
		bool some = n->reach == REACH_SOME || n->pending;
		int lacking;
		if (!bit_get(bits, i) || (n->rule->kind == RULE_HIDE && some)) /* what is hidden is not spoken of */
			continue;
		if (n->rule->kind == RULE_EXEMPT && !lifts_some(d, n->rule))
			continue;
		permit |= n->rule->kind == RULE_PERMIT;
		columns_bound |= is_column_rule(n->rule);
		rule_line(n->rule, some ? "(some files) " : "", ret);
		if (n->rule->kind == RULE_REQUIRE && !requirement_met(n->rule, &d->env, &lacking))
			buf_addf(ret, "      this session has no %s\n", attribute_specs[lacking].name);
	}
	if (!permit)
		buf_addf(ret, "  no rule of domain %s permits it: denied by default\n", d->facts.domain);
	if (bits) {
		struct buf columns = BUF_INIT;
		column_words(d, bits, &columns);
		if (columns.len)
			buf_addf(ret, "\nColumns:\n%s", buf_text(&columns));
		buf_free(&columns);
	}
	free(bits);
	if (columns_bound)
		buf_addf(ret, "\nUnder a rule about rows or columns a file is denied %s.\n",
			 d->facts.contract ? "that no table of the contract claims, or whose format cannot be filtered" :
					     "here: the product has no contract that says which columns its files hold");
	if (d->env.now_ns == POLICY_NOW_UNKNOWN)
		buf_adds(ret, "\nThe clock of this machine is wrong: it was set back, or this version was published later than it shows. So the time is not known: rules\n"
			      "that restrict apply, rules that permit and exemptions with a date do not.\n");
	if (d->env.valid_until_ns != INT64_MAX) {
		char when[CLOCK_TEXT_MAX];
		clock_format_ns(d->env.valid_until_ns, when);
		buf_addf(ret, "\nThis holds until %s.\n", when);
	}
	char hex[SHA256_HEX_SIZE];
	hex_format(policy_digest(d->policy)->bytes, SHA256_SIZE, hex);
	buf_addf(ret, "\nPolicy %s\n", hex);
}

/* -- rules by id ---------------------------------------------------------------------------------- */

void version_decision_rules(const struct version_decision *d, const char *ids, int (*each)(void *, const struct explained_rule *), void *arg)
{
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct rule *r = d->entries[i].rule;
		size_t n = strlen(r->id);
		bool found = false;
		for (const char *p = ids; (p = strstr(p, r->id)); p += n)
			found |= (p == ids || p[-1] == ',') && (p[n] == ',' || !p[n]);
		if (!found)
			continue;
		struct buf words = BUF_INIT;
		rule_words(r, &words);
		struct explained_rule x = { r->id, rule_kind_names[r->kind], r->file->path, r->line, buf_text(&words) };
		int stop = each(arg, &x);
		buf_free(&words);
		if (stop)
			return;
	}
}

/* -- the contract ------------------------------------------------------------------------------------ */

struct redaction {
	const struct doc_node **dropped; /* columns, and objects of which no file is told */
	const char **names; /* of what is dropped; of columns the last part of the path */
	size_t count, name_count;
	bool failed;
};

static int drop_node(struct arena *a, struct redaction *r, const struct doc_node *n, const char *name)
{
	const struct doc_node **node = arena_push(a, &r->dropped, &r->count, sizeof *node);
	const char **of = arena_push(a, &r->names, &r->name_count, sizeof *of);
	if (!node || !of)
		return -ENOMEM;
	*node = n;
	*of = name;
	return 0;
}

static bool is_dropped(const struct redaction *r, const struct doc_node *n)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->dropped[i] == n)
			return true;
	return false;
}

static bool is_name_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Does the text of the node speak of a column that is dropped? */
static bool mentions(struct redaction *r, const struct doc_node *n)
{
	struct buf b = BUF_INIT;
	bool found = false;
	doc_to_json(n, &b);
	for (size_t i = 0; i < r->count && !found; i++) {
		size_t len = strlen(r->names[i]);
		for (const char *p = buf_text(&b); len && (p = strcasestr(p, r->names[i])) && !found; p++)
			found = (p == buf_text(&b) || !is_name_byte(p[-1])) && !is_name_byte(p[len]);
	}
	if (buf_check(&b))
		r->failed = found = true;
	buf_free(&b);
	return found;
}

static bool skips_items(const char *key)
{
	return !strcmp(key, "quality") || !strcmp(key, "relationships") || !strcmp(key, "slaProperties");
}

static void write_node(struct redaction *r, const struct doc_node *n, const char *key, int depth, struct buf *ret);

static void indent(int depth, struct buf *ret)
{
	for (int i = 0; i < depth; i++)
		buf_adds(ret, "  ");
}

static bool keeps_item(struct redaction *r, const struct doc_node *item, const char *key)
{
	return !is_dropped(r, item) && !(skips_items(key) && mentions(r, item));
}

static void write_list(struct redaction *r, const struct doc_node *n, const char *key, int depth, struct buf *ret)
{
	size_t kept = 0;
	for (size_t i = 0; i < doc_count(n); i++)
		kept += keeps_item(r, doc_item(n, i), key);
	if (!kept) {
		buf_adds(ret, " []\n");
		return;
	}
	buf_addc(ret, '\n');
	for (size_t i = 0; i < doc_count(n); i++) {
		if (!keeps_item(r, doc_item(n, i), key))
			continue;
		indent(depth, ret);
		buf_addc(ret, '-');
		write_node(r, doc_item(n, i), key, depth + 1, ret);
	}
}

static void write_map(struct redaction *r, const struct doc_node *n, int depth, struct buf *ret)
{
	size_t kept = 0;
	for (size_t i = 0; i < doc_count(n); i++)
		kept += strcmp(doc_key(n, i), "examples") != 0;
	if (!kept) {
		buf_adds(ret, " {}\n");
		return;
	}
	buf_addc(ret, '\n');
	for (size_t i = 0; i < doc_count(n); i++) {
		const char *key = doc_key(n, i);
		if (!strcmp(key, "examples"))
			continue;
		indent(depth, ret);
		struct json j;
		json_start(&j, ret);
		json_text(&j, key);
		buf_addc(ret, ':');
		write_node(r, doc_item(n, i), key, depth + 1, ret);
	}
}

static void write_node(struct redaction *r, const struct doc_node *n, const char *key, int depth, struct buf *ret)
{
	switch (doc_kind(n)) {
	case DOC_MAP:
		write_map(r, n, depth, ret);
		break;
	case DOC_LIST:
		write_list(r, n, key, depth, ret);
		break;
	default:
		buf_addc(ret, ' ');
		doc_to_json(n, ret);
		buf_addc(ret, '\n');
	}
}

/* Are the files that the object names hidden?  A glob is asked for as if it were a path: what hides `private` hides what is said of `private/` and a star. */
static int is_hidden(struct version_decision *d, const struct contract_object *o, bool *ret)
{
	struct file_facts f = { .path = o->files, .format = o->files ? view_format(o->files) : NULL };
	struct file_decision decision;
	*ret = false;
	if (!o->files)
		return 0;
	int r = version_decision_file(d, &f, &decision, NULL);
	*ret = !r && decision.outcome == OUTCOME_HIDE;
	file_decision_fini(&decision);
	return r;
}

static int find_dropped(struct version_decision *d, const unsigned char *bits, struct arena *a, struct redaction *r)
{
	const struct contract_object *objects;
	size_t count = contract_objects(d->facts.contract, &objects);
	for (size_t i = 0; i < count; i++) {
		bool hidden;
		if (is_hidden(d, &objects[i], &hidden) || (hidden && drop_node(a, r, objects[i].node, objects[i].name)))
			return -ENOMEM;
		for (size_t k = 0; k < objects[i].column_count && !hidden; k++) {
			const struct contract_column *c = &objects[i].columns[k];
			const char *last = strrchr(c->name, '.');
			struct mask m;
			if (decide_mask(d, bits, c, &m) || (m.kind == MASK_DROP && drop_node(a, r, c->node, last ? last + 1 : c->name)))
				return -ENOMEM;
		}
	}
	return 0;
}

int version_decision_contract(struct version_decision *d, struct buf *ret, struct err *e)
{
	struct contract *c = d->facts.contract;
	if (!c)
		return err_set(e, -ENOENT, "%s/%s/%s has no contract", d->facts.domain, d->facts.product, d->facts.version);
	if (version_decision_outcome(d) == OUTCOME_ALLOW) { /* examples are data: only for who is served all of it */
		buf_adds(ret, contract_text(c));
		return buf_check(ret) ? err_set(e, -ENOMEM, "out of memory") : 0;
	}
	struct redaction r = { 0 };
	struct arena a = { 0 };
	unsigned char *bits = possible(d);
	int code = bits ? find_dropped(d, bits, &a, &r) : -ENOMEM;
	if (!code) {
		struct buf body = BUF_INIT;
		write_node(&r, doc_root(contract_doc(c)), "", 0, &body);
		buf_adds(ret, "# As this session may see it: without columns, hidden files and examples that its policy leaves out.");
		buf_add(ret, buf_text(&body), body.len);
		code = r.failed || buf_check(&body) ? -ENOMEM : buf_check(ret);
		buf_free(&body);
	}
	free(bits);
	arena_free(&a);
	return code ? err_set(e, code, "out of memory") : 0;
}
