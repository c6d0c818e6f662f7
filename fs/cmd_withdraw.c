/* withdraw: a version stops being served; its record stays. */
#include "catalog/base/json.h"
#include "catalog/snapshot.h"
#include "fs/commands.h"
#include "fs/domain_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct withdrawal {
	struct address *address; /* its version may be a selector until it is looked up, once: a race must not move it on */
	const char *reason;
	bool already;
};

static int edit(void *arg, struct snapshot_edit *x, struct err *e)
{
	struct withdrawal *w = arg;
	struct address *a = w->address;
	struct snapshot *base = snapshot_edit_base(x);
	struct version_info v;
	int r = base ? snapshot_version(base, a->product, a->version, &v) : -ENOENT;
	if (r)
		return err_set(e, r, "%s/%s/%s: there is no such version; 'meshfs ls %s/%s' shows what there is", a->domain, a->product,
			       a->version, a->domain, a->product);
	struct semver number = v.number;
	w->already = v.status == VERSION_WITHDRAWN;
	semver_format(&number, a->version);
	version_info_fini(&v);
	return w->already ? 1 : snapshot_edit_withdraw(x, a->product, &number, w->reason, e);
}

static void print_result(const struct withdrawal *w, uint64_t generation, bool as_json)
{
	const struct address *a = w->address;
	if (!as_json) {
		printf("%s/%s/%s %s\n", a->domain, a->product, a->version, w->already ? "was withdrawn already" : "is withdrawn");
		return;
	}
	struct buf b = BUF_INIT, address = BUF_INIT;
	struct json j;
	buf_addf(&address, "%s/%s/%s", a->domain, a->product, a->version);
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "address", buf_text(&address));
	json_field_text(&j, "outcome", w->already ? "unchanged" : "withdrawn");
	json_field_int(&j, "generation", (int64_t)generation);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
	buf_free(&address);
}

int cmd_withdraw(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	bool as_json = false;
	struct withdrawal w = { 0 };
	struct address a;
	struct domain_command c;
	uint64_t generation = 0;
	int words;
	const struct option_spec specs[] = {
		{ "--reason", 0, OPTION_TEXT, "TEXT", "why; readers and the record are told", &w.reason },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object", &as_json },
	};
	(void)ret_status;
	int r = options_parse("withdraw ADDRESS --reason TEXT",
			      "Stops a version from being served.  Its record stays, its number is never used again, and gc may delete its data.",
			      specs, sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "withdraw", "withdraw wants one address, for example sales/orders/1.2.0");
	if (!w.reason || !*w.reason)
		return options_wrong(e, "withdraw", "say why with --reason TEXT");
	r = address_parse(argv[0], &a, e);
	if (r)
		return r;
	if (*a.path || !*a.version)
		return options_wrong(e, "withdraw", "%s: withdraw wants a version, for example sales/orders/1.2.0", argv[0]);
	r = domain_command_open(inv, a.domain, &c, e);
	if (r)
		return r;
	w.address = &a;
	r = domain_refresh(c.domain, NULL, e);
	if (!r)
		r = domain_commit(c.domain, edit, &w, &generation, e);
	if (!r && (as_json || !inv->quiet))
		print_result(&w, generation, as_json);
	domain_command_close(&c);
	return r;
}
