#include "fs/show_measures.h"

#include "catalog/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

void show_age(int64_t ns, char ret[32])
{
	int64_t s = ns > 0 ? ns / NS_PER_S : 0;
	if (s < 120)
		snprintf(ret, 32, "%" PRId64 " s", s);
	else if (s < 7200)
		snprintf(ret, 32, "%" PRId64 " min", s / 60);
	else if (s < 172800)
		snprintf(ret, 32, "%" PRId64 " h", s / 3600);
	else
		snprintf(ret, 32, "%" PRId64 " days", s / 86400);
}

static int64_t age_s(int64_t now_ns, int64_t when_ns)
{
	return now_ns > when_ns ? (now_ns - when_ns) / NS_PER_S : 0;
}

static void field_or_null(struct json *j, const char *key, bool known, int64_t v)
{
	json_key(j, key);
	if (known)
		json_int(j, v);
	else
		json_null(j);
}

void show_measures_json(const struct product_measures *m, const struct product_use *use, int64_t now_ns, struct json *j)
{
	json_key(j, "measures");
	json_open(j, '{');
	field_or_null(j, "age_seconds", *m->version, age_s(now_ns, m->published_ns));
	field_or_null(j, "good_age_seconds", m->good_ns, age_s(now_ns, m->good_ns));
	field_or_null(j, "failed_errors", m->failed_errors >= 0, m->failed_errors);
	field_or_null(j, "failed_warnings", m->failed_warnings >= 0, m->failed_warnings);
	field_or_null(j, "promised_seconds", m->frequency_ns, m->frequency_ns / NS_PER_S);
	json_field_bool(j, "overdue", m->overdue);
	field_or_null(j, "readers", use, use ? use->readers : 0);
	field_or_null(j, "runs", use, use ? use->runs : 0);
	field_or_null(j, "opens", use, use ? use->opens : 0);
	json_field_time(j, "last_read", use ? use->last_ns : 0);
	json_close(j, '}');
}

void show_measures_lines(const struct product_measures *m, const struct product_use *use, int64_t now_ns, struct buf *out)
{
	char age[32], promised[32];
	if (*m->version) {
		show_age(now_ns - m->published_ns, age);
		buf_addf(out, "%-13s %s is %s old", "freshness", m->version, age);
		if (m->frequency_ns) {
			show_age(m->frequency_ns, promised);
			buf_addf(out, "; one is promised every %s%s", promised, m->overdue ? ": overdue" : "");
		}
		buf_addc(out, '\n');
	}
	if (*m->version && m->good_ns != m->published_ns) {
		show_age(now_ns - m->good_ns, age);
		buf_addf(out, "%-13s %s%s\n", "last good", m->good_ns ? age : "no version passed its checks", m->good_ns ? " old" : "");
	}
	if (use && use->opens) {
		show_age(now_ns - use->last_ns, age);
		buf_addf(out, "%-13s %" PRId64 " user%s in %" PRId64 " run%s of this host, last %s ago\n", "readers", use->readers,
			 use->readers == 1 ? "" : "s", use->runs, use->runs == 1 ? "" : "s", age);
	} else if (use) {
		buf_addf(out, "%-13s none yet on this host\n", "readers");
	}
}

void show_measures_problem(const struct product_measures *m, int64_t now_ns, struct buf *out)
{
	char age[32];
	if (*m->version && m->good_ns != m->published_ns) {
		if (m->failed_errors > 0)
			buf_addf(out, "%" PRId64 " check%s fail%s, ", m->failed_errors, m->failed_errors == 1 ? "" : "s", m->failed_errors == 1 ? "s" : "");
		else
			buf_adds(out, "published with failures, ");
		show_age(now_ns - m->good_ns, age);
		buf_addf(out, "last good version %s%s", m->good_ns ? age : "never", m->good_ns ? " old" : "");
	}
	if (m->overdue)
		buf_addf(out, "%sa version is overdue", out->len ? "; " : "");
}

/* -- Prometheus ----------------------------------------------------------------------------------- */

enum { AGE, GOOD_AGE, ERRORS, WARNINGS, OVERDUE, READERS, RUNS, OPENS };

static const struct {
	const char *name, *help;
} metrics[] = {
	[AGE] = { "version_age_seconds", "Time since the newest version was published." },
	[GOOD_AGE] = { "good_version_age_seconds", "Time since the newest version without failing checks was published; absent when there is none." },
	[ERRORS] = { "failed_errors", "Checks of severity error that the newest version fails." },
	[WARNINGS] = { "failed_warnings", "Checks of severity warning that the newest version fails." },
	[OVERDUE] = { "overdue", "Has the promised time between versions passed?" },
	[READERS] = { "readers", "Users whom this host served some of the product." },
	[RUNS] = { "runs", "Runs of this host that were served some of the product." },
	[OPENS] = { "opens", "Files of the product that this host served, opens of the same one included." },
};

static void line(struct measure_lines *l, int metric, const char *domain, const char *product, int64_t v)
{
	buf_addf(&l->metrics[metric], "meshfs_product_%s{domain=\"%s\",product=\"%s\"} %" PRId64 "\n", metrics[metric].name, domain, product, v);
}

void measure_lines_add(struct measure_lines *l, const char *domain, const char *product, const struct product_measures *m,
		       const struct product_use *use, int64_t now_ns)
{
	if (!*m->version)
		return;
	line(l, AGE, domain, product, age_s(now_ns, m->published_ns));
	if (m->good_ns)
		line(l, GOOD_AGE, domain, product, age_s(now_ns, m->good_ns));
	if (m->failed_errors >= 0) {
		line(l, ERRORS, domain, product, m->failed_errors);
		line(l, WARNINGS, domain, product, m->failed_warnings);
	}
	if (m->frequency_ns)
		line(l, OVERDUE, domain, product, m->overdue);
	line(l, READERS, domain, product, use->readers);
	line(l, RUNS, domain, product, use->runs);
	line(l, OPENS, domain, product, use->opens);
}

void measure_lines_end(struct measure_lines *l, struct buf *out)
{
	for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
		if (l->metrics[i].len)
			buf_addf(out, "# HELP meshfs_product_%s %s\n# TYPE meshfs_product_%s gauge\n%s", metrics[i].name, metrics[i].help, metrics[i].name,
				 buf_text(&l->metrics[i]));
		buf_free(&l->metrics[i]);
	}
}
