#include "catalog/gate.h"

#include "catalog/compat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gate {
	struct publish_observer observer;
	struct quality *quality;
	struct quality_file *file; /* under way; the packer is one thread */
	struct quality_report *report;
	bool idle; /* the version is there already: the commit decides whether it is the same, and says so */
};

static int check_failed(const char *path, int code, struct err *e)
{
	return err_set(e, code, "%s: the contract's checks could not run: %s", path, strerror(-code));
}

static int on_begin(void *arg, const char *path, uint64_t size, struct err *e)
{
	struct gate *g = arg;
	(void)size;
	int r = g->quality ? quality_file_begin(g->quality, path, &g->file) : 0;
	return r ? check_failed(path, r, e) : 0;
}

static int on_bytes(void *arg, const char *path, const void *bytes, size_t len, struct err *e)
{
	struct gate *g = arg;
	int r = quality_file_feed(g->file, bytes, len);
	return r ? check_failed(path, r, e) : 0;
}

static int on_end(void *arg, const char *path, struct err *e)
{
	struct gate *g = arg;
	int r = quality_file_end(g->file);
	g->file = NULL;
	return r ? check_failed(path, r, e) : 0;
}

struct gate *gate_new(void)
{
	struct gate *g = calloc(1, sizeof *g);
	if (g)
		g->observer = (struct publish_observer){ on_begin, on_bytes, on_end, g };
	return g;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	quality_file_end(g->file);
	quality_report_free(g->report);
	quality_free(g->quality);
	free(g);
}

const struct publish_observer *gate_observer(struct gate *g)
{
	return &g->observer;
}

const struct quality_report *gate_report(const struct gate *g)
{
	return g->report;
}

bool gate_checks(const struct gate *g)
{
	return g->quality && !g->idle;
}

bool gate_wants_engine(const struct gate *g)
{
	return gate_checks(g) && quality_has_queries(g->quality);
}

int gate_ask_ahead(struct gate *g)
{
	return gate_wants_engine(g) ? quality_ask_ahead(g->quality) : 0;
}

/* -- the promise of the version's number ------------------------------------------------- */

struct predecessor {
	struct semver below, number;
	struct digest contract;
	bool found, published; /* `published`: the number itself is taken */
};

static int on_version(void *arg, const struct version_info *v)
{
	struct predecessor *p = arg;
	p->published |= semver_compare(&v->number, &p->below) == 0;
	if (v->status != VERSION_ACTIVE || semver_compare(&v->number, &p->below) >= 0)
		return 0;
	p->number = v->number;
	p->contract = v->contract;
	p->found = true;
	return 1; /* newest first */
}

static int compare_with(struct snapshot *s, const struct predecessor *last, struct publication *p, const char *product, struct err *e)
{
	static const struct digest none;
	struct buf text = BUF_INIT, changes = BUF_INIT;
	struct contract *before = NULL;
	char number[VERSION_SIZE];
	int r = 0;
	if (!last->found || digest_equal(&last->contract, &none) || !publish_contract(p))
		return 0;
	if (snapshot_contract(s, &last->contract, &text) || contract_parse("contract.yaml", buf_text(&text), text.len, &before, NULL))
		goto out; /* the last contract cannot be read: there is nothing to compare with */
	enum version_step needed = compat_compare(before, publish_contract(p), &changes);
	enum version_step step = compat_step(&last->number, &last->below);
	semver_format(&last->number, number);
	if (step < needed) {
		size_t first = strcspn(buf_text(&changes), "\n");
		const bool major = needed == STEP_MAJOR;
		const struct semver next = { last->number.major + major, major ? 0 : last->number.minor + 1, 0 };
		char least[VERSION_SIZE];
		semver_format(&next, least);
		r = err_set(e, -EPERM, "%s/%s is a %s step from %s, but its contract asks for a %s one (%s or above): %.*s%s", product,
			    publish_version(p), compat_step_name(step), number, compat_step_name(needed), least, (int)first, buf_text(&changes),
			    changes.len > first + 1 ? " and more" : "");
	}
out:
	contract_unref(before);
	buf_free(&text);
	buf_free(&changes);
	return r;
}

int gate_open(struct gate *g, struct publication *p, struct domain *d, const char *product, const struct quality_engine *engine, struct err *e)
{
	struct predecessor last;
	memset(&last, 0, sizeof last);
	int r = semver_parse(publish_version(p), &last.below);
	if (r)
		return err_set(e, r, "%s: not a version", publish_version(p));
	struct snapshot *s = domain_snapshot(d);
	if (s)
		snapshot_versions(s, product, on_version, &last);
	g->idle = last.published;
	if (!g->idle)
		r = quality_new(publish_contract(p), engine, &g->quality, e);
	if (s && !r && !g->idle)
		r = compare_with(s, &last, p, product, e);
	snapshot_unref(s);
	return r;
}

/* -- the verdict ----------------------------------------------------------------------------- */

static int verdict(struct gate *g, struct publication *p, const char *failures, struct buf *problems, struct err *e)
{
	int64_t errors = quality_report_failed_errors(g->report), undeclared = quality_report_undeclared(g->report);
	struct buf text = BUF_INIT;
	quality_report_text(g->report, true, &text);
	if (problems)
		buf_add(problems, buf_text(&text), text.len);
	buf_free(&text);
	if (undeclared)
		return err_set(e, -EPERM, "refused: %lld column%s of personal data that the contract does not declare (tag the columns, or waive them)",
			       (long long)undeclared, undeclared == 1 ? "" : "s");
	if (errors && !failures)
		return err_set(e, -EPERM, "refused: %lld check%s of the contract failed (mend the data, or publish --with-failures REASON)",
			       (long long)errors, errors == 1 ? "" : "s");
	if (!errors)
		publish_drop_failures(p);
	return 0;
}

int gate_close(struct gate *g, struct publication *p, const char *failures, struct buf *problems, struct err *e)
{
	struct buf json = BUF_INIT;
	int r = publish_flush(p, e);
	if (g->idle)
		return r;
	if (!r)
		r = quality_finish(g->quality, &g->report, e);
	if (r)
		return r;
	if (publish_contract(p)) { /* without a contract nothing was promised, so no result is kept */
		quality_report_json(g->report, &json);
		r = buf_check(&json) ? err_set(e, -ENOMEM, "out of memory") : publish_set_quality(p, buf_text(&json));
		buf_free(&json);
	}
	return r ? r : verdict(g, p, failures, problems, e);
}
