/* warm: fills the cache with what a subject is going to read. */
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "fs/commands.h"
#include "fs/domain_command.h"
#include "fs/identity.h"
#include "fs/warm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print(const struct warm_counts *n, bool json, bool quiet)
{
	char size[TEXT_SIZE_MAX];
	text_size(n->bytes, size);
	if (json)
		printf("{\"files\":%llu,\"bytes\":%llu,\"denied\":%llu,\"failed\":%llu}\n", (unsigned long long)n->files, (unsigned long long)n->bytes,
		       (unsigned long long)n->denied, (unsigned long long)n->failed);
	else if (!quiet)
		printf("%llu file%s ready, %s%s", (unsigned long long)n->files, n->files == 1 ? "" : "s", size, n->denied ? "" : "\n");
	if (!json && !quiet && n->denied)
		printf("; %llu not served to this subject\n", (unsigned long long)n->denied);
}

static int warm(struct policy_command *c, const struct subject *s, char **addresses, int count, bool indexes, bool quiet, struct warm_counts *ret, struct err *e)
{
	struct warmer *w;
	struct address a;
	const struct warm_means by = { c, NULL, interrupt_flag(), quiet };
	int r = warm_begin(&by, s, indexes, &w, e);
	if (r)
		return r;
	for (int i = 0; i < count && !r; i++) {
		r = address_parse(addresses[i], &a, e);
		if (!r)
			r = warm_address(w, &a, e);
	}
	r = warm_end(w, r, ret, e);
	if (r == -EINTR)
		r = err_set(e, -EINTR, "interrupted: %llu file%s ready; what was fetched stays in the cache, and the same command goes on from there",
			    (unsigned long long)ret->files, ret->files == 1 ? " is" : "s are");
	return r;
}

int cmd_warm(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *purpose = NULL, *user = NULL, *run = NULL;
	bool json = false, indexes = false;
	const struct option_spec specs[] = {
		{ "--purpose", 0, OPTION_TEXT, "P", "as a session with this purpose is served", &purpose },
		{ "--user", 0, OPTION_TEXT, "U", "as user U is served (default: the caller)", &user },
		{ "--run", 0, OPTION_TEXT, "NAME", "as a session of this run is served", &run },
		{ "--sizes", 0, OPTION_FLAG, NULL, "only what sizes of views need, not their bytes", &indexes },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("warm ADDRESS… [--purpose P]", "Fetches versions into the cache, as they are served to the subject, and computes the sizes of its views.",
			      specs, sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (!words)
		return options_wrong(e, "warm", "warm wants an address");
	struct identity who;
	struct policy_command c;
	struct warm_counts n = { 0 };
	struct subject s;
	char host[256] = "";
	r = identity_of(user, &who, e);
	if (r)
		return r;
	gethostname(host, sizeof host - 1);
	identity_subject(&who, &s);
	s.purpose = purpose;
	s.run = run;
	s.host = host;
	r = policy_command_open(inv, &c, e);
	if (!r) {
		r = warm(&c, &s, argv, words, indexes, inv->quiet || json, &n, e);
		policy_command_close(&c);
	}
	if (!r)
		print(&n, json, inv->quiet);
	if (!r && n.failed)
		r = err_set_kind(e, n.damaged ? ERR_INTEGRITY : ERR_FAIL, -EIO, "%llu file%s could not be fetched%s%s%s", (unsigned long long)n.failed,
				 n.failed == 1 ? "" : "s", n.failed == 1 ? ": " : "; the first: ", n.first, n.damaged ? "; 'meshfs verify' looks at the store" : "");
	identity_fini(&who);
	return r;
}
