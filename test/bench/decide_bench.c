/* How long a decision takes with 1,000 rules: of many domains, and all of the mesh. */
#include "catalog/base/clock.h"
#include "policy/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy *load(bool domains)
{
	struct buf texts[51];
	struct policy_source sources[51];
	struct policy *p = NULL;
	struct err e = ERR_INIT;
	memset(texts, 0, sizeof texts);
	for (int d = 0; d < 50; d++) {
		if (domains) {
			buf_addf(&texts[d], "policy p%d scope domain d%d version 1\npermit all\n", d, d);
			for (int i = 0; i < 19; i++)
				buf_addf(&texts[d], "mask m%d\n  files d%d/p%d/**\n  columns tagged t%d\n  when purpose == training\n  with null\n", i, d, i, i);
		} else {
			buf_addf(&texts[d], "policy p%d scope mesh version 1\n", d);
			for (int i = 0; i < 20; i++)
				buf_addf(&texts[d], "mask m%d\n  columns tagged t%d\n  when purpose == p%d\n  with null\n", i, i, d * 20 + i);
		}
	}
	if (!domains)
		buf_adds(&texts[50], "policy open scope domain d7 version 1\npermit all\n");
	for (int d = 0; d < 51; d++)
		sources[d] = (struct policy_source){ "bench", buf_text(&texts[d]), texts[d].len, NULL };
	if (policy_load(NULL, sources, domains ? 50 : 51, &p, &e))
		fprintf(stderr, "%s\n", e.text);
	for (int d = 0; d < 51; d++)
		buf_free(&texts[d]);
	return p;
}

static void measure(const char *name, struct policy *p)
{
	enum { TIMES = 20000 };
	const char *group = "ds";
	struct subject s = { .user = "ana", .groups = &group, .group_count = 1, .purpose = "training", .run = "r1" };
	struct version_facts f = { .domain = "d7", .product = "p3", .version = "1.0.0", .has_quality = true };
	struct file_facts file = { .path = "a.csv", .format = "csv", .size = 1 };
	int64_t decide = 0, files = 0;
	for (int i = 0; i < TIMES; i++) {
		struct version_decision *d;
		struct file_decision fd;
		int64_t start = clock_mono_ns();
		policy_decide_version(p, &s, &f, 1, &d, NULL);
		int64_t middle = clock_mono_ns();
		version_decision_file(d, &file, &fd, NULL);
		file_decision_fini(&fd);
		files += clock_mono_ns() - middle;
		decide += middle - start;
		version_decision_free(d);
	}
	printf("%-28s version %.2f us, file %.2f us\n", name, (double)decide / TIMES / 1000, (double)files / TIMES / 1000);
}

int main(void)
{
	struct policy *a = load(true), *b = load(false);
	if (!a || !b)
		return 1;
	measure("1,000 rules of 50 domains", a);
	measure("1,000 rules of the mesh", b);
	policy_unref(a);
	policy_unref(b);
	return 0;
}
