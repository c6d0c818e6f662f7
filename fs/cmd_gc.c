/* gc: removes what nothing refers to from a domain's store. */
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/gc.h"
#include "fs/commands.h"
#include "fs/domain_command.h"

#include <stdio.h>
#include <stdlib.h>

struct gc_output {
	bool json, list, dry_run;
};

static void print_object(void *arg, enum gc_action action, const char *key, uint64_t size)
{
	const struct gc_output *out = arg;
	const char *what = action == GC_CONDEMNED ? "condemned" : "deleted";
	if (out->json) {
		struct buf b = BUF_INIT;
		struct json j;
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "action", what);
		json_field_text(&j, "key", key);
		json_field_int(&j, "size", (int64_t)size);
		json_close(&j, '}');
		printf("%s\n", buf_text(&b));
		buf_free(&b);
	} else if (out->list) {
		printf("%s%s %s (%llu bytes)\n", out->dry_run ? "would be " : "", what, key, (unsigned long long)size);
	}
}

static void print_report(const struct gc_output *out, const char *domain, const struct gc_report *r)
{
	if (out->json) {
		struct buf b = BUF_INIT;
		struct json j;
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "action", "summary");
		json_field_text(&j, "domain", domain);
		json_field_bool(&j, "dry_run", out->dry_run);
		json_field_int(&j, "objects", (int64_t)r->objects);
		json_field_int(&j, "bytes", (int64_t)r->bytes);
		json_field_int(&j, "condemned", (int64_t)r->condemned);
		json_field_int(&j, "condemned_bytes", (int64_t)r->condemned_bytes);
		json_field_int(&j, "deleted", (int64_t)r->deleted);
		json_field_int(&j, "deleted_bytes", (int64_t)r->deleted_bytes);
		json_field_int(&j, "waiting", (int64_t)r->waiting);
		json_field_int(&j, "waiting_bytes", (int64_t)r->waiting_bytes);
		json_field_int(&j, "generation", (int64_t)r->generation);
		json_close(&j, '}');
		printf("%s\n", buf_text(&b));
		buf_free(&b);
		return;
	}
	char condemned[TEXT_SIZE_MAX], deleted[TEXT_SIZE_MAX], waiting[TEXT_SIZE_MAX];
	text_size(r->condemned_bytes, condemned);
	text_size(r->deleted_bytes, deleted);
	text_size(r->waiting_bytes, waiting);
	printf("%s: %s%llu condemned (%s), %llu deleted (%s), %llu wait for the end of their grace (%s)\n", domain,
	       out->dry_run ? "nothing done; it would be: " : "", (unsigned long long)r->condemned, condemned, (unsigned long long)r->deleted, deleted,
	       (unsigned long long)r->waiting, waiting);
}

int cmd_gc(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *grace = NULL;
	struct gc_output out = { .list = inv->verbose };
	const struct option_spec specs[] = {
		{ "--grace", 0, OPTION_TEXT, "TIME", "how long what nothing refers to is kept (24h; 30m, 7d, 0s)", &grace },
		{ "--dry-run", 'n', OPTION_FLAG, NULL, "only say what would be done", &out.dry_run },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: each object, then a summary", &out.json },
	};
	struct domain_command c;
	struct gc_options o = { .grace_ns = GC_GRACE_DEFAULT_NS, .each = print_object, .arg = &out };
	struct gc_report report;
	int64_t grace_ms;
	int words;
	(void)ret_status;
	int r = options_parse("gc DOMAIN [--grace TIME] [--dry-run]",
			      "Removes what nothing refers to: first it is condemned, and after the grace time a later gc deletes it.\n"
			      "The data of withdrawn versions goes too; their record stays.",
			      specs, sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "gc", "gc wants the name of one domain");
	if (grace && (text_parse_duration_ms(grace, &grace_ms) || grace_ms < 0))
		return options_wrong(e, "gc", "--grace %s: a time looks like 24h, 30m, 7d or 0s", grace);
	if (grace)
		o.grace_ns = grace_ms * 1000000;
	out.list |= out.dry_run && !inv->quiet;
	o.dry_run = out.dry_run;
	o.interrupted = interrupt_flag();
	r = domain_command_open(inv, argv[0], &c, e);
	if (r)
		return r;
	r = gc_run(c.domain, &o, &report, e);
	if (!r && (!inv->quiet || out.json))
		print_report(&out, argv[0], &report);
	domain_command_close(&c);
	return r;
}
